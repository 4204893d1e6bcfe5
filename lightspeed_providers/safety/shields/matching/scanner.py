"""Reads a stream for patterns and lets go on what can no longer be part of a match."""

from collections.abc import Iterator

from lightspeed_providers.safety.shields.base import Block, Scanned, Scanner
from lightspeed_providers.safety.shields.matching.normalise import with_capitals_seen
from lightspeed_providers.safety.shields.matching.partial_form import HeldForm
from lightspeed_providers.safety.shields.matching.reading import Reading
from lightspeed_providers.safety.shields.matching.rules import Rules
from lightspeed_providers.safety.shields.matching.tails import EncodedTail, SpacedTail

_MOST_UNSEEN = 100_000
"""Characters that may be held; more of them than of normal form is padding."""


class PatternsScanner(Scanner):
    """Blocks where `PatternsShield.check` would, before anything of the match has gone on.

    Of the ways to hide a match it reads look-alikes, ROT13, digits and signs as letters, base64
    (one level, up to the first byte that is no text) and letters spaced out (words of them alone).
    """

    def __init__(self, rules: Rules, *, unwraps: bool) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._plain = Reading(rules, HeldForm(), unwraps=unwraps)
        self._seen: Reading | None = None
        self._tails = (EncodedTail(rules), SpacedTail(rules)) if unwraps else ()
        self._block = Block(stage="unwrapped")

    @property
    def held(self) -> str:
        """The text that came and has not gone on yet."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def push(self, text: str) -> Scanned | Block:
        """Take new text and return what of all that is held may go on."""
        if not text:
            return Scanned("")
        self._read(text)
        count = self._length
        for reading in self._readings():
            if (may_go := reading.may_go(self.held)) is None:
                return Block()
            count = min(count, may_go)
        for tail in self._tails:
            if tail.push(text):
                return self._block
            count = min(count, self._length - tail.length)
        if self._length - count > _MOST_UNSEEN:
            return self._block
        return Scanned(self._released(count))

    def end(self) -> Scanned | Block:
        """Return the rest, unless it blocks."""
        if any(reading.breaks() for reading in self._readings()):
            return Block()
        if any(tail.end() for tail in self._tails):
            return self._block
        return Scanned(self._released(self._length))

    def _read(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)
        if self._seen is None and with_capitals_seen(text) is not None:
            self._seen = self._plain.twin()
        for reading in self._readings():
            reading.form.append(text)

    def _readings(self) -> Iterator[Reading]:
        yield self._plain
        if self._seen is not None:
            yield self._seen

    def _released(self, count: int) -> str:
        if not count:
            return ""
        held = self.held
        released, kept = held[:count], held[count:]
        for reading in self._readings():
            reading.form.drop(released)
        if self._seen is not None and self._seen.form.data == self._plain.form.data:
            self._seen = None
        self._parts = [kept] if kept else []
        self._length = len(kept)
        return released
