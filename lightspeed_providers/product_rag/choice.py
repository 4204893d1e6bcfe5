"""Which of the ranked passages are given, and what stands beside them."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.index.content import Stored

_SAME_TEXT = 0.85
"""Share of common words from which two passages say the same."""
_WORD = re.compile(r"\w+")


class Hit(NamedTuple):
    """A passage that is given, with its tokens and its place."""

    passage: Passage
    tokens: int
    document: int = -1
    ordinal: int = -1


def chosen(ranked: Sequence[tuple[Stored, float]], k: int, max_tokens: int) -> tuple[Hit, ...]:
    """Return the best passages that differ from each other and fit; the best always does."""
    hits: list[Hit] = []
    taken: list[frozenset[str]] = []
    left = max_tokens
    for found, score in ranked:
        if len(hits) == k:
            break
        words = frozenset(_WORD.findall(found.passage.content.lower()))
        fits = found.tokens <= left or not hits
        if not fits or any(overlap(words, other) >= _SAME_TEXT for other in taken):
            continue
        taken.append(words)
        left -= found.tokens
        passage = found.passage.model_copy(update={"score": round(score, 4)})
        hits.append(Hit(passage, found.tokens, found.document, found.ordinal))
    return tuple(hits)


def joined_with_neighbours(
    hits: Sequence[Hit], budget: int, neighbours: Callable[[int, int, int], list[Stored]]
) -> tuple[Hit, ...]:
    """Return the hits with text of their own section around them, as far as the budget goes.

    A section that had to be split is put together again, the best hit's first.
    """
    there = {(hit.document, hit.ordinal) for hit in hits}
    result = []
    for hit in hits:
        before: list[Stored] = []
        after: list[Stored] = []
        for beside in neighbours(hit.document, hit.ordinal - 1, hit.ordinal + 1):
            place = (beside.document, beside.ordinal)
            same_section = beside.passage.heading_path == hit.passage.heading_path
            if place in there or not same_section or beside.tokens > budget:
                continue
            there.add(place)
            budget -= beside.tokens
            (before if beside.ordinal < hit.ordinal else after).append(beside)
        result.append(_joined(hit, before, after))
    return tuple(result)


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of words that two texts have in common."""
    together = len(one | other)
    return len(one & other) / together if together else 1.0


def _joined(hit: Hit, before: Sequence[Stored], after: Sequence[Stored]) -> Hit:
    if not before and not after:
        return hit
    texts = [beside.passage.content for beside in before]
    texts += [hit.passage.content, *(beside.passage.content for beside in after)]
    tokens = hit.tokens + sum(beside.tokens for beside in (*before, *after))
    passage = hit.passage.model_copy(update={"content": "\n\n".join(texts)})
    return hit._replace(passage=passage, tokens=tokens)
