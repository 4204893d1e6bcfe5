"""The form of a text in which patterns are looked for."""

import re
import unicodedata
from collections.abc import Iterable, Iterator

_CHUNK = 65_536
_PIECE = 256
"""Short, because putting a run of combining marks in order takes the square of its length."""

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]+"
)
"""Characters that are not seen: zero-width, direction marks, fillers, variation selectors, tags."""


def normalised(text: str) -> str:
    """Return the text in Unicode's NFKC form, without invisible characters, case-folded.

    Runs of white space become one blank. All work is done in pieces, because a call on a whole
    long text would hold the interpreter until it returns.
    """
    if text.isascii():
        return _single_spaced(chunk.lower() for chunk in _chunks(text))
    visible = "".join(_INVISIBLE.sub("", chunk) for chunk in _chunks(text))
    return _single_spaced(
        unicodedata.normalize("NFKC", piece).casefold() for piece in _pieces(visible)
    )


def _single_spaced(pieces: Iterable[str]) -> str:
    spaced: list[str] = []
    after_blank = False
    for piece in pieces:
        # The marks at both ends keep a blank there from being split away.
        blank_first = " ".join(f"|{piece}|".split())[1:-1]
        text = blank_first.removeprefix(" ") if after_blank else blank_first
        spaced.append(text)
        after_blank = text.endswith(" ") if text else after_blank
    return "".join(spaced)


def _chunks(text: str) -> Iterator[str]:
    return (text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK))


def _pieces(text: str) -> Iterator[str]:
    """Cut a text where no character combines with the one before the cut, if there is a place."""
    start = 0
    while start < len(text):
        end = start + _PIECE
        latest = min(end + _PIECE, len(text))
        while end < latest and not _begins_afresh(text[end]):
            end += 1
        yield text[start:end]
        start = end


def _begins_afresh(character: str) -> bool:
    return character.isascii() or not (
        unicodedata.category(character).startswith("M") or "\u1160" <= character <= "\u11ff"
    )
