"""Finds any of several regular expressions, in groups that are small enough to compile."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge

from lightspeed_providers.safety.shields.matching.linear import LinearPattern
from lightspeed_providers.safety.shields.matching.partial import PartialPattern
from lightspeed_providers.safety.shields.matching.partial_syntax import without_gaps

_LARGEST = 80_000
"""Steps of a group; an alternation can have a few more than its parts."""
_MOST = 400_000
"""Steps of all groups; each group is a search."""


class Expressions:
    """Regular expressions in RE2 syntax; raises ValueError where they can't be compiled."""

    def __init__(self, expressions: Sequence[str], *, longest: bool = False) -> None:
        self._groups = [_Group(group, longest) for group in _grouped(expressions)]
        lengths = [group.open.longest for group in self._groups]
        self.longest = None if None in lengths else max(length or 0 for length in lengths)
        """Bytes of the longest match; None where there is no limit."""

    def spans(
        self, data: bytes, start: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """Yield where matches lie that are over at `end`, one for each beginning, from the left."""
        spans = [group.spans(data, start, end) for group in self._groups]
        return spans[0] if len(spans) == 1 else merge(*spans)

    def open_from(self, data: bytes, start: int = 0) -> int:
        """Return the first place from `start` on where a match may begin that more text decides."""
        return min(group.open.open_from(data, start) for group in self._groups)

    def found_in_words(self, letters: bytes) -> bool:
        """Tell whether letters from which blanks were lost hold a match."""
        return any(group.closed.found_in(letters) for group in self._groups)


class _Group:
    def __init__(self, expressions: Sequence[str], longest: bool) -> None:
        any_of = _any_of(expressions)
        self._pattern = LinearPattern(any_of, ignore_case=True, longest=longest)
        self.closed = LinearPattern(_any_of(map(without_gaps, expressions)), ignore_case=True)
        self.open = PartialPattern(any_of, ignore_case=True)

    def spans(self, data: bytes, start: int, end: int | None) -> Iterator[tuple[int, int]]:
        while (span := self._pattern.next_span(data, start, end)) is not None:
            yield span
            start = span[0] + 1


def _grouped(expressions: Sequence[str]) -> Iterator[list[str]]:
    """Yield as many expressions at a time as may be searched for together."""
    group: list[str] = []
    total = of_group = 0
    for expression in expressions:
        size = PartialPattern(expression, ignore_case=True).size
        total, of_group = total + size, of_group + size
        if total > _MOST:
            raise ValueError(
                f"too large together (over {_MOST} steps): shorten counted repetitions, list words "
                "that stand for themselves as `phrases`, or split the list over several shields"
            )
        if group and of_group > _LARGEST:
            yield group
            group, of_group = [], size
        group.append(expression)
    yield group


def _any_of(expressions: Iterable[str]) -> str:
    return "|".join(f"(?:{expression})" for expression in expressions)
