"""Finds many expressions at once by the letters that each of them is made of."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence

from lightspeed_providers.safety.shields.matching.linear import LinearPattern

_LETTERS = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyz")


class Keys:
    """Expressions by key: each match of one, when folded, is its key.

    An Aho-Corasick automaton finds the keys in a folded text; what stands there is then compared.
    """

    def __init__(
        self,
        expressions: Mapping[bytes, Iterable[str]],
        fold: Callable[[bytes], bytes],
        places: Callable[[bytes], Sequence[int]],
    ) -> None:
        from ahocorasick_rs import BytesAhoCorasick

        self._expressions = [*expressions.values()]
        self._compiled: dict[int, LinearPattern] = {}
        self._fold = fold
        self._places = places
        self._automaton = BytesAhoCorasick(expressions)
        self._sorted = sorted(expressions)
        self._first = frozenset(key[0] for key in expressions)

    def spans(self, data: bytes, *, whole_words: bool) -> list[tuple[int, int]]:
        """Return where matches lie; those that must begin or end within a word may be left out."""
        folded = self._fold(data)
        found = self._automaton.find_matches_as_indexes(folded, overlapping=True)
        if whole_words and found:
            found = [hit for hit in found if not _parts_words(folded, hit[1], hit[2])]
        if not found:
            return []
        places = (*self._places(data), len(data))
        spans = (
            self._expression(number).next_span(data, places[begin], places[end])
            for number, begin, end in found
        )
        return [span for span in spans if span is not None]

    def open_from(self, data: bytes) -> int:
        """Return the first place where a word begins from which on the text begins a key."""
        folded = self._fold(data)
        if self._first.isdisjoint(folded):
            return len(data)
        for place, byte in enumerate(folded):
            if byte in self._first and not _parts_words(folded, place):
                beginning = folded[place:]
                known = bisect_left(self._sorted, beginning)
                if known < len(self._sorted) and self._sorted[known].startswith(beginning):
                    return self._places(data)[place]
        return len(data)

    def _expression(self, number: int) -> LinearPattern:
        """Return what a key stands for, compiled when it is first found."""
        if number not in self._compiled:
            expression = "|".join(f"(?:{each})" for each in self._expressions[number])
            self._compiled[number] = LinearPattern(expression, longest=True)
        return self._compiled[number]


def _parts_words(data: bytes, *places: int) -> bool:
    return any(
        0 < place < len(data) and data[place - 1] in _LETTERS and data[place] in _LETTERS
        for place in places
    )
