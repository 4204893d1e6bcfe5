"""One score from two, the question deciding how much its words count.

A text's BM25 score is put in proportion to what a text could score that had every word of the
question. Where the documentation has the question's words, they count; where it uses others, or
the question has words that no text has, all proportions are small and the vectors decide. Rank
fusion and scores scaled to each side's own best give the better side up where the other is weak.
"""

from collections.abc import Hashable, Mapping
from heapq import nlargest

KEYWORD_WEIGHT = 0.8
"""Of full coverage of the question's words, against a cosine of 1."""
_SUPPORT = 0.03
"""Of what the best other passages of the same page score."""
_SUPPORTING = 2


def fuse(cosines: Mapping[int, float], bm25: Mapping[int, float], ideal: float) -> dict[int, float]:
    """Return a score from 0 to 1 for each position, best first; comparable between indexes."""
    most = 1 + KEYWORD_WEIGHT
    scores = {
        position: (cosine + KEYWORD_WEIGHT * _covered(bm25.get(position, 0.0), ideal)) / most
        for position, cosine in cosines.items()
    }
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))


def supported(scores: Mapping[int, float], pages: Mapping[int, Hashable]) -> dict[int, float]:
    """Return the scores with a little of what else was found on each passage's page."""
    on_page: dict[Hashable, list[float]] = {}
    for position, score in scores.items():
        on_page.setdefault(pages[position], []).append(score)
    best = {page: sum(nlargest(_SUPPORTING + 1, found)) for page, found in on_page.items()}
    most = 1 + _SUPPORT * _SUPPORTING
    raised = {
        position: (score + _SUPPORT * (best[pages[position]] - score)) / most
        for position, score in scores.items()
    }
    return dict(sorted(raised.items(), key=lambda item: (-item[1], item[0])))


def _covered(score: float, ideal: float) -> float:
    return min(score / ideal, 1.0) if ideal > 0 else 0.0
