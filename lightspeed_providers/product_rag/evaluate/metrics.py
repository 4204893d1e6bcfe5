"""What ranks are worth: recall, reciprocal rank and nDCG of one question.

nDCG is scikit-learn's, which is here anyway and loads in a second. The libraries made for search
cost more than they give: ranx brings numba and loads for seven to ten seconds, and pytrec_eval
(also under ir_measures) has sources in it that may not be used commercially.
"""

from collections.abc import Collection

from lightspeed_providers.product_rag.evaluate.ranks import Ranks


def recall_cuts(k: int) -> tuple[int, ...]:
    """Return the ranks at which recall is told."""
    return (*(cut for cut in (1, 5) if cut < k), k)


def metric_names(k: int) -> tuple[str, ...]:
    """Return the metrics of a run, the most telling first."""
    return (f"ndcg@{k}", f"mrr@{k}", *(f"recall@{cut}" for cut in recall_cuts(k)))


def metrics_of(ranks: Ranks, k: int) -> dict[str, float]:
    """Return each metric of one question that expects something."""
    found = [rank for rank in ranks.values() if rank is not None]
    values = (
        ndcg(found, len(ranks), k),
        max((1 / rank for rank in found if rank <= k), default=0.0),
        *(sum(rank <= cut for rank in found) / len(ranks) for cut in recall_cuts(k)),
    )
    return dict(zip(metric_names(k), values, strict=True))


def ndcg(found: Collection[int], expected: int, k: int) -> float:
    """Return nDCG at k of the ranks that were found, of so many expected places."""
    from sklearn.metrics import ndcg_score

    within = {rank for rank in found if rank <= k}
    missed = expected - len(within)
    gains = [int(rank in within) for rank in range(1, k + 1)] + [1] * missed + [0]
    scores = list(range(len(gains), 0, -1))
    return float(ndcg_score([gains], [scores], k=k, ignore_ties=True))
