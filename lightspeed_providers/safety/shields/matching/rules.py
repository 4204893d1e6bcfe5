"""What a list of patterns forbids and allows in a normal form."""

from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Protocol

from lightspeed_providers.safety.shields.matching.expressions import Expressions
from lightspeed_providers.safety.shields.matching.gaps import GAP
from lightspeed_providers.safety.shields.matching.linear import literal
from lightspeed_providers.safety.shields.matching.normalise import normalised
from lightspeed_providers.safety.shields.matching.partial_syntax import folded
from lightspeed_providers.safety.shields.matching.phrases import Phrases, is_phrase

_MOST_EXCUSED = 1_000
_LONGEST_ALLOWED = 4_096


class Finder(Protocol):
    """Finds what one part of a list stands for."""

    @property
    def longest(self) -> int | None:
        """Bytes of the longest match; None where there is no limit."""

    def spans(
        self, data: bytes, start: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """Yield where matches lie that are over at `end`, from the left."""
        ...

    def open_from(self, data: bytes, start: int = 0) -> int:
        """Return the first place from `start` on where a match may begin that more text decides."""
        ...

    def found_in_words(self, letters: bytes) -> bool:
        """Tell whether letters from which blanks were lost hold a match."""
        ...


class Rules:
    """Forbidden and allowed matches."""

    def __init__(self, forbidden: Sequence[Finder], allowed: Sequence[Finder] = ()) -> None:
        self._forbidden = forbidden
        self._allowed = allowed
        self._all = (*forbidden, *allowed)

    def broken_by(self, data: bytes, start: int = 0, end: int | None = None) -> int | None:
        """Return where the first match begins that lies within no allowed stretch.

        A text with a great many forbidden matches in allowed stretches is as good as forbidden,
        so that time stays linear.
        """
        if not self._allowed:
            firsts = (next(finder.spans(data, start, end), None) for finder in self._forbidden)
            return min([first[0] for first in firsts if first is not None], default=None)
        for count, span in enumerate(_spans(self._forbidden, data, start, end)):
            if count >= _MOST_EXCUSED or not self._is_allowed(data, *span):
                return span[0]
        return None

    def broken_by_words(self, letters: bytes) -> bool:
        """Tell whether letters from which blanks were lost hold a forbidden match."""
        return any(finder.found_in_words(letters) for finder in self._forbidden)

    def open_from(self, data: bytes, start: int) -> int:
        """Return the first place from `start` on where a match may begin that more text decides."""
        return min([finder.open_from(data, start) for finder in self._all])

    def allowed_from(self, data: bytes, start: int) -> int:
        """Return the first place from `start` on where an allowed stretch is open."""
        return min((finder.open_from(data, start) for finder in self._allowed), default=len(data))

    def around(self, data: bytes, start: int, place: int) -> int:
        """Return where the allowed stretches around a place begin, or the place."""
        for begin, end in _spans(self._allowed, data, start, None):
            if begin >= place:
                break
            if place < end:
                return begin
        return place

    def _is_allowed(self, data: bytes, begin: int, end: int) -> bool:
        for finder in self._allowed:
            length = finder.longest
            start = max(0, begin - min(length or _LONGEST_ALLOWED, _LONGEST_ALLOWED))
            for span in finder.spans(data, start, None if length is None else begin + length):
                if span[0] > begin:
                    break
                if end <= span[1]:
                    return True
        return False


def rules(
    phrases: Sequence[str],
    expressions: Sequence[str],
    allowed_phrases: Sequence[str],
    allowed_expressions: Sequence[str],
) -> Rules:
    """Return the rules that phrases and expressions, as an operator writes them, amount to.

    Raises ValueError where they can't be compiled.
    """
    has_allowed = bool(allowed_phrases or allowed_expressions)
    return Rules(
        _finders(phrases, expressions, longest=has_allowed),
        _finders(allowed_phrases, allowed_expressions, longest=True),
    )


def _finders(
    phrases: Sequence[str], expressions: Sequence[str], *, longest: bool
) -> tuple[Finder, ...]:
    found = {phrase: is_phrase(phrase) for phrase in phrases}
    lettered = [phrase for phrase, is_one in found.items() if is_one]
    signs = [_phrase_of_signs(phrase) for phrase, is_one in found.items() if not is_one]
    finders: list[Finder] = [Phrases(lettered)] if lettered else []
    if all_expressions := [*signs, *map(folded, expressions)]:
        finders.append(Expressions(all_expressions, longest=longest))
    return tuple(finders)


def _phrase_of_signs(phrase: str) -> str:
    return GAP.join(map(literal, normalised(phrase).split()))


def _spans(
    finders: Sequence[Finder], data: bytes, start: int, end: int | None
) -> Iterator[tuple[int, int]]:
    spans = [finder.spans(data, start, end) for finder in finders]
    return spans[0] if len(spans) == 1 else merge(*spans)
