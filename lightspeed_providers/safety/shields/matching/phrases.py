"""Finds any of many phrases, in time that does not grow with their number."""

from collections.abc import Iterable, Iterator

from lightspeed_providers.safety.shields.matching.gaps import (
    GAP,
    GAPLESS,
    WIDEST_GAP,
    character_at,
    character_before,
    places_of_closed,
    places_of_joined,
    with_gaps_joined,
    without_gaps,
)
from lightspeed_providers.safety.shields.matching.keys import Keys
from lightspeed_providers.safety.shields.matching.linear import literal
from lightspeed_providers.safety.shields.matching.normalise import normalised

_FIRST_UNSPACED = "\u0e00"
"""Scripts from Thai on may put words side by side, so their words need no gap around them."""

_CHUNK = 65_536
_WIDEST = 4
"""Bytes of the widest character."""


class Phrases:
    """Phrases that no letter or digit touches, with any gap between their words."""

    def __init__(self, phrases: Iterable[str]) -> None:
        spaced: dict[bytes, set[str]] = {}
        closed: dict[bytes, set[str]] = {}
        self.longest = 0
        """Bytes of the longest match, with the characters beside it."""
        for phrase in phrases:
            words = normalised(phrase).split()
            joined = " ".join(words).encode()
            literals = [*map(literal, words)]
            spaced.setdefault(with_gaps_joined(joined), set()).add(GAP.join(literals))
            closed.setdefault(without_gaps(joined), set()).add(GAPLESS.join(literals))
            length = len(joined) + (WIDEST_GAP - 1) * (len(words) - 1)
            self.longest = max(self.longest, length + 2 * _WIDEST)
        self._spaced = Keys(spaced, with_gaps_joined, places_of_joined)
        self._closed = Keys(closed, without_gaps, places_of_closed)

    def spans(
        self, data: bytes, start: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """Yield where matches lie that are over at `end`, from the left, with what is beside them.

        The character before the first of them may stand before `start`.
        """
        stop = len(data) if end is None else min(end, len(data))
        for low in range(start, stop, _CHUNK):
            piece = data[low : min(low + _CHUNK + self.longest, stop)]
            if found := self._spaced.spans(piece, whole_words=True):
                spans = (_with_edges(data, low + begin, low + end) for begin, end in found)
                yield from sorted(span for span in spans if span is not None and span[1] <= stop)

    def open_from(self, data: bytes, start: int = 0) -> int:
        """Return the first place from `start` on where a phrase may begin that more text decides.

        The character before the phrase counts as looked at.
        """
        start = max(start, len(data) - self.longest)
        return start + self._spaced.open_from(data[start:])

    def found_in_words(self, letters: bytes) -> bool:
        """Tell whether letters from which blanks were lost hold a phrase."""
        found = self._closed.spans(letters, whole_words=False)
        return any(_with_edges(letters, begin, end) is not None for begin, end in found)


def is_phrase(text: str) -> bool:
    """Tell whether a text holds more than what gaps are made of."""
    return bool(without_gaps(normalised(text).encode()))


def _with_edges(data: bytes, begin: int, end: int) -> tuple[int, int] | None:
    """Return where a phrase and the characters beside it lie; None where one of them touches it."""
    if _needs_gap(character_at(data, begin)):
        before = character_before(data, begin)
        if _is_letter(before):
            return None
        begin -= len(before.encode())
    if _needs_gap(character_before(data, end)):
        after = character_at(data, end)
        if _is_letter(after):
            return None
        end += len(after.encode())
    return begin, end


def _needs_gap(edge: str) -> bool:
    return edge.isalnum() and edge < _FIRST_UNSPACED


def _is_letter(character: str) -> bool:
    return character.isalnum() or character == "_"
