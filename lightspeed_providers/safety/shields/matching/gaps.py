"""What may stand between the words of a phrase, and the characters beside it."""

import re
from collections.abc import Sequence

import numpy as np

_SIGNS = b"-_*~|/+\\. "
GAP = r"(?:[-_*~|/+\\]{0,3} [-_*~|/+\\]{0,3}|[-_*~|/+\\.]{1,3})"
"""An expression for a gap."""
GAPLESS = r"(?:[-_*~|/+\\]{0,3} ?[-_*~|/+\\]{0,3}|[-_*~|/+\\.]{1,3})"
"""An expression for what may be left of a gap where blanks were lost."""
WIDEST_GAP = 7

_AS_BLANKS = bytes(ord(" ") if code in _SIGNS else code for code in range(256))
_BLANKS = re.compile(b"  +")
_WIDEST = 4
"""Bytes of the widest character."""


def with_gaps_joined(data: bytes) -> bytes:
    """Return the text with each run of what gaps are made of, however long, as one blank."""
    return _BLANKS.sub(b" ", data.translate(_AS_BLANKS))


def places_of_joined(data: bytes) -> Sequence[int]:
    """Return where each byte of the text with joined gaps stands in the text."""
    is_sign = _is_sign(data)
    is_sign[1:] &= is_sign[:-1].copy()
    is_sign[:1] = False
    return np.flatnonzero(~is_sign).tolist()


def without_gaps(data: bytes) -> bytes:
    """Return the text without anything that gaps are made of."""
    return data.translate(None, _SIGNS)


def places_of_closed(data: bytes) -> Sequence[int]:
    """Return where each byte of the text without gaps stands in the text."""
    return np.flatnonzero(~_is_sign(data)).tolist()


def character_at(data: bytes, place: int) -> str:
    """Return the character that begins in a place."""
    return data[place : place + _WIDEST].decode(errors="ignore")[:1]


def character_before(data: bytes, place: int) -> str:
    """Return the character that ends in a place."""
    return data[max(0, place - _WIDEST) : place].decode(errors="ignore")[-1:]


def _is_sign(data: bytes) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    return np.isin(np.frombuffer(data, np.uint8), np.frombuffer(_SIGNS, np.uint8))
