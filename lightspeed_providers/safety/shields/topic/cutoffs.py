"""From which probabilities on a text is clearly on or off topic, learnt from the examples alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.safety.shields.topic.judge import Flags

type Probabilities = NDArray[np.float32]

_QUICK_MISSES = 0.04
_QUICK_FALSE_ALARMS = 0.025
"""Shares of the examples that a quick judge may get wrong where it decides by itself."""
_COSTS = (1.0, 1.5, 2.0, 2.5, 3.0)
"""How much worse a false rejection is than a miss; the mean over several moves less by chance."""
_GREY = 0.08
"""Share of the examples that are nearest to the threshold: such texts are unclear."""
_LEAST = 1e-6


@dataclass(frozen=True)
class Cutoffs:
    """What is clear, and where to decide what is not."""

    clear_below: float
    threshold: float
    clear_above: float

    def is_clear(self, probability: float) -> bool:
        """Whether no better judge is needed."""
        return not self.clear_below < probability < self.clear_above

    def blocks(self, probability: float) -> bool:
        """Whether a text is off topic, clear or not."""
        return probability >= self.threshold


def quick_cutoffs(unseen: Probabilities, labels: Flags) -> Cutoffs:
    """Return what a judge may decide that another stands behind: where it hardly ever erred."""
    below = float(np.quantile(unseen[labels], _QUICK_MISSES))
    above = float(np.quantile(unseen[~labels], 1 - _QUICK_FALSE_ALARMS))
    return Cutoffs(min(below, above), (below + above) / 2, max(below, above))


def last_cutoffs(unseen: Probabilities, labels: Flags) -> Cutoffs:
    """Return the threshold that errs least, and what lies so near it that it is unclear."""
    threshold = float(np.mean([_cheapest(unseen, labels, cost) for cost in _COSTS]))
    distances = np.abs(logit(unseen) - logit(threshold))
    reach = float(np.quantile(distances, _GREY))
    middle = float(logit(threshold))
    return Cutoffs(probability_of(middle - reach), threshold, probability_of(middle + reach))


def _cheapest(unseen: Probabilities, labels: Flags, cost: float) -> float:
    candidates = np.unique(unseen)
    false_rejections = 1 - np.searchsorted(np.sort(unseen[~labels]), candidates) / (~labels).sum()
    misses = np.searchsorted(np.sort(unseen[labels]), candidates) / labels.sum()
    return float(candidates[np.argmin(cost * false_rejections + misses)])


def logit(probability: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Return how sure a probability is, without bounds."""
    inside = np.clip(np.asarray(probability, np.float64), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(inside / (1 - inside)))


def probability_of(certainty: float) -> float:
    """Return the probability of which this is the logit."""
    return float(1 / (1 + np.exp(-certainty)))
