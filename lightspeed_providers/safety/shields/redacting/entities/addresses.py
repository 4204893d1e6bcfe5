"""IP addresses that can be somebody's: no loopback, no netmask, no version number."""

import ipaddress
import re

from lightspeed_providers.safety.shields.matching.linear import LinearPattern
from lightspeed_providers.safety.shields.redacting.entities.rule import (
    DIGIT_END,
    Rule,
    Span,
    is_glued,
)

_IPV4 = (
    r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
    rf"(?:/[0-9]{{1,2}}{DIGIT_END}|/{DIGIT_END}|\.(?:[0-9]|{DIGIT_END})|[^0-9/.]|\z)"
)
_IPV6 = (
    r"(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7}|::[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){1,6})"
    r"(?:(?:\.[0-9]{1,3}){3})?(?:[^0-9A-Fa-f:]|\z)"
)
_IPV4_PARTS = re.compile(
    rb"(?P<address>[0-9.]*[0-9])(?:/(?P<size>[0-9]{1,2}))?(?![A-Za-z_]|\.[0-9])"
)
_VERSION = LinearPattern(
    r"(?:\b(?:v|ver|version|versions|release|rev|revision|build|update|firmware|driver|patch"
    r"|django|psycopg2?|postgres|postgresql|postgis|proj|gdal|pgadmin|pgbouncer|mysql|mariadb|redis"
    r"|celery|pillow|python|node|java|linux|kernel|openssl|nginx|chrome|chromium|edg|opr|firefox"
    r"|safari|section|sections|sec|chapter|clause|paragraph|appendix|figure|table|step|rule|item"
    r"|requirement)(?:[ :=#.-]{0,2}|/)"
    r"|grad(?:e|ed|ing) (?:from|to) (?:[0-9.]+ to )?|[=<>~!]=[ \"']{0,2}|\^|\xc2\xa7 ?)\z",
    ignore_case=True,
    by_byte=True,
)
_DOTTED = re.compile(rb"[0-9.]*")
_PRODUCT = re.compile(
    rb"(?:^|[^A-Za-z])(?!IP|HOST|ADDR|FROM|TO|SERVER|CLIENT)[A-Z][A-Za-z]*[A-Z][A-Za-z]* \Z"
)
_LONG = 24
"""Digits of an address that is written out, which nothing else looks like."""
_SMALL = 30
"""Versions are of small numbers, of which an address seldom has none that is larger."""
_PRIVATE_NET = 10
_PUBLIC = ipaddress.ip_network("2000::/3")
_PRIVATE = ipaddress.ip_network("fc00::/7")
_LINK = ipaddress.ip_network("fe80::/10")


def _ipv4(data: bytes, begin: int, end: int) -> Span | None:
    before = data[begin - 1 : begin]
    if is_glued(data, begin) or before in (b".", b"_"):
        return None
    written = _IPV4_PARTS.match(data, begin, end)
    if written is None or _VERSION.found_in(data[max(0, begin - 48) : begin]):
        return None
    try:
        address = ipaddress.IPv4Address(written["address"].decode())
    except ValueError:
        return None
    if address.packed[0] in (0, 127, 255) or address.is_multicast:
        return None
    is_small = max(address.packed) <= _SMALL and address.packed[0] != _PRIVATE_NET
    if is_small and _PRODUCT.search(data, max(0, begin - 24), begin):
        return None
    size = written["size"]
    return None if size and _is_network(address, int(size)) else written.span("address")


def _behind_dots(data: bytes, begin: int, end: int) -> int:
    """Go on where digits and dots end: no address begins behind one of them."""
    dotted = _DOTTED.match(data, begin)
    return max(begin + 1, dotted.end() if dotted else end)


def _is_network(address: ipaddress.IPv4Address, prefix: int) -> bool:
    return prefix < 32 and int(address) & ((1 << (32 - prefix)) - 1) == 0


def _ipv6(data: bytes, begin: int, end: int) -> Span | None:
    before = data[begin - 1 : begin]
    if is_glued(data, begin) or before in (b":", b"_", b"."):
        return None
    candidate = re.match(rb"[0-9A-Fa-f:.]*", data[begin:end])
    text = (candidate[0] if candidate else b"").decode()
    after = data[begin + len(text) : begin + len(text) + 1]
    if after.isalnum() or after == b"_":
        return None
    text = text.rstrip(".")
    if text.endswith(":") and not text.endswith("::"):
        text = text[:-1]
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped
    if mapped is not None:
        return None if mapped.is_loopback or mapped.is_unspecified else (begin, begin + len(text))
    if len(text) - text.count(":") >= _LONG and "::" not in text:
        return begin, begin + len(text)
    if any(address in network for network in (_PUBLIC, _PRIVATE, _LINK)):
        return begin, begin + len(text)
    return None


IP = (
    Rule("IP", _IPV6, (b":",), prove=_ipv6, identity=bytes.lower),
    Rule("IP", _IPV4, (b".",), prove=_ipv4, unproven=_behind_dots),
)
