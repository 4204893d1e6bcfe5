"""One ranking from two, trusting each side as far as it stands out."""

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev

_LEAST_WEIGHT = 0.3
"""No side is ever silenced: a lucky spread must not hide what the other one found."""


def fuse(
    dense: Mapping[int, float], keyword: Mapping[int, float], *, exact: bool
) -> dict[int, float]:
    """Return a score from 0 to 1 for each candidate, best first.

    Each side is scaled to its own range and weighted by how far its best hit stands out from the
    rest of its list; rank fusion loses where one side is weak. A question that names an exact
    identifier leans on the words, as vectors of look-alike names are all near each other.
    """
    weight = _dense_weight(list(dense.values()), list(keyword.values()))
    if exact and keyword:
        weight = min(weight, _LEAST_WEIGHT)
    dense, keyword = _scaled(dense), _scaled(keyword, least=0.0)
    fused = {
        position: weight * dense.get(position, 0.0) + (1 - weight) * keyword.get(position, 0.0)
        for position in dict.fromkeys((*dense, *keyword))
    }
    return dict(sorted(fused.items(), key=lambda item: (-item[1], item[0])))


def _dense_weight(dense: Sequence[float], keyword: Sequence[float]) -> float:
    if not keyword:
        return 1.0
    if not dense:
        return 0.0
    dense_stands_out, keyword_stands_out = _prominence(dense), _prominence(keyword)
    total = dense_stands_out + keyword_stands_out
    weight = dense_stands_out / total if total else 0.5
    return min(max(weight, _LEAST_WEIGHT), 1 - _LEAST_WEIGHT)


def _prominence(scores: Sequence[float]) -> float:
    """How many standard deviations the best score lies above the mean."""
    deviation = pstdev(scores)
    return (max(scores) - fmean(scores)) / deviation if deviation else 0.0


def _scaled(scores: Mapping[int, float], least: float | None = None) -> dict[int, float]:
    if not scores:
        return {}
    low = min(scores.values()) if least is None else least
    span = max(scores.values()) - low
    return {position: (score - low) / span if span else 1.0 for position, score in scores.items()}
