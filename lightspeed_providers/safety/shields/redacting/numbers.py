"""Which number a value has in a conversation, without keeping the value."""

import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from threading import Lock
from typing import Protocol

_CONVERSATIONS = 10_000
_VALUES = 2_000
"""Values that a conversation remembers; each takes about 150 bytes."""
_PLACEHOLDER = re.compile(r"<([A-Z]{2,6})_([0-9]{1,9})>")


class Digest(Protocol):
    """Takes a value in parts."""

    def update(self, data: bytes, /) -> None:
        """Take more of it."""
        ...

    def digest(self) -> bytes:
        """Return what stands for the value."""
        ...


class Numbers:
    """The numbers of one conversation; the least recently seen values are forgotten first."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._numbers: OrderedDict[bytes, int] = OrderedDict()
        self._highest: dict[str, int] = {}
        self._lock = Lock()

    def digest(self, label: str) -> Digest:
        """Return what a value of this label is put into."""
        digest = blake2b(key=self._key, digest_size=16)
        digest.update(f"{label}:".encode())
        return digest

    def number(self, label: str, digest: Digest) -> int:
        """Return the value's number, a new one where it has none."""
        value = digest.digest()
        with self._lock:
            number = self._numbers.get(value)
            if number is None:
                number = self._highest[label] = self._highest.get(label, 0) + 1
                self._numbers[value] = number
                if len(self._numbers) > _VALUES:
                    self._numbers.popitem(last=False)
            self._numbers.move_to_end(value)
            return number

    def taken(self, label: str, number: int) -> None:
        """Give this number to no value from now on."""
        with self._lock:
            self._highest[label] = max(self._highest.get(label, 0), number)

    def taken_in(self, texts: Iterable[str]) -> None:
        """Give no number to a value that stands in a placeholder there."""
        for text in texts:
            for label, number in _PLACEHOLDER.findall(text) if "<" in text else ():
                self.taken(label, int(number))


class Conversations:
    """The numbers of each conversation; the least recently used ones are forgotten first."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[str, Numbers] = OrderedDict()
        self._lock = Lock()

    def numbers(self, thread: str) -> Numbers:
        """Return the conversation's numbers, under a key of its own; without a name, new ones."""
        if not thread:
            return Numbers(secrets.token_bytes(32))
        with self._lock:
            numbers = self._numbers.get(thread)
            if numbers is None:
                numbers = self._numbers[thread] = Numbers(secrets.token_bytes(32))
                if len(self._numbers) > _CONVERSATIONS:
                    self._numbers.popitem(last=False)
            self._numbers.move_to_end(thread)
            return numbers
