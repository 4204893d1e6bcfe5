"""Where streamed text may be cut for a check.

Text is held back until a checkpoint: a sentence end, or `limit` characters where no sentence ends
sooner. There is at most one checkpoint for each `limit` characters, and one more for the first
sentence, which therefore leaves early. A cut never splits a word, nor digits that a space groups
("4111 1111 …"), so a shield sees an address, a key or a card number whole.
"""

import re

_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|(?<=[。！？])|\n+")
_SPACE = re.compile(r"\s+")
_HARD_LIMIT = 8  # times `limit`: one endless word is cut all the same, or memory has no bound


class Checkpoints:
    """Cuts a stream of text into the segments that are to be checked and released one by one."""

    def __init__(self, limit: int, *, only_at_sentence_ends: bool = False) -> None:
        self._limit = limit
        self._patience = limit * (2 if only_at_sentence_ends else 1)
        self._held = ""
        self._before = 0
        self._cuts = 0

    @property
    def held(self) -> str:
        """The text after the last cut."""
        return self._held

    def push(self, text: str) -> list[str]:
        """Take new text and return the segments that are complete now."""
        self._held += text
        segments = []
        while (cut := self._cut()) > 0:
            segments.append(self._held[:cut])
            self._held = self._held[cut:]
            self._before += cut
            self._cuts += 1
        return segments

    def flush(self) -> str:
        """Return what is still held; nothing more will come."""
        held, self._held = self._held, ""
        return held

    def _cut(self) -> int:
        """Return where the held text can be cut, 0 where it can't yet."""
        earliest = self._cuts * self._limit - self._before
        if len(self._held) <= earliest:
            return 0
        sentence = self._last_cut(_SENTENCE_END)
        if sentence and sentence >= earliest:
            return sentence
        if len(self._held) < self._patience:
            return 0
        space = self._last_cut(_SPACE)
        if space and space >= earliest:
            return space
        return len(self._held) if len(self._held) >= self._limit * _HARD_LIMIT else 0

    def _last_cut(self, pattern: re.Pattern[str]) -> int:
        """Return the end of the last match with text on both sides that groups no digits."""
        cut = 0
        for match in pattern.finditer(self._held):
            start, end = match.span()
            if start == 0 or end == len(self._held):
                continue
            if self._held[start - 1].isdigit() and self._held[end].isdigit():
                continue
            cut = end
        return cut
