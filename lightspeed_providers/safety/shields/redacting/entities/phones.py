"""Telephone numbers: international ones of a possible length, national ones by form or context."""

import re
from functools import cache

from lightspeed_providers.safety.shields.matching.linear import LinearPattern
from lightspeed_providers.safety.shields.redacting.entities.rule import (
    DIGIT_END,
    DIGITS,
    Rule,
    Span,
    compact,
    is_glued,
    next_group,
)

_GAP = r"(?:[ .\-/()]{0,3}|\xc2\xa0)"
_EXTENSION = r"(?i:[ ,;]{0,2}(?:ext\.?|x|extension) ?[0-9]{1,5})?"
_WORLDWIDE = rf"(?:\+|00)\(?[1-9](?:{_GAP}[0-9]){{6,14}}{_EXTENSION}{DIGIT_END}"
_NORTH_AMERICAN = (
    r"(?:1[ .-])?(?:\([0-9]{3}\)[ -]?|[2-9][0-9]{2}\.|[1-9][0-9]{2}-)[0-9]{3}[.-][0-9]{4}"
    rf"{_EXTENSION}{DIGIT_END}"
)
_WITH_TRUNK_ZERO = rf"\(?0[1-9][0-9]{{0,4}}\)?(?:[ ./-]{{1,3}}[0-9]{{2,9}}){{1,5}}{DIGIT_END}"
_ANY = rf"\(?[0-9](?:{_GAP}[0-9]){{5,14}}{_EXTENSION}{DIGIT_END}"

_CONTEXT_WORDS = (
    r"(?:(?:tele)?phones?|\btel\.?|\bmobile|\bcell|\bfax|\bcall(?: (?:me|us|him|her|them|at|on))+"
    r"|\bcall:|\bdial|\bring (?:me|us|him|her)|\btext (?:me|us|him|her)|\bsms|whatsapp"
    r"|telegram|signal"
    r"|telefon\w*|\bhandy\w*|ruf\w*nummer|\bmobil\w*|t\xc3\xa9l\w*\.?|tel\xc3\xa9fono|m\xc3\xb3vil"
    r"|hotline|helpline|pager|reach(?:ed)? (?:\w+ ){0,2}(?:at|on)|contact (?:number|no\.?)"
    r"|number to (?:call|reach))"
)
_CONTEXT = LinearPattern(_CONTEXT_WORDS, ignore_case=True, by_byte=True)
_ASKED_FOR = LinearPattern(rf"{_CONTEXT_WORDS}[^0-9\n]{{0,28}}\z", ignore_case=True, by_byte=True)
_DATE = re.compile(rb"(?:0[1-9]|[12][0-9]|3[01])[./-](?:0[1-9]|1[0-2])[./-](?:19|20)[0-9]{2}\b")
_EXTENSION_BEGINS = re.compile(rb"(?i)[ ,;]*(?:ext|x)")
_DIGIT = re.compile(rb"[0-9]")


def _worldwide(data: bytes, begin: int, end: int) -> Span | None:
    if is_glued(data, begin) or data[begin - 1 : begin] in (b"+", b"_", b"."):
        return None
    end = _last_digit(data, begin, end)
    number = _digits(data, begin, end)
    if data[begin : begin + 1] != b"+":
        number = number[2:]
        is_plain = end - begin == len(number) + 2
        if (is_plain or _in_number(data, begin)) and not _asked_for(data, begin):
            return None
    return (begin, end) if _is_possible(number) else None


def _is_possible(number: str) -> bool:
    for length in (1, 2, 3):
        code, national = int(number[:length]), number[length:]
        if _has_length(code, len(national)):
            return True
        if national.startswith("0") and _has_length(code, len(national) - 1):
            return True
    return False


@cache
def _has_length(code: int, length: int) -> bool:
    """Tell whether numbers of a country can have so many digits."""
    import phonenumbers

    if code not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE or not 4 <= length <= 14:
        return False
    number = phonenumbers.PhoneNumber(country_code=code, national_number=10 ** (length - 1))
    reason = phonenumbers.is_possible_number_with_reason(number)
    return bool(reason == phonenumbers.ValidationResult.IS_POSSIBLE)


def _north_american(data: bytes, begin: int, end: int) -> Span | None:
    before = data[begin - 1 : begin]
    if is_glued(data, begin) or before in (b"-", b".", b"_", b"+", b"/"):
        return None
    return begin, _last_digit(data, begin, end)


def _with_trunk_zero(data: bytes, begin: int, end: int) -> Span | None:
    before = data[begin - 1 : begin]
    if is_glued(data, begin) or before in (b"-", b".", b"_", b"+", b":", b"/", b","):
        return None
    if _in_number(data, begin):
        return None
    end = _last_digit(data, begin, end)
    length = len(_digits(data, begin, end))
    if _DATE.match(data, begin, end) or not 9 <= length <= 12:
        return None
    return begin, end


def _in_context(data: bytes, begin: int, end: int) -> Span | None:
    before = data[begin - 1 : begin]
    if is_glued(data, begin) or before in (b"-", b".", b"_", b"+") or not _asked_for(data, begin):
        return None
    end = _last_digit(data, begin, end)
    return None if _DATE.match(data, begin, end) else (begin, end)


def _in_number(data: bytes, begin: int) -> bool:
    """Tell groups of digits that others stand before."""
    return data[begin - 1 : begin] == b" " and data[begin - 2 : begin - 1].isdigit()


def _asked_for(data: bytes, begin: int) -> bool:
    return _ASKED_FOR.found_in(data[max(0, begin - 60) : begin])


def _last_digit(data: bytes, begin: int, end: int) -> int:
    """Return where the candidate's last digit ends."""
    return end if data[end - 1 : end].isdigit() else end - 1


def _digits(data: bytes, begin: int, end: int) -> str:
    """Return the digits of a number without its extension."""
    extension = _EXTENSION_BEGINS.search(data, begin, end)
    return b"".join(_DIGIT.findall(data, begin, extension.start() if extension else end)).decode()


PHONE = (
    Rule(
        "PHONE", _WORLDWIDE, (b"+", b"00"), prove=_worldwide, identity=compact, unproven=next_group
    ),
    Rule(
        "PHONE",
        _NORTH_AMERICAN,
        (b"-", b"."),
        prove=_north_american,
        identity=compact,
        unproven=next_group,
    ),
    Rule(
        "PHONE",
        _WITH_TRUNK_ZERO,
        (b"0",),
        prove=_with_trunk_zero,
        identity=compact,
        unproven=next_group,
    ),
    Rule("PHONE", _ANY, DIGITS, _CONTEXT, _in_context, compact),
)
