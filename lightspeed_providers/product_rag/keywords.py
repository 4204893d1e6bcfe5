"""What is looked up for a question, and what the best answer to it could score."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_MOST_TERMS = 32
_MOST_CHARACTERS = 4000
_MOST_OF_A_TERM = 2.2
"""What BM25 with k1 = 1.2 gives at most, in units of a term's rarity."""
_MOST_LISTED = 200_000
"""Texts whose scores are added up for a question, a few milliseconds; the words that more have
tell least, and are left to the vectors."""
_ALWAYS_ASKED = 2
_MOST_WITH_A_NAMES_WORD = 50_000
"""A name whose words more texts have is looked up word by word: as a phrase it takes FTS5 long."""
_TERM = re.compile(r"\w+(?:[.\-]\w+)*")
_COMMON = """
    a about an and any are as at be by can could did do does for from get give had has have how
    i if in into is it its like me my need of on or our please should so some tell than that the
    their them then there these they this to use using want was we were what when where which
    who why will with would you your
""".split()  # noqa: SIM905  # a list would fill the page


@dataclass(frozen=True, slots=True)
class Part:
    """Where the texts that have a stem are listed, how many they are, and how rare that is."""

    start: int
    texts: int
    rarity: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A question's words as an index looks them up."""

    words: tuple[Part, ...]
    names: str | None
    """An FTS5 expression for terms of several words, found only as a phrase."""
    everything: str | None
    """An FTS5 expression for all terms, for texts that are not listed yet."""
    ideal: float
    """The score of a text that has all of it."""


def telling_terms(text: str) -> tuple[str, ...]:
    """Return a question's words without the ones that tell nothing; all, where it has no others.

    A name with dots, dashes or underscores is one term, so that identifiers match exactly.
    """
    terms = dict.fromkeys(_TERM.findall(text[:_MOST_CHARACTERS].lower()))
    return tuple([term for term in terms if term not in _COMMON] or terms)[:_MOST_TERMS]


def asked(
    terms: Sequence[str],
    texts: int,
    stems: Callable[[str], list[str]],
    listed: Callable[[Sequence[str]], Mapping[str, tuple[int, int]]],
) -> Asked:
    """Return what to look up for these terms among so many texts.

    `listed` tells of stems how many texts have them and where their list starts.
    """
    parts = {term: tuple(stems(term)) for term in terms}
    known = listed(sorted({stem for each in parts.values() for stem in each}))
    counts = {stem: known.get(stem, (0, -1))[0] for each in parts.values() for stem in each}
    names = [
        term
        for term, each in parts.items()
        if len(each) > 1 and max(counts[stem] for stem in each) <= _MOST_WITH_A_NAMES_WORD
    ]
    single = {stem for term, each in parts.items() if term not in names for stem in each}
    ideal = sum(
        _MOST_OF_A_TERM * _rarity(min(counts[stem] for stem in each), texts)
        for each in dict.fromkeys(filter(None, parts.values()))
    )
    words = _affordable(
        [Part(known[s][1], counts[s], _rarity(counts[s], texts)) for s in single if counts[s]]
    )
    return Asked(words, _any_of(names), _any_of(terms), ideal)


def _affordable(words: list[Part]) -> tuple[Part, ...]:
    """The rarest words first, as many as may be added up in the time of a search."""
    chosen: list[Part] = []
    listed = 0
    for word in sorted(words, key=lambda word: (word.texts, word.start)):
        listed += word.texts
        if len(chosen) >= _ALWAYS_ASKED and listed > _MOST_LISTED:
            break
        chosen.append(word)
    return tuple(chosen)


def _any_of(terms: Sequence[str]) -> str | None:
    # Nothing in a term can end the quotes, so no word is an operator.
    return " OR ".join(f'"{term}"' for term in terms) or None


def _rarity(count: int, texts: int) -> float:
    """A term's inverse document frequency, as FTS5 computes it."""
    return max(math.log((texts - count + 0.5) / (count + 0.5)), 1e-6)
