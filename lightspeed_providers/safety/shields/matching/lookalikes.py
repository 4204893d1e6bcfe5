"""Which Latin letter a character passes for, by Unicode's data on confusable characters."""

import json
import re
import string
import unicodedata
from functools import cache
from importlib.resources import files

_NAMED_LETTER = re.compile(
    r"(?:.* )?(?:LATIN (?:CAPITAL|SMALL) LETTER|LATIN LETTER SMALL CAPITAL"
    r"|REGIONAL INDICATOR SYMBOL LETTER) ([A-Z])(?: WITH .*)?"
)
"""Variants of a letter that Unicode's data keeps apart from it: strokes, hooks, small capitals."""
_SMALL_CAPITALS = {"\u0138": "k", "\u028d": "m"}
"""What the letters kra and turned w look like."""


def seen_as(character: str) -> str:
    """Return the ASCII letter that a character passes for, or the character itself."""
    if character.isascii():
        return character
    return _lookalikes().get(character) or _named(character) or character


@cache
def capitals() -> dict[int, str]:
    """Return what capital letters pass for where their small letters pass for something else.

    A Greek capital nu passes for N, a small one for v.
    """
    return {
        ord(character): letter.lower()
        for character, letter in _lookalikes().items()
        if (small := character.lower()) != character
        and "".join(map(seen_as, small)) != letter.lower()
        and letter not in "lI"  # which look the same, so that the small letter decides
    }


@cache
def _lookalikes() -> dict[str, str]:
    """Return the characters that pass for a letter, directly or through a small capital."""
    path = files("confusable_homoglyphs") / "confusables.json"
    alike = json.loads(path.read_text(encoding="utf-8"))
    letters = {
        character: letter
        for character in alike
        if len(character) == 1 and (letter := _named(character))
    }
    letters |= {letter: letter for letter in string.ascii_letters} | _SMALL_CAPITALS
    lookalikes: dict[str, str] = {}
    for known, letter in sorted(letters.items(), key=lambda pair: not pair[0].isascii()):
        for other in alike.get(known, ()):
            if len(other["c"]) == 1 and not other["c"].isascii():
                lookalikes.setdefault(other["c"], letter)
    return lookalikes


def _named(character: str) -> str | None:
    if character.isascii():
        return None
    found = _NAMED_LETTER.fullmatch(unicodedata.name(character, ""))
    return found[1].lower() if found else None
