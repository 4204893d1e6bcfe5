"""United States social security numbers, as they are written: 3, 2 and 4 digits."""

from lightspeed_providers.safety.shields.redacting.entities.rule import (
    DIGIT_END,
    Rule,
    Span,
    compact,
    is_glued,
    next_group,
)

_SSN = rf"[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}{DIGIT_END}"


def _ssn(data: bytes, begin: int, end: int) -> Span | None:
    before, number = data[begin - 1 : begin], data[begin : begin + 11]
    if is_glued(data, begin) or before == b"-" or data[begin + 11 : begin + 12] == b"-":
        return None
    if number[:3] in (b"000", b"666") or number[4:6] == b"00" or number[7:] == b"0000":
        return None
    return begin, begin + 11


SSN = (Rule("SSN", _SSN, (b"-",), prove=_ssn, identity=compact, unproven=next_group),)
