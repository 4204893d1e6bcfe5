"""Where streamed text may be cut for a check.

Text is held back until a checkpoint: a sentence end, or `limit` characters where no sentence ends
sooner. A cut never splits a word, nor digits that a space groups ("4111 1111 …"), so a shield
sees an address, a key or a card number whole.
"""

import re

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_SPACE = re.compile(r"\s+")
_HARD_LIMIT = 8  # times `limit`: one endless word is cut all the same, or memory has no bound


class Checkpoints:
    """Cuts a stream of text into the segments that are to be checked and released one by one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = ""

    def push(self, text: str) -> list[str]:
        """Take new text and return the segments that are complete now."""
        self._held += text
        segments = []
        while (cut := self._cut()) > 0:
            segments.append(self._held[:cut])
            self._held = self._held[cut:]
        return segments

    def flush(self) -> str:
        """Return what is still held; nothing more will come."""
        held, self._held = self._held, ""
        return held

    def _cut(self) -> int:
        """Return where the held text can be cut, 0 where it can't yet."""
        sentence = self._last_cut(_SENTENCE_END, len(self._held))
        if sentence:
            return sentence
        if len(self._held) < self._limit:
            return 0
        space = self._last_cut(_SPACE, len(self._held))
        if space:
            return space
        return len(self._held) if len(self._held) >= self._limit * _HARD_LIMIT else 0

    def _last_cut(self, pattern: re.Pattern[str], end: int) -> int:
        """Return the end of the last match with text on both sides that groups no digits."""
        cut = 0
        for match in pattern.finditer(self._held, 0, end):
            before, after = self._held[: match.start()], self._held[match.end() :]
            if not before or not after or (before[-1].isdigit() and after[0].isdigit()):
                continue
            cut = match.end()
        return cut
