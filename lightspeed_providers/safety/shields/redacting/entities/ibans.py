"""Account numbers (IBAN): of a country's length and with the right check digits."""

import re

from lightspeed_providers.safety.shields.redacting.entities.rule import (
    DIGITS,
    Rule,
    Span,
    compact,
    is_glued,
    next_group,
)

_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_LENGTHS = {
    country: length for length, countries in _COUNTRIES.items() for country in countries.split()
}
_GAP = r"(?:[ -]|\xc2\xa0)?"
_IBAN = (
    rf"(?i:(?:{'|'.join(sorted(_LENGTHS))})[0-9]{{2}}(?:{_GAP}[A-Z0-9]){{11,29}}(?:[^A-Z0-9]|\z))"
)
_OF_LENGTH = {
    length: re.compile(
        rb"(?i)(?:[A-Z0-9](?:[ -]|\xc2\xa0)?){%d}[A-Z0-9](?![A-Z0-9])" % (length - 1)
    )
    for length in _COUNTRIES
}
_LETTER_VALUES = {letter: str(letter - 55) for letter in range(ord("A"), ord("Z") + 1)}


def _iban(data: bytes, begin: int, end: int) -> Span | None:
    """Return how much of the candidate is an account number."""
    if is_glued(data, begin):
        return None
    country = data[begin : begin + 2].decode().upper()
    match = _OF_LENGTH[_LENGTHS[country]].match(data, begin, end)
    if match is None:
        return None
    number = compact(match[0]).decode()
    value = int((number[4:] + number[:4]).translate(_LETTER_VALUES))
    return match.span() if value % 97 == 1 else None


IBAN = (Rule("IBAN", _IBAN, DIGITS, prove=_iban, identity=compact, unproven=next_group),)
