"""The normal form of the text that a scanner holds, and which of its characters stands where."""

from bisect import bisect_right

from lightspeed_providers.safety.shields.matching.normalise import (
    joined,
    normal_bytes,
    with_capitals_seen,
)

_CONTEXT = 4
"""Bytes of the widest character."""


class HeldForm:
    """The normal form of what is held, behind the last character that has gone on."""

    def __init__(self, *, capitals: bool = False) -> None:
        self.data = b""
        self.start = 0
        """Where in the data the held text begins."""
        self._capitals = capitals

    def twin(self) -> "HeldForm":
        """Return what has read the same so far and sees capitals by their looks from now on."""
        twin = HeldForm(capitals=True)
        twin.data, twin.start = self.data, self.start
        return twin

    def append(self, text: str) -> None:
        """Read on."""
        self.data = joined(self.data, self._form(text))

    def drop(self, released: str) -> None:
        """Forget what has gone on, but for its last character."""
        gone = len(joined(self.data[: self.start], self._form(released)))
        cut = max(0, gone - _CONTEXT)
        while self.data[cut : cut + 1] and 0x80 <= self.data[cut] < 0xC0:
            cut += 1
        self.data, self.start = self.data[cut:], gone - cut

    def characters_before(self, place: int, held: str) -> int:
        """Return how many of the held characters stand before a place in the data."""
        if place >= len(self.data):
            return len(held)
        if place <= self.start:
            return 0
        if len(held) == len(self.data) - self.start and held.isascii():
            return place - self.start
        before = self.data[: self.start]

        def read(count: int) -> int:
            return len(joined(before, self._form(held[:count])))

        return bisect_right(range(len(held) + 1), place, key=read) - 1

    def _form(self, text: str) -> bytes:
        return normal_bytes((with_capitals_seen(text) if self._capitals else None) or text)
