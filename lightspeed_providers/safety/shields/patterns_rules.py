"""What a list of patterns forbids and allows in a normal form."""

from collections.abc import Iterable, Sequence

from lightspeed_providers.safety.shields.linear import LinearPattern, literal
from lightspeed_providers.safety.shields.normalise import normalised
from lightspeed_providers.safety.shields.partial import PartialPattern
from lightspeed_providers.safety.shields.partial_syntax import folded, without_gaps

_FIRST_UNSPACED = "\u0e00"
"""Scripts from Thai on may put words side by side, so their words need no gap around them."""

_GAP = r"(?:[-_*~|/+\\]{0,3} [-_*~|/+\\]{0,3}|[-_*~|/+\\.]{1,3})"
"""What may stand between the words of a phrase."""

_MOST_EXCUSED = 1_000
_LONGEST_ALLOWED = 4_096


class Rules:
    """Forbidden and allowed expressions; raises ValueError where one can't be compiled."""

    def __init__(self, forbidden: Sequence[str], allowed: Sequence[str]) -> None:
        self._forbidden = LinearPattern(_any_of(forbidden), ignore_case=True)
        self._gapless = LinearPattern(_any_of(map(without_gaps, forbidden)), ignore_case=True)
        self._open = [PartialPattern(_any_of(forbidden), ignore_case=True)]
        self._allowed = None
        if allowed:
            self._allowed = LinearPattern(_any_of(allowed), ignore_case=True, longest=True)
            self._open.append(PartialPattern(_any_of(allowed), ignore_case=True))

    def broken_by(self, data: bytes, start: int = 0, end: int | None = None) -> int | None:
        """Return where the first match begins that lies within no allowed stretch.

        A text with a great many forbidden matches in allowed stretches is as good as forbidden,
        so that time stays linear.
        """
        span = self._forbidden.next_span(data, start, end)
        for _ in range(_MOST_EXCUSED):
            if span is None or not self._is_allowed(data, *span):
                break
            span = self._forbidden.next_span(data, span[0] + 1, end)
        return None if span is None else span[0]

    def broken_by_words(self, letters: bytes) -> bool:
        """Tell whether letters from which blanks were lost hold a forbidden match."""
        return self._gapless.found_in(letters)

    def open_from(self, data: bytes, start: int) -> int:
        """Return the first place from `start` on where a match may begin that more text decides."""
        return min(pattern.open_from(data, start) for pattern in self._open)

    def allowed_from(self, data: bytes, start: int) -> int:
        """Return the first place from `start` on where an allowed stretch is open."""
        return len(data) if self._allowed is None else self._open[-1].open_from(data, start)

    def around(self, data: bytes, start: int, place: int) -> int:
        """Return where the allowed stretches around a place begin, or the place."""
        if self._allowed is None:
            return place
        begin = start
        while (span := self._allowed.next_span(data, begin)) is not None and span[0] < place:
            if place < span[1]:
                return span[0]
            begin = span[0] + 1
        return place

    def _is_allowed(self, data: bytes, begin: int, end: int) -> bool:
        if self._allowed is None:
            return False
        start = max(0, begin - min(self._open[-1].longest or _LONGEST_ALLOWED, _LONGEST_ALLOWED))
        while (span := self._allowed.next_span(data, start)) is not None and span[0] <= begin:
            if end <= span[1]:
                return True
            start = span[0] + 1
        return False


def rules(
    phrases: Iterable[str],
    expressions: Iterable[str],
    allowed_phrases: Iterable[str],
    allowed_expressions: Iterable[str],
) -> Rules:
    """Return the rules that phrases and expressions, as an operator writes them, amount to."""
    return Rules(
        [*map(_phrase, phrases), *map(folded, expressions)],
        [*map(_phrase, allowed_phrases), *map(folded, allowed_expressions)],
    )


def _phrase(phrase: str) -> str:
    """Return an expression for the phrase where no letter or digit touches it."""
    words = normalised(phrase).split()
    before = r"(?:^|[^\pL\pN_])" if _needs_gap(words[0][0]) else ""
    after = r"(?:$|[^\pL\pN_])" if _needs_gap(words[-1][-1]) else ""
    return before + _GAP.join(map(literal, words)) + after


def _needs_gap(edge: str) -> bool:
    return edge.isalnum() and edge < _FIRST_UNSPACED


def _any_of(expressions: Iterable[str]) -> str:
    return "|".join(f"(?:{expression})" for expression in expressions)
