"""Source markers that a model writes into its text, left out while the text arrives.

Models echo ids of what they were given, such as `<|file-abc|>` or `【4:0†source】`. Nobody can read
them; what an answer rests on is told by its annotations.
"""

import re

_LONGEST = 160
_MOST_BLANKS = 8
_WORDS = "file|doc|document|source|src|chunk|passage|page|result|ref|reference|vs|url|turn|search"
_NAMED = rf"(?:(?:{_WORDS})(?:[-_: ]?\d|[-_:])|cit)"
_ID = rf"[^<>|\n]{{0,{_LONGEST}}}"
_NOTE = rf"[^【】\n]{{0,{_LONGEST}}}"
_BLANKS = rf"[ \t]{{0,{_MOST_BLANKS}}}"
_MARKER = re.compile(
    rf"{_BLANKS}(?:<\| ?{_NAMED}{_ID}\|>|<\|{_ID}citations? ?\|>"
    rf"|【{_NOTE}†{_NOTE}】|【\d+(?::\d+)*】)",
    re.IGNORECASE,
)
_MAY_BECOME_ONE = re.compile(
    rf"(?:<(?:\|[^<>|\n]{{0,{2 * _LONGEST}}}\|?)?|【[^【】\n]{{0,{2 * _LONGEST}}})\Z"
)
_CUT_SHORT = re.compile(
    rf"{_BLANKS}(?:<\| ?(?:(?:{_WORDS})[-_:]|cit)[^\n]*|【\d[^\n]*)\Z", re.IGNORECASE
)


class WithoutMarkers:
    """A text that arrives in pieces, without its markers and the blanks before them."""

    def __init__(self) -> None:
        self._held = ""
        self._after_blank = False

    def push(self, text: str) -> str:
        """Take new text and return what can no longer be part of a marker."""
        if text and not self._held and "<" not in text and "【" not in text:
            self._after_blank = text[-1].isspace()
            return text
        text, markers = _MARKER.subn("", self._held + text)
        if markers and self._after_blank:
            text = text.removeprefix(" ")
        cut = _cut(text)
        self._held = text[cut:]
        if cut:
            self._after_blank = text[cut - 1].isspace()
        return text[:cut]

    def rest(self) -> str:
        """Return what is still held, without a marker that was cut short; no more will come."""
        rest, self._held = self._held, ""
        return _CUT_SHORT.sub("", rest)


def _cut(text: str) -> int:
    """Return where what may still become a marker begins, with the blanks before it."""
    begins = max(text.rfind("<"), text.rfind("【"))
    if begins < 0 or not _MAY_BECOME_ONE.match(text, begins):
        return len(text)
    return max(len(text[:begins].rstrip(" \t")), begins - _MOST_BLANKS)
