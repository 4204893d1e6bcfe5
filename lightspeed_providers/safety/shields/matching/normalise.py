"""The form of a text in which patterns are looked for.

Each character is folded for itself, so that a text may come in any pieces: without case and marks
that only decorate, as the Latin letter it passes for, compatibility variants as what they stand
for, nothing where it is not seen. Runs of white space are one blank. Forbidden phrases are folded
in the same way, so texts in Cyrillic or Greek are searched as well as before; only words that look
alike in two scripts are no longer told apart.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from lightspeed_providers.safety.shields.matching.lookalikes import capitals, seen_as

_CHUNK = 65_536
"""A call on a whole long text would hold the interpreter until it returns."""

_FOLDED_ASCII = bytes(
    ord(" " if chr(code).isspace() else chr(code).lower()) if code < 128 else code
    for code in range(256)
)
_CONTROLS = bytes(code for code in (*range(32), 127) if not chr(code).isspace())
_BLANKS = re.compile(b"  +")

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
"""Zero-width characters, direction marks, fillers, variation selectors, tags."""

_IDEOGRAPHS = range(0x4E00, 0xA000)
_FIRST_FORGOTTEN = 0x20000
"""Beyond the first two planes there is little in use, and remembering takes memory."""


def prepare() -> None:
    """Load the data on look-alikes now, which takes longer than a text may wait."""
    _looking_capital()


def normalised(text: str) -> str:
    """Return the normal form of a text."""
    return normal_bytes(text).decode()


def normal_bytes(text: str) -> bytes:
    """Return the normal form of a text in UTF-8."""
    return _folded(text) if len(text) <= _CHUNK else _single_spaced(map(_folded, _chunks(text)))


def joined(before: bytes, then: bytes) -> bytes:
    """Return the normal form of two texts, one behind the other."""
    return before + (then.removeprefix(b" ") if before.endswith(b" ") else then)


def with_capitals_seen(text: str) -> str | None:
    """Return the text with capitals read by their own looks; None where that changes nothing.

    A normal form reads a Greek capital nu as the small one, which looks like v.
    """
    looking = _looking_capital()
    if text.isascii() or not any(map(looking.search, _chunks(text))):
        return None
    return "".join(looking.sub(_seen, chunk) for chunk in _chunks(text))


def folded_character(character: str) -> str:
    """Return what one character becomes, before runs of blanks are joined."""
    folded = _FOLDS[ord(character)] if ord(character) > 127 else _folded(character).decode()
    return chr(folded) if isinstance(folded, int) else folded


@cache
def _looking_capital() -> re.Pattern[str]:
    return re.compile(f"[{''.join(map(chr, capitals()))}]")


def _seen(capital: re.Match[str]) -> str:
    return capitals()[ord(capital[0])]


def _folded(text: str) -> bytes:
    plain = text if text.isascii() else text.translate(_FOLDS)
    data = plain.encode().translate(_FOLDED_ASCII, _CONTROLS)
    return _BLANKS.sub(b" ", data) if b"  " in data else data


def _single_spaced(pieces: Iterable[bytes]) -> bytes:
    spaced: list[bytes] = []
    after_blank = False
    for piece in pieces:
        spaced.append(piece.removeprefix(b" ") if after_blank else piece)
        after_blank = piece.endswith(b" ") if piece else after_blank
    return b"".join(spaced)


def _chunks(text: str) -> Iterator[str]:
    return (text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK))


class _Folds(dict[int, str | int]):
    """What characters beyond ASCII become, worked out when one is first met."""

    def __missing__(self, code: int) -> str | int:
        if 0x20000 <= code < 0x2F800 or 0x2FA20 <= code < 0xE0000:
            return code  # rare ideographs, which have no other form
        folded = code if code in _IDEOGRAPHS else _fold(chr(code))
        if code < _FIRST_FORGOTTEN:
            self[code] = folded
        return folded


_FOLDS: Mapping[int, str | int] = _Folds()


def _fold(character: str) -> str | int:
    category = unicodedata.category(character)
    if category in ("Cn", "Co"):
        return ord(character)
    if (category in ("Cc", "Cf", "Cs") and not character.isspace()) or _INVISIBLE.match(character):
        return ""
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(
        " " if part.isspace() else seen_as(part).lower() for part in parts if not _decorates(part)
    )


def _decorates(part: str) -> bool:
    """Tell a mark above, below or through a letter from those that are letters' parts."""
    combining = unicodedata.combining(part)
    return combining >= 200 or combining == 1 or 10 <= combining <= 36
