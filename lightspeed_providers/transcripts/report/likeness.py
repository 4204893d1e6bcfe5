"""How alike two questions are: by meaning or by wording, from 0 to 1."""

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.transcripts.report.wordings import normalised

Likeness = NDArray[np.float32]
Encode = Callable[[Sequence[str]], NDArray[np.float32]]

SAME_MEANING = 0.66
SAME_WORDING = 0.7
"""From so much on two questions are one: of 125 questions in 43 groups, 9 of 10 pairs that are put
together belong together, and of those that belong together 76 % are (by wording 29 %)."""
_SLIP = 0.8
"""What is written so much alike differs by typing errors."""

_MOST_CHARACTERS = 400
_BLOCK = 256
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+(?:\.\d+)*")
_ASKING = re.compile(
    r"^(?:(?:please|hi|hello|hey)\W+)*"
    r"(?:(?:can|could) you (?:please )?(?:tell|show|explain)(?: to)? me )?"
    r"(?:how (?:do|can|could|should|would|to)(?: i| we| you| one)? (?:to )?"
    r"|how to |what is the (?:way|command) to |is there a way to |can i |i want to )"
)
_OPPOSITES = tuple(
    (frozenset(one.split()), frozenset(other.split()))
    for one, other in (
        ("enable enabled activate on", "disable disabled deactivate off"),
        ("in login", "out logout"),
        ("add create install", "remove delete uninstall"),
        ("start", "stop"),
        ("upgrade", "downgrade"),
        ("import", "export"),
        ("upload", "download"),
        ("allow", "deny forbid prevent"),
    )
)


def by_meaning(texts: Sequence[str], encode: Encode, told: Callable[[int], None]) -> Likeness:
    """Compare what an embedding model makes of the texts; `told` hears how many it has read.

    Models take typing errors for other words, so what is written almost alike counts too.
    """
    short = [_core(text) for text in texts]
    rows: list[NDArray[np.float32]] = []
    for begin in range(0, len(short), _BLOCK):
        rows.append(encode(short[begin : begin + _BLOCK]))
        told(min(begin + _BLOCK, len(short)))
    vectors = np.concatenate(rows)
    likeness: Likeness = vectors @ vectors.T
    written = _written_alike(short)
    np.maximum(likeness, written, out=likeness, where=written >= _SLIP)
    return _apart(likeness, short)


def by_wording(texts: Sequence[str]) -> Likeness:
    """Compare words and letters, whatever the order of the words; needs no model."""
    short = [_core(text) for text in texts]
    return _apart(_written_alike(short), short)


def _core(text: str) -> str:
    """The question without the words that only say that it is one."""
    whole = normalised(text)[:_MOST_CHARACTERS]
    return _ASKING.sub("", whole) or whole


def _written_alike(texts: Sequence[str]) -> Likeness:
    from rapidfuzz import fuzz, process

    scores = process.cdist(
        texts, texts, scorer=fuzz.token_sort_ratio, dtype=np.uint8, score_cutoff=50, workers=-1
    )
    likeness: Likeness = scores.astype(np.float32)
    likeness /= 100
    return likeness


def _apart(likeness: Likeness, texts: Sequence[str]) -> Likeness:
    """Set questions apart that differ in a version or in a word and its opposite."""
    words = [frozenset(_WORD.findall(text)) for text in texts]
    for one, other in _OPPOSITES:
        says_one = np.array([bool(found & one) for found in words], dtype=bool)
        says_other = np.array([bool(found & other) for found in words], dtype=bool)
        first, second = says_one & ~says_other, says_other & ~says_one
        likeness[np.ix_(first, second)] = likeness[np.ix_(second, first)] = 0
    numbers = [frozenset(_NUMBER.findall(text)) for text in texts]
    kinds = {found: place for place, found in enumerate(dict.fromkeys(numbers))}
    kind = np.array([kinds[found] for found in numbers])
    has = np.array([bool(found) for found in numbers], dtype=bool)
    for place in np.flatnonzero(has):
        likeness[place, has & (kind != kind[place])] = 0
    return likeness
