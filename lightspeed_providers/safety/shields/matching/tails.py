"""Ends of a stream that may be an encoded text: held until they are known to say nothing bad."""

import re
from abc import ABC, abstractmethod
from typing import Protocol

from lightspeed_providers.safety.shields.matching.normalise import normal_bytes
from lightspeed_providers.safety.shields.matching.unwrap import (
    RUN,
    SHORTEST_TOKEN,
    TOKEN,
    UNREADABLE,
    from_base64,
    readable,
    spaced_runs,
)

_MOST_HELD = 4_096
_KEPT = 2_048
"""Characters: beyond the former, all but the latter goes on; a multiple of what base64 groups."""

_LETTERS = re.compile(r"[^\W_]+|[\W_]+")
_GAP_AT_END = re.compile(r"[\W_]{0,5}\Z")
_WIDEST_GAP = 4
_GROUP = 4
"""Characters of base64 that stand for whole bytes."""
_FILLING = 3
"""Zero bytes that stand behind what was decoded."""
_FEWEST_LETTERS = 6


class Judge(Protocol):
    """Finds what may not be said."""

    def broken_by(self, data: bytes) -> int | None:
        """Return where something forbidden begins in a normal form."""

    def broken_by_words(self, letters: bytes) -> bool:
        """Tell whether letters from which blanks were lost say something forbidden."""
        ...


class Tail(ABC):
    """Follows a stream's end for as long as it could be encoded."""

    def __init__(self, rules: Judge) -> None:
        self._rules = rules
        self._run = ""

    @property
    def length(self) -> int:
        """How many of the latest characters are to be held."""
        return len(self._run)

    @abstractmethod
    def push(self, text: str) -> bool:
        """Read on and tell whether something forbidden was encoded."""

    @abstractmethod
    def end(self) -> bool:
        """Tell whether something forbidden is encoded in what came last."""


class EncodedTail(Tail):
    """Holds a run of base64 for as long as it stands for text, which few words do."""

    _is_text = True

    def push(self, text: str) -> bool:
        """Read on and tell whether something forbidden was encoded."""
        latest = text[len(text.rstrip(RUN)) :]
        if len(latest) == len(text):
            return self._grow(text)
        earlier = text[: len(text) - len(latest)]
        later = earlier.lstrip(RUN)
        found = self._grow(earlier[: len(earlier) - len(later)]) or self.end()
        found = found or any(map(self._is_forbidden, TOKEN.findall(later)))
        self._run, self._is_text = "", True
        return found or self._grow(latest)

    def end(self) -> bool:
        """Tell whether something forbidden is encoded in what came last."""
        return self._is_forbidden(self._run)

    def _grow(self, text: str) -> bool:
        if not self._is_text or not text:
            return False
        decodable = len(self._run) // _GROUP
        self._run += text
        if len(self._run) // _GROUP == decodable:
            return False
        decoded = from_base64([self._run[: len(self._run) // _GROUP * _GROUP]])
        readable_so_far = decoded[:-_FILLING].decode(errors="replace").removesuffix("\ufffd")
        self._is_text = not UNREADABLE.search(readable_so_far)
        if self._is_text and len(self._run) <= _MOST_HELD:
            return False
        found = self.end()
        self._run = (
            self._run[(len(self._run) - _KEPT) // _GROUP * _GROUP :] if self._is_text else ""
        )
        return found

    def _is_forbidden(self, run: str) -> bool:
        if len(run) < SHORTEST_TOKEN:
            return False
        return self._rules.broken_by(normal_bytes(readable(from_base64([run])))) is not None


class SpacedTail(Tail):
    """Holds letters that stand alone, one after the other, until they end."""

    _in_word = False

    def push(self, text: str) -> bool:
        """Read on and tell whether the letters said something forbidden."""
        if not self._run and len(text) > 1 and text.isalnum():
            self._in_word = True
            return False
        for token in _LETTERS.findall(text):
            if self._continues(token):
                self._run += token
                if len(self._run) > _MOST_HELD:
                    if self.end():
                        return True
                    self._run = self._run[-_KEPT:]
            elif self._is_ended_by(token):
                return True
        return False

    def end(self) -> bool:
        """Tell whether the letters that came last say something forbidden."""
        return self._is_forbidden(self._run)

    def _continues(self, token: str) -> bool:
        if token[0].isalnum():
            return len(token) == 1 and not self._in_word and not self._run[-1:].isalnum()
        gap = _GAP_AT_END.search(self._run[-_WIDEST_GAP - 1 :])
        return gap is not None and bool(self._run) and len(gap[0]) + len(token) <= _WIDEST_GAP

    def _is_ended_by(self, token: str) -> bool:
        is_letters = token[0].isalnum()
        run, self._run = self._run, ""
        if is_letters and run[-1:].isalnum():
            run = run[:-1]  # which begins a longer word
        self._in_word = is_letters
        return self._is_forbidden(run)

    def _is_forbidden(self, run: str) -> bool:
        if len(run) < 2 * _FEWEST_LETTERS - 1:
            return False
        runs = spaced_runs(f" {run} ".encode(errors="replace"))
        words = (normal_bytes(words.decode(errors="replace")) for _, _, words in runs)
        return any(
            self._rules.broken_by(read) is not None or self._rules.broken_by_words(read)
            for read in words
        )
