"""Secrets told by where they stand: in assignments, headers and the passwords of URLs."""

import math
import re
from collections import Counter

from lightspeed_providers.safety.shields.redacting.entities.rule import Rule, Span

_NAME = (
    r"(?i:pass(?:word|wd|phrase|code)|\bpwd|_pwd|secret|token|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|encryption[_-]?key|signing[_-]?key|account[_-]?key|credentials?)"
    r"(?i:_?[0-9]{1,2}|_base|_value|_key|key|_id)?"
)
_GIVEN = r"[\"'\])]{0,2}[ \t]{0,4}(?:=>|:=|==|[=:])[ \t]{0,4}"
_TOLD = r"[\"']?[ \t]{1,3}(?i:is|was)(?: now)?:?[ \t]{1,3}"
_QUOTED = rf"{_NAME}(?:{_GIVEN}|{_TOLD}|[ \t]{{1,3}})[\"'`][^\s\"'`\\]{{8,160}}"
_BARE = rf"{_NAME}(?:{_GIVEN}|{_TOLD})[A-Za-z0-9_+/=.~!@#$%^&*:?-]{{8,160}}[(\[{{]?"
_HEADER = (
    r"(?i:\bauthorization[\"']?[ \t]{0,3}[:=][ \t]{0,3}[\"']?(?:bearer|basic|token|apikey)"
    r"|\bbearer) {1,3}[A-Za-z0-9._~+/=-]{12,160}"
)
_URL = r"://[^\s/?#:@\"'<>]{0,64}:[^\s/@\"'<>]{1,128}@"
_COMMAND_LINE = r"[ \t](?:-u|--user|--proxy-user)[ =][\"']?[^\s:\"'/]{1,64}:[^\s\"'@]{8,64}"
_SHARED_KEY = r"\b(?:AccountKey|SharedAccessKey|SharedSecretValue)=[A-Za-z0-9+/%]{40,90}={0,2}"
_SIGNATURE = r"[?&](?:sig|X-Amz-Signature|X-Goog-Signature)=[A-Za-z0-9%+/=_-]{30,160}"

_GIVEN_AS = re.compile(
    rb"(?is).*?(?:(?P<told>\s(?:is|was)(?: now)?:?)|=>|:=|==|[=:]|[ \t](?=[\"'`]))"
    rb"[ \t]*[\"'`]?(?=\S{8})"
)
_PLACEHOLDER = re.compile(
    rb"(?i)^[$<{%\[]|\*\*\*|xxxx|\.\.\.|\xe2\x80\xa6|^your[_-]|change[_-]?me|placeholder|redacted"
    rb"|^(?:os|env|config|settings|self|request|process|secrets?|vault|data|args|options|params)\."
    rb"|-----BEGIN|^<[A-Z]+_[0-9]+>"
)
_LETTER, _DIGIT, _SIGN = (re.compile(c) for c in (rb"[A-Za-z]", rb"[0-9]", rb"[^A-Za-z0-9_.:/-]"))
_BITS_A_CHARACTER = 2.5
_PLAIN_WORDS = frozenset(
    b"password passwd pass pwd secret token user username mypassword my_password yourpassword "
    b"your_password changeme change_me hidden none null x xx xxx".split()
)
_QUOTED_REST = re.compile(rb"[^\s\"'`\\]*")
_BARE_REST = re.compile(rb"[A-Za-z0-9_+/=.~!@#$%^&*:?-]*")
_TOKEN_REST = re.compile(rb"[A-Za-z0-9._~+/=%-]*")
_NEXT_PARAMETER = re.compile(rb"&[A-Za-z_]+=")
_SENTENCE_ENDS = b".,;:!?"


def _quoted(data: bytes, begin: int, end: int) -> Span | None:
    given = _GIVEN_AS.match(data, begin, end)
    if given is None or not _is_secret(data[given.end() : end], given["told"], quoted=True):
        return None
    return given.end(), end


def _bare(data: bytes, begin: int, end: int) -> Span | None:
    given = _GIVEN_AS.match(data, begin, end)
    if given is None or data[end - 1 : end] in (b"(", b"[", b"{"):
        return None
    value = _NEXT_PARAMETER.split(data[given.end() : end], maxsplit=1)[0].rstrip(_SENTENCE_ENDS)
    if not _is_secret(value, given["told"], quoted=False):
        return None
    return given.end(), given.end() + len(value)


def _is_secret(value: bytes, told: bytes | None, *, quoted: bool) -> bool:
    """Tell what somebody made up or drew from what is a word, a path or a number."""
    if len(value) < 8 or not _LETTER.search(value) or _PLACEHOLDER.search(value):
        return False
    digits, signs = len(_DIGIT.findall(value)), len(_SIGN.findall(value))
    both_cases = value != value.lower() and value != value.upper()
    if told and not (digits and (both_cases or signs)):
        return False
    if not digits and not (quoted and (signs >= 2 or (len(value) >= 20 and both_cases))):
        return False
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts) >= _BITS_A_CHARACTER


def _header(data: bytes, begin: int, end: int) -> Span | None:
    start = max(data.rfind(b" ", begin, end), begin) + 1
    value = data[start:end]
    if _PLACEHOLDER.search(value) or not re.search(rb"[0-9]|={1,2}$", value):
        return None
    return start, end


def _url_password(data: bytes, begin: int, end: int) -> Span | None:
    start = data.index(b":", begin + 3) + 1
    value = data[start : end - 1]
    if _PLACEHOLDER.search(value) or value.lower() in _PLAIN_WORDS:
        return None
    return start, end - 1


def _command_line(data: bytes, begin: int, end: int) -> Span | None:
    start = data.index(b":", begin) + 1
    return (start, end) if _is_secret(data[start:end], None, quoted=False) else None


def _after_equals(data: bytes, begin: int, end: int) -> Span | None:
    return data.index(b"=", begin) + 1, end


SECRETS = (
    Rule("KEY", _URL, (b"://",), prove=_url_password),
    Rule("KEY", _SHARED_KEY, (b"Key=", b"Value="), prove=_after_equals, rest=_TOKEN_REST),
    Rule("KEY", _SIGNATURE, (b"sig=", b"Signature="), prove=_after_equals, rest=_TOKEN_REST),
    Rule("KEY", _COMMAND_LINE, (b"-u", b"-user"), prove=_command_line),
    Rule("KEY", _HEADER, (b" ",), prove=_header, rest=_TOKEN_REST),
    Rule("KEY", _QUOTED, (b"'", b'"', b"`"), prove=_quoted, rest=_QUOTED_REST),
    Rule("KEY", _BARE, (b"=", b":", b" "), prove=_bare, rest=_BARE_REST),
)
