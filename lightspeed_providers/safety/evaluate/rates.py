"""Shares with their confidence intervals, and percentiles of times."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

_SURE = 0.95


class Rate(BaseModel):
    """A share of a number of texts, with its 95 % interval (Wilson's)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hits: int
    of: int = Field(description="How many there were; with none, there is no share.")
    share: float | None
    low: float | None
    high: float | None


class Times(BaseModel):
    """Milliseconds that texts took."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    p50_ms: float
    p95_ms: float
    p99_ms: float


def rate(hits: int, of: int) -> Rate:
    """Return a share and how sure it is."""
    if not of:
        return Rate(hits=0, of=0, share=None, low=None, high=None)
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # it has no types

    sure = binomtest(hits, of).proportion_ci(confidence_level=_SURE, method="wilson")
    return Rate(hits=hits, of=of, share=hits / of, low=float(sure.low), high=float(sure.high))


def times(took_ms: Sequence[float]) -> Times:
    """Return the percentiles that operators plan with."""
    p50, p95, p99 = (float(value) for value in np.percentile(np.asarray(took_ms), (50, 95, 99)))
    return Times(p50_ms=p50, p95_ms=p95, p99_ms=p99)
