"""E-mail addresses, also with letters beyond ASCII in either part."""

import re
import unicodedata

from lightspeed_providers.safety.shields.redacting.entities.rule import Rule, Span

_LETTER = r"A-Za-z0-9\x80-\xff"
_EMAIL = (
    rf"[{_LETTER}_](?:[{_LETTER}._%+'-]{{0,62}}[{_LETTER}_+-])?"
    rf"(?:@|%40)(?:[{_LETTER}](?:[{_LETTER}-]{{0,61}}[{_LETTER}])?\.){{1,8}}[{_LETTER}-]{{2,63}}"
)
_AT = re.compile(rb"@|%40")
_IN_URL = re.compile(rb"://(?:[^\s/@]*:)?\Z")
"""Before a host, what stands there is the name or password of an account."""
_FILE = re.compile(rb"(?i)[0-9]x\.[a-z]+\Z|[a-z0-9-]+\.(?:png|jpe?g|gif|svg|webp|css|js|html?)\Z")
_LOCAL_SIGNS = frozenset("._%+'-")
_SERVICE_ACCOUNTS = (b"git",)
"""Before the host of a repository, as in `git@host:path`, it is nobody's address."""


def _email(data: bytes, begin: int, end: int) -> Span | None:
    """Leave out words of other scripts, which need no blank beside an address."""
    candidate = data[begin:end]
    separators = list(_AT.finditer(candidate))
    at = separators[-1]
    local = _last_word(candidate[: at.start()])
    domain = _first_word(candidate[at.end() :])
    start = begin + at.start() - len(local)
    if data[start - 1 : start] == b"\\" and local[:1] in (b"n", b"r", b"t"):
        start, local = start + 1, local[1:]  # an escaped line end
    if not local or b"." not in domain:
        return None
    if local in _SERVICE_ACCOUNTS and data[start : start + 4] == local + b"@":
        return None
    if data[start - 1 : start] in (b":", b"/") and _IN_URL.search(data, max(0, start - 64), start):
        return None
    if _FILE.match(domain):
        return None
    return start, begin + at.end() + len(domain)


def _last_word(local: bytes) -> bytes:
    """Return the end of the bytes that is one word; a cut character before it is no part of it."""
    text = local.decode(errors="replace")
    ideographs = _is_ideograph(text[-1])
    length = 0
    for character in reversed(text):
        if not (character.isalnum() or character in _LOCAL_SIGNS or _is_mark(character)):
            break
        if character.isalpha() and _is_ideograph(character) != ideographs:
            break
        length += 1
    word = text[len(text) - length :].lstrip(".%+'-")
    return word.encode()


def _first_word(domain: bytes) -> bytes:
    """Return the beginning of the bytes that is a domain: its last label is of one script."""
    text = domain.decode(errors="ignore")
    length = 0
    for character in text:
        if not (character.isalnum() or character in ".-" or _is_mark(character)):
            break
        length += 1
    name, dot, last = text[:length].rpartition(".")
    if not dot:
        return b""
    ideographs = _is_ideograph(last[:1])
    kept = 0
    for character in last:
        if character.isalpha() and _is_ideograph(character) != ideographs:
            break
        kept += 1
    last = last[:kept].rstrip("-")
    if last.isascii() and not last.startswith("xn--"):
        letters = re.match("[A-Za-z]*", last)
        last = letters[0] if letters else ""
        if not 2 <= len(last) <= 24 or text[len(name) + 1 + len(last) :][:1].isdigit():
            return b""
    return f"{name}.{last}".encode() if last else b""


def _is_ideograph(character: str) -> bool:
    """Tell scripts that are written without blanks between words."""
    return "\u2e80" <= character <= "\ud7ff" or "\uf900" <= character <= "\ufaff"


def _is_mark(character: str) -> bool:
    """Tell accents and vowel signs that stand for themselves."""
    return not character.isascii() and unicodedata.category(character).startswith("M")


def _as_sent(address: bytes) -> bytes:
    """Return an address as it is outside of URLs, in small letters."""
    return address.lower().replace(b"%40", b"@")


EMAIL = (Rule("EMAIL", _EMAIL, (b"@", b"%40"), prove=_email, identity=_as_sent),)
