"""The ways to read a text that a head judges: as it stands, and what it hides."""

import unicodedata
from collections.abc import Callable, Iterator
from itertools import islice

from lightspeed_providers.safety.shields.matching.normalise import normal_bytes, normalised
from lightspeed_providers.safety.shields.matching.unwrap import respelled, spaced_words, unwrapped

_MOST = 6
_LOOKED_AT = 20_000
"""Characters of either end of a text in which hidden readings are looked for."""
_SHORTEST = 8
_MORE_SUSPICIOUS = 2
"""By how many expressions a reading must stand out: most backward texts say nothing."""


def readings(text: str, suspicion: Callable[[str], int]) -> list[str]:
    """Return the text as people see it, then what it says when decoded, at most a handful."""
    seen = _seen(text)
    ends = text if len(text) <= 2 * _LOOKED_AT else f"{text[:_LOOKED_AT]}\n{text[-_LOOKED_AT:]}"
    plain = suspicion(ends)
    telling = (
        other
        for other in _hidden(ends)
        if suspicion(other) >= (plain + _MORE_SUSPICIOUS if len(other) > _SHORTEST else 1)
    )
    return [seen, *islice(dict.fromkeys(telling), _MOST)]


def _hidden(text: str) -> Iterator[str]:
    for data in respelled(normal_bytes(text)):
        yield data.decode(errors="replace")
    yield from unwrapped(text)
    for words in spaced_words(text):
        yield words.decode(errors="replace")


def _seen(text: str) -> str:
    """Return the text as it came, or its normal form where it hides or dresses up its letters."""
    if text.isascii():
        return text
    plain = normalised(text)
    hides = any(unicodedata.category(sign) == "Cf" for sign in set(text))
    return plain if hides or plain.isascii() else text
