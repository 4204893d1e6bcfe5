"""Private keys in PEM form, whole or cut off, also with line ends written as escapes."""

import re

from lightspeed_providers.safety.shields.redacting.entities.rule import Rule, Tail

_LINE_END = r"(?:\\r\\n|\\n|\r?\n)"
_PEM = (
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    rf"(?:(?:[ \t]{{0,8}}{_LINE_END}){{1,3}}"
    rf"(?:[A-Za-z-]{{3,16}}: [^\n\\]{{0,80}}{_LINE_END}){{0,4}}"
    rf"[\"' \t+\\rn]{{0,24}}{_LINE_END}{{0,2}}"
    r"[A-Za-z0-9+/=]{4}|[ \t]{0,4}[A-Za-z0-9+/=]{20})"
)
_BODY = re.compile(rb"[A-Za-z0-9+/=\s\\\"']*")
_END = re.compile(
    rb"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    rb"|-{1,5}\Z|-----EN?\Z|-----END[A-Z0-9 ]{0,46}-{0,4}\Z"  # cut off by the text's end
)

PRIVATE_KEYS = (Rule("KEY", _PEM, (b"-----BEGIN",), rest=_BODY, tail=Tail(_END, b"-", 70)),)
