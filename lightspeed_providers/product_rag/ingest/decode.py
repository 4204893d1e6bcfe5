"""The bytes of a file as text, in whatever encoding they are."""

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_HEAD = 4096
_SAMPLE = 40_000
"""Bytes from which an encoding is guessed, from the first that is not ASCII on."""
_CERTAIN = 0.2
_CONTROL = bytes(sorted({*range(32)} - {9, 10, 11, 12, 13, 27}))
_MOST_CONTROL = 0.02
_BROWSERS_MEAN = {
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin-1": "cp1252",
    "latin1": "cp1252",
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
}


class UndecodableError(ValueError):
    """Bytes that are no text, or text in no known encoding; says why."""


def decoded(data: bytes, *, may_declare: bool = False) -> tuple[str, str]:
    """Return a text, and the encoding's name where it had to be guessed.

    With `may_declare`, what the text says of its own encoding is believed, as browsers do.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _strictly(data, encoding), ""
    _refuse_binary(data)
    declared = _declared(data) if may_declare else ""
    if declared.startswith("iso-2022"):  # its bytes are ASCII's
        return _strictly(data, declared), ""
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError as fault:
        if declared:
            try:
                return data.decode(declared), ""
            except UnicodeDecodeError:
                pass
        encoding = _guessed(data, fault.start)
        if not encoding:
            raise UndecodableError(f"not UTF-8 at byte {fault.start}") from fault
        return _strictly(data, encoding), encoding


def _strictly(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as fault:
        raise UndecodableError(f"not {encoding.upper()} at byte {fault.start}") from fault
    if "\x00" in text:
        raise UndecodableError("not text, it holds NUL characters")
    return text


def _refuse_binary(data: bytes) -> None:
    if b"\x00" in data:
        raise UndecodableError("not text, it holds NUL characters")
    start = data[:_SAMPLE]
    if len(start) - len(start.translate(None, _CONTROL)) > len(start) * _MOST_CONTROL:
        raise UndecodableError("not text, it holds control characters")


def _declared(data: bytes) -> str:
    found = _DECLARED.search(data[:_HEAD])
    if not found:
        return ""
    name = found[1].decode("ascii").lower()
    name = _BROWSERS_MEAN.get(name, name)
    try:
        known = codecs.lookup(name)
    except (LookupError, ValueError):
        return ""
    # Python's codecs from bytes to bytes are no encodings of text.
    return known.name if known._is_text_encoding and known.name != "utf-8" else ""


def _guessed(data: bytes, first: int) -> str:
    """The encoding that fits; none where marks of two encodings are mixed."""
    import chardet

    if codecs.BOM_UTF16_LE in data or codecs.BOM_UTF16_BE in data:
        return ""
    sample = data[max(0, first - 200) :][:_SAMPLE]
    guess = chardet.detect(sample)
    name = (guess["encoding"] or "").lower()
    if not name:
        return ""
    unsure = (guess["confidence"] or 0) < _CERTAIN
    return next((n for n in ("cp1252", name) if (n == name or unsure) and _fits(data, n)), "")


def _fits(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return False
    return True
