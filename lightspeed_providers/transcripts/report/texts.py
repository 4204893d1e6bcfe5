"""Texts and numbers as they are shown."""

import re
import unicodedata

_KEPT = "\n\t"
_TURNS_TEXT = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SPACES = re.compile(r"\s+")
MOST_CHARACTERS = 2000


def shown_text(text: str) -> str:
    """The text without what would break a page: control characters, halves of characters.

    Signs that turn the direction of writing are left out too; the page finds it by itself.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def one_line(text: str, most: int) -> str:
    """The text on one line, cut to so many characters at a word where one ends nearby."""
    line = _SPACES.sub(" ", shown_text(text[: 8 * most])).strip()
    if len(line) <= most and len(text) <= 8 * most:
        return line
    cut = line[: most - 1]
    at_word = -1
    if line[most - 1 : most] != " ":
        at_word = cut.rfind(" ", len(cut) - min(20, len(cut) // 3))
    return f"{(cut[:at_word] if at_word > 0 else cut).rstrip()}…"


def _shown(sign: str) -> str:
    if sign in _KEPT:
        return sign
    if sign in _TURNS_TEXT:
        return ""
    return "\ufffd" if unicodedata.category(sign) in ("Cc", "Cs", "Cn") else sign


def number(value: float) -> str:
    """A whole number with separators."""
    return f"{round(value):,}"


def short_number(value: float) -> str:
    """A number in a few characters: 950, 12.3 k, 4 M."""
    if value == 0:
        return "0"
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit * 0.9995:
            return f"{_digits(value / unit)}{name}"
    return _digits(value)


def seconds(value: float | None) -> str:
    """A time in the unit that suits it."""
    if value is None:
        return "–"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 59.95:
        return f"{_digits(value)} s"
    if value < 3570:
        return f"{_digits(value / 60)} min"
    return f"{_digits(value / 3600)} h"


def percent(value: float | None) -> str:
    """A share; a small one keeps a digit, and none is shown as all unless it is."""
    if value is None:
        return "–"
    if 0 < value < 0.001:
        return "<0.1 %"
    if 0.999 < value < 1:
        return ">99.9 %"
    shown = f"{100 * value:.1f}" if value < 0.0995 or value > 0.9905 else f"{100 * value:.0f}"
    return f"{shown.removesuffix('.0')} %"


def _digits(value: float) -> str:
    shown = f"{value:.1f}" if abs(value) < 99.95 else f"{value:.0f}"
    return shown.removesuffix(".0")
