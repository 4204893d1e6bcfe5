"""Which runs of words of one text stand in another, in time linear in both."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import lru_cache

from lightspeed_providers.safety.shields.matching.normalise import normal_bytes

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
"""Scripts that put words side by side, so that each character counts as a word."""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_ASCII_WORD = re.compile("[a-z0-9]+")
_SHORTEST_PROMPT = 6


class Prompt:
    """The words of a system prompt, as an automaton of all their runs (a suffix automaton)."""

    def __init__(self, text: str, words: int) -> None:
        self._words = [word for word, _ in words_of(normal_bytes(text).decode())]
        known = len(self._words)
        self.threshold = min(words, known) if known >= min(_SHORTEST_PROMPT, words) else None
        """How many words in a row give the prompt away; None where it is too short to tell."""
        self._sorted = sorted(set(self._words))
        self._next: list[dict[str, int]] = [{}]
        self._link = [-1]
        self._length = [0]
        last = 0
        for word in self._words:
            last = self._extend(last, word)

    def runs(self, words: Iterable[str]) -> Iterator[int]:
        """Yield after each word how many of the latest words stand in the prompt like that."""
        state = run = 0
        first = self._next[0]
        for word in words:
            if not state and word not in first:
                yield 0
                continue
            while state and word not in self._next[state]:
                state = self._link[state]
                run = self._length[state]
            if word in self._next[state]:
                state = self._next[state][word]
                run += 1
            else:
                run = 0
            yield run

    def is_in(self, text: str) -> bool:
        """Tell whether a normal form gives the prompt away."""
        if self.threshold is None:
            return False
        words = (word for word in _words_in(text).findall(text) if not word.isdigit())
        return any(run >= self.threshold for run in self.runs(words))

    def has_word_from(self, beginning: str) -> bool:
        """Tell whether a word of the prompt begins so."""
        place = bisect_left(self._sorted, beginning)
        return place < len(self._sorted) and self._sorted[place].startswith(beginning)

    def broken_by(self, data: bytes) -> int | None:
        """Return 0 where a normal form gives the prompt away."""
        return 0 if self.is_in(data.decode(errors="replace")) else None

    def broken_by_words(self, letters: bytes) -> bool:
        """Tell whether letters from which blanks were lost give the prompt away."""
        if self.threshold is None:
            return False
        starts = range(len(self._words) - self.threshold + 1)
        runs = ("".join(self._words[n : n + self.threshold]) for n in starts)
        said = letters.replace(b" ", b"").decode(errors="replace")
        return any(run in said for run in runs)

    def _extend(self, last: int, word: str) -> int:
        """Add a word to the automaton (Blumer et al.) and return the state of the whole."""
        new = self._state({}, 0, self._length[last] + 1)
        while last != -1 and word not in self._next[last]:
            self._next[last][word] = new
            last = self._link[last]
        if last == -1:
            return new
        follower = self._next[last][word]
        if self._length[follower] == self._length[last] + 1:
            self._link[new] = follower
            return new
        copy = self._state(
            self._next[follower].copy(), self._link[follower], self._length[last] + 1
        )
        while last != -1 and self._next[last].get(word) == follower:
            self._next[last][word] = copy
            last = self._link[last]
        self._link[follower] = self._link[new] = copy
        return new

    def _state(self, following: dict[str, int], link: int, length: int) -> int:
        self._next.append(following)
        self._link.append(link)
        self._length.append(length)
        return len(self._next) - 1


@lru_cache(maxsize=64)
def prompt_of(text: str, words: int) -> Prompt:
    """Return the prompt's words, remembered for the next turn."""
    return Prompt(text, words)


def words_of(text: str) -> Iterator[tuple[str, int]]:
    """Yield the words of a normal form and where they begin; numbers count as punctuation."""
    for word in _words_in(text).finditer(text):
        if not word[0].isdigit():
            yield word[0], word.start()


def _words_in(text: str) -> re.Pattern[str]:
    return _ASCII_WORD if text.isascii() else _WORD
