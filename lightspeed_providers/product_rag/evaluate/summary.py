"""Means, differences and times over all questions of a run."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from lightspeed_providers.product_rag.evaluate.certainty import (
    corrected,
    difference,
    estimate,
    separation,
)
from lightspeed_providers.product_rag.evaluate.metrics import metric_names
from lightspeed_providers.product_rag.evaluate.questions import Question
from lightspeed_providers.product_rag.evaluate.results import (
    ALL,
    Contest,
    Level,
    Measured,
    Outcome,
    Summary,
)

_LEVELS: tuple[Level, ...] = ("pages", "passages")


def measured(
    name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], k: int
) -> Measured:
    """Return everything that is told of one search."""
    answerable = [o for q, o in zip(questions, outcomes, strict=True) if q.is_answerable]
    unanswerable = [o for q, o in zip(questions, outcomes, strict=True) if not q.is_answerable]
    found = sum(outcome.found for outcome in outcomes)
    times = [outcome.took_ms for outcome in outcomes]
    return Measured(
        name=name,
        summaries=tuple(_summaries(questions, outcomes, k)),
        p50_ms=round(float(np.percentile(times, 50)), 2),
        p95_ms=round(float(np.percentile(times, 95)), 2),
        cited=sum(outcome.cited for outcome in outcomes) / found if found else None,
        nothing_found=_share_empty(unanswerable),
        separation=separation(
            [outcome.best_score for outcome in answerable],
            [outcome.best_score for outcome in unanswerable],
        ),
        outcomes=tuple(outcomes),
    )


def contests(
    questions: Sequence[Question], searchers: Sequence[Measured], k: int
) -> tuple[Contest, ...]:
    """Return each pair of searches: all questions as one family of tests, the types as another."""
    types = sorted({question.type for question in questions if question.is_answerable})
    together = _contests(questions, searchers, [ALL], k) if types else []
    return (*together, *_contests(questions, searchers, types, k))


def chosen(questions: Sequence[Question], outcomes: Sequence[Outcome], type_: str) -> list[Outcome]:
    """Return what became of the answerable questions of a type."""
    return [
        outcome
        for question, outcome in zip(questions, outcomes, strict=True)
        if question.is_answerable and type_ in (ALL, question.type)
    ]


def _summaries(
    questions: Sequence[Question], outcomes: Sequence[Outcome], k: int
) -> Iterator[Summary]:
    types = sorted({question.type for question in questions if question.is_answerable})
    for type_ in (ALL, *types):
        for level in _LEVELS:
            values = [getattr(one, level) for one in chosen(questions, outcomes, type_)]
            told = [metrics for metrics in values if metrics]
            if told:
                metrics = {n: estimate([one[n] for one in told]) for n in metric_names(k)}
                yield Summary(type=type_, level=level, questions=len(told), metrics=metrics)


def _contests(
    questions: Sequence[Question], searchers: Sequence[Measured], types: Sequence[str], k: int
) -> list[Contest]:
    metric = metric_names(k)[0]
    pairs = [(t, one, other) for t in types for one, other in combinations(searchers, 2)]
    differences = corrected(
        [
            difference(
                [o.pages[metric] for o in chosen(questions, one.outcomes, type_)],
                [o.pages[metric] for o in chosen(questions, other.outcomes, type_)],
            )
            for type_, one, other in pairs
        ]
    )
    return [
        Contest(type=type_, first=one.name, second=other.name, difference=told)
        for (type_, one, other), told in zip(pairs, differences, strict=True)
    ]


def _share_empty(outcomes: Sequence[Outcome]) -> float | None:
    return sum(not one.found for one in outcomes) / len(outcomes) if outcomes else None
