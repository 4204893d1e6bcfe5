"""How sure a number is: confidence intervals, paired tests, and the threshold that separates."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

_RESAMPLES = 4999
_BATCH = 1000
"""Resamples at one time, which bounds the memory."""
_SEED = 20240501
_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)

Values = NDArray[np.float64]


class Estimate(BaseModel):
    """A mean with its 95 % confidence interval, which values that are all the same don't have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    low: float | None
    high: float | None


class Difference(Estimate):
    """A mean paired difference; p is the chance of one as large where nothing differs."""

    p: float
    p_adjusted: float = Field(description="After Holm's correction for several comparisons.")


class Separation(BaseModel):
    """How well the best score tells questions with an answer from those without."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answerable: tuple[float, ...] = Field(description="Quantiles 0, 10, 25, 50, 75, 90, 100 %.")
    unanswerable: tuple[float, ...] = Field(description="The same quantiles.")
    auc: float = Field(description="Chance that an answerable question has the higher score.")
    threshold: float = Field(description="The score that separates best (Youden's index).")
    answerable_kept: float = Field(description="Share of answerable ones at or above it.")
    unanswerable_refused: float = Field(description="Share of unanswerable ones below it.")


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean and its bootstrap interval (bias-corrected and accelerated)."""
    numbers = np.asarray(values, dtype=np.float64)
    mean = float(numbers.mean())
    if np.ptp(numbers) == 0:  # nothing to draw from: an interval of no width would be a lie
        return Estimate(mean=mean, low=None, high=None)
    low, high = _interval(numbers)
    return Estimate(mean=mean, low=low, high=high)


def difference(before: Sequence[float], after: Sequence[float]) -> Difference:
    """Return how much the second is better, question by question, with a randomisation test."""
    first = np.asarray(before, dtype=np.float64)
    second = np.asarray(after, dtype=np.float64)
    told = estimate((second - first).tolist())
    p = _randomised(first, second)
    return Difference(mean=told.mean, low=told.low, high=told.high, p=p, p_adjusted=p)


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences of one family with p values that allow for their number (Holm)."""
    order = sorted(range(len(differences)), key=lambda n: differences[n].p)
    adjusted = [1.0] * len(differences)
    least = 0.0
    for place, n in enumerate(order):
        least = max(least, min(1.0, differences[n].p * (len(differences) - place)))
        adjusted[n] = least
    return [
        one.model_copy(update={"p_adjusted": p})
        for one, p in zip(differences, adjusted, strict=True)
    ]


def separation(answerable: Sequence[float], unanswerable: Sequence[float]) -> Separation | None:
    """Return the threshold that separates best, or None where one side has no questions."""
    if not answerable or not unanswerable:
        return None
    from sklearn.metrics import roc_auc_score

    yes, no = np.asarray(answerable), np.asarray(unanswerable)
    truth = [1] * len(yes) + [0] * len(no)
    threshold = _best_threshold(yes, no)
    return Separation(
        answerable=_quantiles(yes),
        unanswerable=_quantiles(no),
        auc=float(roc_auc_score(truth, np.concatenate([yes, no]))),
        threshold=threshold,
        answerable_kept=float((yes >= threshold).mean()),
        unanswerable_refused=float((no < threshold).mean()),
    )


def _interval(numbers: Values) -> tuple[float, float]:
    from scipy.stats import bootstrap  # type: ignore[import-untyped]  # it has no types

    found = bootstrap(
        (numbers,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(found.low), float(found.high)


def _randomised(first: Values, second: Values) -> float:
    """The p value of the paired test that swaps before and after of questions at random."""
    if len(first) == 1 or np.array_equal(first, second):
        return 1.0
    from scipy.stats import permutation_test

    def mean_difference(one: Values, other: Values, axis: int) -> Values:
        return np.asarray((other - one).mean(axis=axis))

    tested = permutation_test(
        (first, second),
        mean_difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        rng=np.random.default_rng(_SEED),
    )
    return float(tested.pvalue)


def _best_threshold(yes: Values, no: Values) -> float:
    """Half way between two neighbours, so that it does not hang on one question's digits."""
    seen = np.unique(np.concatenate([yes, no]))
    between = (seen[:-1] + seen[1:]) / 2 if len(seen) > 1 else seen
    gains = [float((yes >= cut).mean() + (no < cut).mean()) for cut in between]
    return round(float(between[int(np.argmax(gains))]), 4)


def _quantiles(numbers: Values) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in np.quantile(numbers, _QUANTILES))
