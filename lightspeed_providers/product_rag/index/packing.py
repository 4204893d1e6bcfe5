"""Texts as they are stored: deflated, which halves what an index takes on disk."""

import zlib

_LEVEL = 6
_RAW = -15
"""No header and no checksum: the whole file has a hash."""


def packed(text: str) -> bytes:
    """Return a text as it is stored."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    return deflate.compress(text.encode()) + deflate.flush()


def unpacked(stored: bytes) -> str:
    """Return a stored text, some microseconds later."""
    return zlib.decompress(stored, _RAW).decode()
