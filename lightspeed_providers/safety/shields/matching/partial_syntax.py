"""Translates an RE2 expression into one for what every match of it begins with.

Where `E` is an expression, its *beginning* `B(E)` matches what a text may end with while a match
of `E` is still open: `B(xy) = B(x)|xB(y)`, `B(x|y) = B(x)|B(y)`, `B(x{n,m}) = x{0,m-1}B(x)`, and
`B` of one character is the empty text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import chain, islice

from lightspeed_providers.safety.shields.matching.normalise import folded_character

_TOKEN = re.compile(
    r"""
    \\Q(?P<quoted>.*?)(?:\\E|\Z)
    |(?P<before>\\A|\^)                                 # decided by what stands before it
    |(?P<after>\\[bBz]|\$)                              # depends on what will come after it
    |\((?:\?P?<[^>]*>)?(?P<group>)(?!\?)
    |\(\?(?P<flags>[imsU-]*)(?P<flags_end>[:)])
    |(?P<close>\))
    |(?P<bar>\|)
    |(?P<repeat>[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??
    |(?P<set>\[\^?\]?(?:\[:\^?[a-z]*:\]|\\[pPx]\{[^}]*\}|\\.|[^\]\\])*\])
    |(?P<escape>\\(?:[pPx]\{[^}]*\}|[pP].|x[0-9A-Fa-f]{2}|[0-7]{1,3}|.)|\.)
    |(?P<literal>.)
    """,
    re.DOTALL | re.VERBOSE,
)
_MAY_EXCEED_ASCII = re.compile(r"^\[\^|^\.|\\[pPDWSx0-7C]|\[:\^|[^\x00-\x7f]")
_WIDEST = 4
_FOLDED_WIDTHS = {"k": 3, "s": 2}
"""Bytes of the widest characters that have these lower-case forms."""


_MOST_COUNTED = 64
"""Longer repetitions are not counted while they are open: each count is a state to keep apart."""
_MOST_NESTED = 32
"""A sequence up to here is put into as many groups; RE2 nests at most 1,000 of them."""
_RANGE = re.compile(r"([^\x00-\x7f])-([^\x00-\x7f])")
_LONGEST_RANGE = 4_096
_GAPLESS = {" ": "(?: ?)", r"\s": r"(?:\s?)", r"\b": "(?:)"}


@dataclass(frozen=True)
class Piece:
    """A part of an expression, ready to be put beside others."""

    whole: str
    beginning: str | None
    """Matches what a match is while it is open; None where it never is."""
    longest: int | None
    """Bytes of the longest match; None where there is no limit."""


@dataclass(frozen=True)
class _Flags:
    ignore_case: bool
    lines: bool = False
    dot_all: bool = False

    def changed_by(self, letters: str) -> "_Flags":
        on, _, off = letters.partition("-")

        def after(letter: str, now: bool) -> bool:
            return letter not in off and (now or letter in on)

        return _Flags(
            after("i", self.ignore_case), after("m", self.lines), after("s", self.dot_all)
        )

    def around(self, expression: str) -> str:
        on = "i" * self.ignore_case + "m" * self.lines + "s" * self.dot_all
        return f"(?{on}:{expression})" if on else expression


def piece_of(expression: str, *, ignore_case: bool, by_byte: bool) -> Piece:
    """Return the whole expression, which RE2 must have accepted, as one case-sensitive piece."""
    tokens = _TOKEN.finditer(expression)
    return _alternatives(tokens, _Flags(ignore_case), 1 if by_byte else _WIDEST)


def folded(expression: str) -> str:
    """Return the expression for texts in normal form, where letters beyond ASCII have changed."""
    return expression if expression.isascii() else _TOKEN.sub(_folded_token, expression)


def _folded_token(token: re.Match[str]) -> str:
    text = token[0]
    if text.isascii():
        return text
    if token["set"]:
        ranges = (range(ord(first), ord(last) + 1) for first, last in _RANGE.findall(text))
        members = {*text, *map(chr, chain.from_iterable(islice(r, _LONGEST_RANGE) for r in ranges))}
        forms = {form for c in members if not c.isascii() for form in folded_character(c)}
        return text[:-1] + "".join(map(_escaped, sorted(forms))) + "]"
    form = "".join(folded_character(c) for c in token["quoted"] or text)
    return f"(?:{''.join(map(_escaped, form))})"


def without_gaps(expression: str) -> str:
    """Return the expression for texts that have lost their blanks, and with them their words."""
    return _TOKEN.sub(lambda token: _GAPLESS.get(token[0], token[0]), expression)


def _alternatives(tokens: Iterator[re.Match[str]], flags: _Flags, widest: int) -> Piece:
    """Read up to the parenthesis that closes the group, or to the end."""
    alternatives: list[list[Piece]] = [[]]
    for token in tokens:
        pieces, kind, text = alternatives[-1], token.lastgroup, token[0]
        if kind == "close":
            break
        if kind == "bar":
            alternatives.append([])
        elif kind == "group":
            pieces.append(_alternatives(tokens, flags, widest))
        elif kind == "flags_end" and token["flags_end"] == ":":
            pieces.append(_alternatives(tokens, flags.changed_by(token["flags"]), widest))
        elif kind == "flags_end":
            flags = flags.changed_by(token["flags"])
        elif kind == "repeat":
            pieces.append(_repeated(pieces.pop(), token["repeat"]))
        elif kind == "quoted":
            pieces += [_character(_escaped(c), c, flags, widest) for c in token["quoted"]]
        elif kind == "before":
            pieces.append(Piece(flags.around(text), flags.around(text), 0))
        elif kind == "after":
            pieces.append(Piece(flags.around(text), "", 0))
        else:
            pieces.append(_character(text, text, flags, widest))
    return _choice([_sequence(pieces) for pieces in alternatives])


def _character(expression: str, text: str, flags: _Flags, widest: int) -> Piece:
    width = widest
    if not _MAY_EXCEED_ASCII.search(text):
        folds = (_FOLDED_WIDTHS if len(text) == 1 else {"": 3}) if flags.ignore_case else {}
        width = min(widest, folds.get(text.lower(), folds.get("", 1)))
    elif len(text) == 1 and text != "." and not flags.ignore_case:
        width = min(widest, len(text.encode()))
    return Piece(flags.around(expression), "", width)


def _escaped(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"


def _repeated(piece: Piece, counts: str) -> Piece:
    most = _most(counts)
    loosely = most is None or most > _MOST_COUNTED
    before_last = "*" if loosely else f"{{0,{(most or 1) - 1}}}"
    return Piece(
        f"(?:{piece.whole}){counts}",
        None if piece.beginning is None or most == 0
        else piece.beginning if most == 1
        else f"(?:{piece.whole}){before_last}{piece.beginning}",
        0 if piece.longest == 0
        else None if most is None or piece.longest is None
        else most * piece.longest,
    )  # fmt: skip


def _most(counts: str) -> int | None:
    """Return how often something may be repeated; None where there is no limit."""
    if counts in "*+?":
        return 1 if counts == "?" else None
    least, comma, most = counts[1:-1].partition(",")
    return int(most) if most else None if comma else int(least)


def _sequence(pieces: list[Piece]) -> Piece:
    """Join pieces, many of them in halves, so that no expression nests as deep as it is long."""
    if not pieces:
        return Piece("(?:)", None, 0)
    if len(pieces) <= _MOST_NESTED:
        return reduce(lambda then, first: _joined(first, then), reversed(pieces))
    half = len(pieces) // 2
    return _joined(_sequence(pieces[:half]), _sequence(pieces[half:]))


def _joined(first: Piece, then: Piece) -> Piece:
    begun = [first.beginning, None if then.beginning is None else first.whole + then.beginning]
    lengths = [first.longest, then.longest]
    return Piece(
        first.whole + then.whole,
        _any_of([beginning for beginning in begun if beginning is not None]),
        None if None in lengths else sum(length or 0 for length in lengths),
    )


def _choice(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    return Piece(
        f"(?:{'|'.join(piece.whole for piece in pieces)})",
        _any_of([piece.beginning for piece in pieces if piece.beginning is not None]),
        None
        if any(piece.longest is None for piece in pieces)
        else max(piece.longest or 0 for piece in pieces),
    )


def _any_of(beginnings: list[str]) -> str | None:
    distinct = dict.fromkeys(beginnings)
    if not distinct:
        return None
    return next(iter(distinct)) if len(distinct) == 1 else f"(?:{'|'.join(distinct)})"
