"""Other readings of a text that hides what it says: encoded, escaped, spaced out.

Every reading takes time and memory linear in the text, which is read in pieces.
"""

import binascii
import html
import re
import string
from collections.abc import Iterator
from urllib.parse import unquote

from lightspeed_providers.safety.shields.matching.linear import LinearPattern
from lightspeed_providers.safety.shields.matching.normalise import normal_bytes

_PIECE = 65_520
_OVERLAP = 240
"""Both a multiple of what any encoding writes as one group."""

RUN = string.ascii_letters + string.digits + "+/_-"
SHORTEST_TOKEN = 16
TOKEN = re.compile(
    rf"[A-Za-z0-9+/_-]{{{SHORTEST_TOKEN},}}(?:\r?\n[A-Za-z0-9+/_-]{{4,}})*"  # mail breaks lines
)
_HEX = LinearPattern(r"(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ ,:;-]?){8,}")
_NO_HEX = re.compile(rb"0x|[^0-9A-Fa-f]")
UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]+")
_SHORTEST_READABLE = 12
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}|&#?[A-Za-z0-9]{2,8};|\\(?:u\{?|U|x)[0-9A-Fa-f]{2}")
_BACKSLASHED = re.compile(
    r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2}))"
)
_HIGHEST = 0x10FFFF

_SPACED = LinearPattern(r"(?:^|[^\pL\pN])(?:[\pL\pN][^\pL\pN]{1,4}){5,}[\pL\pN](?:$|[^\pL\pN])")
"""Six or more letters that stand alone."""
_GAP = re.compile(rb"[\x00-/:-@\[-`{-\x7f]+")
_WIDE_GAP = re.compile(rb"[\x00-/:-@\[-`{-\x7f]{2}")
_OTHER_SIGN = re.compile(r"[^\w\x00-\x7f]")
_BETWEEN = bytes(code for code in range(128) if not chr(code).isalnum())

ROT13 = bytes.maketrans(
    string.ascii_letters.encode(),
    (
        string.ascii_lowercase[13:]
        + string.ascii_lowercase[:13]
        + string.ascii_uppercase[13:]
        + string.ascii_uppercase[:13]
    ).encode(),
)
LEET = bytes.maketrans(b"013457@$", b"oieastas")
"""Digits and signs that stand for letters."""


def respelled(data: bytes) -> Iterator[bytes]:
    """Yield a normal form as ROT13, with digits and signs as letters, and read backwards."""
    yield data.translate(ROT13)
    if (lettered := data.translate(LEET)) != data:
        yield lettered
    yield data[::-1] if data.isascii() else data.decode()[::-1].encode()


def unwrapped(text: str, levels: int = 2) -> Iterator[str]:
    """Yield what the text says when its encoded, escaped and spaced stretches are read.

    An encoding may hold another, `levels` deep.
    """
    for piece in _pieces(text):
        data = piece.encode(errors="replace")
        for reading in (*_from_tokens(piece), *_from_hex(data), *_unescaped(piece)):
            yield reading
            if levels > 1:
                yield from unwrapped(reading, levels - 1)
        if runs := [*spaced_runs(data)]:
            yield _closed_up(data, runs)


def spaced_words(text: str) -> Iterator[bytes]:
    """Yield the normal form of each run of letters that stand alone, closed up."""
    for piece in _pieces(text):
        for _, _, words in spaced_runs(piece.encode(errors="replace")):
            yield normal_bytes(words.decode(errors="replace"))


def spaced_runs(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield where letters stand alone and the words they make, parted where a gap is wider."""
    for start, end in _SPACED.spans(data):
        run = data[start:end]
        if not run.isascii():
            run = _OTHER_SIGN.sub(" ", run.decode()).encode()
        run = run.strip(_BETWEEN)
        words = _in_words(run) if _WIDE_GAP.search(run) else run.translate(None, _BETWEEN)
        yield start, end, words


def _in_words(run: bytes) -> bytes:
    narrowest = min(map(len, _GAP.findall(run)))
    return _GAP.sub(lambda gap: b" "[: len(gap[0]) > narrowest], run)


def _closed_up(data: bytes, runs: list[tuple[int, int, bytes]]) -> str:
    parts: list[bytes] = []
    kept_from = 0
    for start, end, words in runs:
        parts += data[kept_from:start], b" ", words, b" "
        kept_from = end
    return b"".join([*parts, data[kept_from:]]).decode(errors="replace")


def readable(decoded: bytes) -> str:
    """Return the stretches of text in decoded bytes that are too long for chance."""
    stretches = UNREADABLE.split(decoded.decode(errors="replace"))
    return " \ufffd ".join(s for s in stretches if len(s) >= _SHORTEST_READABLE)


def from_base64(tokens: list[str]) -> bytes:
    """Return what the tokens stand for, in either alphabet, with zero bytes between them."""
    filled = "".join(f"{token}{'A' * (-len(token) % 4)}AAAA" for token in tokens)
    return binascii.a2b_base64(filled.replace("-", "+").replace("_", "/"))


def _from_tokens(piece: str) -> Iterator[str]:
    if tokens := TOKEN.findall(piece):
        joined = (token.replace("\r", "").replace("\n", "") for token in tokens)
        if reading := readable(from_base64([*joined])):
            yield reading


def _from_hex(data: bytes) -> Iterator[str]:
    codes = [_NO_HEX.sub(b"", data[start:end]).decode() for start, end in _HEX.spans(data)]
    if reading := readable(b"\0".join(map(bytes.fromhex, codes))):
        yield reading


def _unescaped(piece: str) -> Iterator[str]:
    if _ESCAPED.search(piece):
        plain = html.unescape(unquote(_BACKSLASHED.sub(_character, piece)))
        if plain != piece:
            yield plain


def _character(escape: re.Match[str]) -> str:
    code = int(next(filter(None, escape.groups())), 16)
    return chr(code) if code <= _HIGHEST else escape[0]


def _pieces(text: str) -> Iterator[str]:
    """Cut a long text beside its encoded stretches, or with an overlap through an endless one."""
    start = 0
    while len(text) - start > _PIECE:
        piece = text[start : start + _PIECE]
        whole = piece.rstrip(RUN)
        yield whole or piece
        start += len(whole) or _PIECE - _OVERLAP
    yield text[start:]
