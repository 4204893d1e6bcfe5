"""What a rule of redaction is: how candidates look, and how much of one is real."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from lightspeed_providers.safety.shields.matching.linear import LinearPattern
from lightspeed_providers.safety.shields.matching.partial import PartialPattern

type Span = tuple[int, int]
type Proof = Callable[[bytes, int, int], Span | None]
"""Gets a text and where in it a candidate lies; returns which part of it is the value, if any.

It may look at what stands up to `LOOKED_BACK` bytes before the candidate, and at no more.
"""

LOOKED_BACK = 64

DIGIT_END = r"(?:[^0-9]|\z)"
"""Ends a candidate: more digits would make another number of it."""

_GROUP_END = re.compile(rb"[^0-9A-Za-z]")


def whole(data: bytes, begin: int, end: int) -> Span | None:
    """Take every candidate as it is."""
    return begin, end


def as_written(value: bytes) -> bytes:
    """Tell values apart by every byte."""
    return value


def compact(value: bytes) -> bytes:
    """Return letters and digits alone, so that two spellings of a number are one value."""
    return value.translate(None, b" -./()\xc2\xa0").upper()


def is_glued(data: bytes, begin: int) -> bool:
    """Tell what follows a letter or digit; the letter of an escaped line end is none."""
    if not data[begin - 1 : begin].isalnum():
        return False
    return data[max(0, begin - 2) : begin] not in _ESCAPES


_ESCAPES = (rb"\n", rb"\r", rb"\t")
DIGITS = tuple(b"%d" % digit for digit in range(10))


def next_group(data: bytes, begin: int, end: int) -> int:
    """Go on at the next group of digits: what is no value may hide one that begins there."""
    group = _GROUP_END.search(data, begin + 1, end)
    return end if group is None else group.start()


def after_candidate(data: bytes, begin: int, end: int) -> int:
    """Go on behind the candidate."""
    return end


@dataclass(frozen=True)
class Tail:
    """What ends a value of any length, or joins two parts of one."""

    pattern: re.Pattern[bytes]
    begins_with: bytes
    longest: int
    joins: bool = False
    """Whether more of the value may follow."""


@dataclass(frozen=True)
class Rule:
    """One way to find one entity; expressions are in RE2 syntax, over the bytes of UTF-8."""

    label: str
    expression: str
    """Matches candidates, none longer than a few hundred bytes."""
    marks: tuple[bytes, ...] = ()
    """Where there are some, every candidate holds one, and a text without any is not searched."""
    needed: LinearPattern | None = None
    """Matches what stands before every value, so that a text without it is not searched."""
    prove: Proof = whole
    identity: Callable[[bytes], bytes] = as_written
    """Makes two spellings of one value equal."""
    unproven: Callable[[bytes, int, int], int] = after_candidate
    """Says where to go on behind a candidate that is no value."""
    rest: re.Pattern[bytes] | None = None
    """Matches what belongs to a value that its candidate ends with, however long it is."""
    tail: "Tail | None" = None
    """What else may belong to a value where its rest has ended."""

    @cached_property
    def candidates(self) -> LinearPattern:
        """Finds candidates."""
        return LinearPattern(self.expression, by_byte=True)

    @cached_property
    def open(self) -> PartialPattern:
        """Finds where a candidate may have begun that more text decides."""
        return PartialPattern(self.expression, by_byte=True)
