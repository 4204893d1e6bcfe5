"""Finds what is to be rewritten in a text that may come in parts."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from lightspeed_providers.safety.shields.matching.linear import LinearPattern
from lightspeed_providers.safety.shields.matching.partial import PartialPattern
from lightspeed_providers.safety.shields.redacting.entities.rule import LOOKED_BACK, Rule, Span

_COUNTS = re.compile(r"(?<!\\x)\{(?P<least>[0-9]+)(?:,(?P<most>[0-9]+))?\}")
_COUNTED = 13
_LOOSELY_HELD = 256
"""Bytes that are held at most for what the wider expressions match."""


@dataclass(slots=True)
class Found:
    """A value in a text; one that still goes on has no end yet."""

    rule: Rule
    start: int
    end: int | None = None


class Taken:
    """Where earlier rules found values: lies in order, nothing overlaps."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self._starts: list[int] = []

    def add(self, found: Iterable[Found]) -> None:
        """Take values that overlap none of those taken."""
        self.found = sorted([*self.found, *found], key=lambda f: f.start)
        self._starts = [f.start for f in self.found]

    def overlaps(self, start: int, end: int) -> bool:
        """Tell whether a value lies somewhere between."""
        place = bisect_left(self._starts, end)
        if place == 0:
            return False
        last = self.found[place - 1]
        return last.end is None or last.end > start

    def next_start(self, position: int) -> int | None:
        """Return where the next value from there begins."""
        place = bisect_left(self._starts, position)
        return self._starts[place] if place < len(self._starts) else None


@dataclass(frozen=True)
class RuleSet:
    """The rules of a shield, the strongest first."""

    rules: Sequence[Rule]

    @cached_property
    def candidates(self) -> LinearPattern:
        """Matches wherever a candidate of any rule begins, and at some places more."""
        return LinearPattern(self._any, by_byte=True)

    @cached_property
    def open(self) -> PartialPattern:
        """Finds the first place where a candidate of any rule may have begun, or one before."""
        return PartialPattern(self._any, by_byte=True)

    @property
    def _any(self) -> str:
        return "|".join(f"(?:{_loosened(rule.expression)})" for rule in self.rules)


def _loosened(expression: str) -> str:
    """Return a wider expression that need not count far.

    An automaton for many expressions together has a state for every combination of their counts.
    """
    return _COUNTS.sub(_loosely, expression)


def _loosely(counts: re.Match[str]) -> str:
    least, most = int(counts["least"]), int(counts["most"] or counts["least"])
    if most <= _COUNTED:
        return counts[0]
    return "*" if least == 0 else "+" if least > _COUNTED else f"{{{least},}}"


class _Finder:
    """Follows one rule through a text."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.position = 0
        """All that begins before is decided."""
        self.found: list[Found] = []
        self.going_on: Found | None = None

    def advance(self, data: bytes, limit: int, undecided: "_Undecided", taken: Taken) -> None:
        """Find the values that are now decided; up to the limit, those of earlier rules are."""
        final = undecided.final
        if self.going_on is not None:
            self._go_on(self.going_on, data, limit, final, taken)
            if self.going_on is not None:
                return
        rule = self.rule
        open_from = undecided.begins(rule, self.position)
        while (span := self._candidate(data)) is not None:
            begin, end = span
            if begin >= open_from:
                break
            value = rule.prove(data, begin, end)
            if value is not None and value[1] > limit:
                self.position = begin
                return
            if value is None or taken.overlaps(*value):
                self.position = rule.unproven(data, begin, end)
            else:
                self.found.append(one := Found(rule, value[0], value[1]))
                self.position = value[1]
                if rule.rest is not None and value[1] == end:
                    self._go_on(one, data, limit, final, taken)
                    if self.going_on is not None:
                        return
            if self.position > open_from:
                open_from = undecided.begins(rule, self.position)
        self.position = max(self.position, open_from)
        return

    def _candidate(self, data: bytes) -> Span | None:
        marks = self.rule.marks
        if marks and not any(mark in data for mark in marks):
            return None
        if self.rule.needed is not None and not self.rule.needed.found_in(data):
            return None
        return self.rule.candidates.next_span(data, self.position)

    def let_go(self, upto: int, cut: int) -> None:
        """Forget what was found before, and move all places by what was cut off the data."""
        self.found = [f for f in self.found if f.end is None or f.end > upto]
        for found in self.found:
            found.start -= cut
            if found.end is not None:
                found.end -= cut
        self.position -= cut

    def _go_on(self, value: Found, data: bytes, limit: int, final: bool, taken: Taken) -> None:
        """Follow a value of any length as far as it is decided."""
        rest, tail = self.rule.rest, self.rule.tail
        assert rest is not None  # noqa: S101  # only such values go on
        following = taken.next_start(self.position)
        is_cut = following is not None and following <= limit
        stop = following if is_cut and following is not None else limit
        is_last = is_cut or (final and stop == len(data))
        value.end, self.going_on = None, None
        while True:
            match = rest.match(data, self.position, stop)
            self.position = match.end() if match else self.position
            left = stop - self.position
            if left == 0 and not is_last:
                self.going_on = value
                return
            if tail is None or not data.startswith(tail.begins_with, self.position):
                break
            if left < tail.longest and not is_last:
                self.going_on = value
                return
            end = tail.pattern.match(data, self.position, stop)
            if end is None:
                break
            self.position = end.end()
            if not tail.joins:
                break
        value.end = self.position


@dataclass(frozen=True)
class _Undecided:
    """Where a text ends that may go on."""

    data: bytes
    final: bool
    loosely: int
    """Where a candidate of any rule may begin that more text decides; too far back at times."""

    def begins(self, rule: Rule, position: int) -> int:
        """Return where, from the position on, such a candidate of the rule may begin."""
        end = len(self.data)
        if self.final:
            return end
        if position <= self.loosely and end - self.loosely <= _LOOSELY_HELD:
            return self.loosely
        return rule.open.open_from(self.data, min(position, end))


class Search:
    """Reads a text in parts and tells what of it is decided."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._finders = [_Finder(rule) for rule in rules.rules]
        self.data = b""
        """What is undecided, after what was decided last and is still looked back at."""
        self.decided = 0
        """Up to here in the data, nothing that comes can change what was found."""
        self.found: list[Found] = []
        """What was found and not let go of, in order."""

    def push(self, data: bytes, *, final: bool) -> None:
        """Take more of the text and decide what can be."""
        self.data += data
        end = len(self.data)
        loosely = end if final else self._rules.open.open_from(self.data, self.decided)
        undecided = _Undecided(self.data, final, loosely)
        if not self.found and self._passes_over(undecided):
            return
        taken, limit = Taken(), end
        for finder in self._finders:
            finder.advance(self.data, limit, undecided, taken)
            if finder.found:
                taken.add(finder.found)
            limit = min(limit, finder.position)
        self.found = taken.found
        self.decided = _character_start(self.data, limit)

    @property
    def found_before_decided(self) -> list[Found]:
        """What was found and nothing that comes can undo."""
        return [found for found in self.found if found.start < self.decided]

    def let_go(self, upto: int) -> int:
        """Forget what was found before, and return how much of the data was cut off for it."""
        cut = max(0, upto - LOOKED_BACK)
        self.data = self.data[cut:]
        self.decided -= cut
        for finder in self._finders:
            finder.let_go(upto, cut)
        self.found = [f for f in self.found if f.end is None or f.end + cut > upto]
        return cut

    def _passes_over(self, undecided: _Undecided) -> bool:
        """Pass over text that holds no candidate of any rule, and tell whether it does."""
        decided = undecided.loosely
        if len(self.data) - decided > _LOOSELY_HELD:
            return False
        span = self._rules.candidates.next_span(self.data, self.decided)
        if span is not None and span[0] < decided:
            return False
        for finder in self._finders:
            finder.position = max(finder.position, decided)
        self.decided = _character_start(self.data, decided)
        return True


def _character_start(data: bytes, place: int) -> int:
    """Return the place, or where the character begins that it is inside of."""
    while 0 < place < len(data) and data[place] & 0xC0 == 0x80:
        place -= 1
    return place
