"""Card numbers: of a network, in a length that the network gives, with the right check digit."""

import re

from lightspeed_providers.safety.shields.redacting.entities.rule import (
    DIGIT_END,
    DIGITS,
    Rule,
    Span,
    compact,
    next_group,
)

_GAP = r"(?:[ .-]|\xc2\xa0)"
_FIRST = r"(?:4[0-9]|5[0-8]|2[2-7]|3[0-9]|6[02-57]|8[12]|18|21)"
_CARD = (
    rf"{_FIRST}(?:[0-9]{{10,17}}|[0-9]{{2}}(?:{_GAP}[0-9]{{4}}){{3}}(?:{_GAP}[0-9]{{1,3}})?"
    rf"|[0-9]{{2}}{_GAP}[0-9]{{6}}{_GAP}[0-9]{{4,5}}){DIGIT_END}"
)
_SPACED_CARD = re.compile(rb"(?:[0-9]{4}\D{0,2}){3}[0-9]{4}")
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")

_OF_NETWORK = re.compile(
    rb"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    rb"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    rb"|3[47]\d{13}"  # American Express
    rb"|(?:6011|64[4-9]\d|65\d\d)\d{12,15}"  # Discover
    rb"|(?:30[0-5]\d|3095|3[689]\d\d)(?:\d{10}|\d{12,15})"  # Diners Club
    rb"|35(?:2[89]|[3-8]\d)\d{12,15}|(?:1800|2131)\d{11}"  # JCB
    rb"|(?:62|81)\d{14,17}"  # UnionPay
    rb"|(?:5[0678]|6[37])(?:\d{10}|\d{14}|\d{16,17})"  # Maestro
    rb"|220[0-4]\d{12,15}"  # Mir
    rb"|(?:60|82)\d{14}"  # RuPay
)


def _card(data: bytes, begin: int, end: int) -> Span | None:
    """Return where a card number lies; a short group after 16 digits may be no part of it."""
    if data[begin - 1 : begin].isdigit():
        return None
    if not data[end - 1 : end].isdigit():
        end -= 1
    if _is_card(data[begin:end]):
        return begin, end
    spaced = _SPACED_CARD.match(data, begin, end)
    if spaced is not None and spaced.end() < end and data[spaced.end()] not in b"0123456789":
        return (begin, spaced.end()) if _is_card(spaced[0]) else None
    return None


def _is_card(candidate: bytes) -> bool:
    number = compact(candidate)
    if _OF_NETWORK.fullmatch(number) is None:
        return False
    digits = number[::-2] + number[-2::-2].translate(_DOUBLED)
    return (sum(digits) - len(digits) * ord("0")) % 10 == 0


CARD = (Rule("CARD", _CARD, DIGITS, prove=_card, identity=compact, unproven=next_group),)
