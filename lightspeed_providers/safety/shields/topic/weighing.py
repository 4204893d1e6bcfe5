"""How a turn is weighed with the turns before it, and a text with its sentences."""

from collections.abc import Iterable
from dataclasses import dataclass

from lightspeed_providers.safety.shields.topic.cutoffs import logit, probability_of

_UNKNOWN = 0.5
"""What a turn follows up on where none is known."""
_TRUST = 1.4
"""What was asked before was let pass, so that only what is clearly off topic
taints what follows."""
_CLEARLY_OFF = 0.8
"""From here on one sentence that asks for something makes the whole text off topic."""


@dataclass(frozen=True)
class Look:
    """What the judges make of one stretch of text: both are probabilities."""

    off_topic: float
    follows_up: float


def before(earlier: Iterable[Look]) -> float:
    """Return how likely what a turn would follow up on is off topic, oldest first."""
    probability: float | None = None
    for look in earlier:
        probability = together(look, _UNKNOWN if probability is None else probability)
    if probability is None:
        return _UNKNOWN
    return probability_of(float(logit(probability)) - _TRUST)


def together(look: Look, earlier: float) -> float:
    """Return a turn's probability: what follows up is as much off topic as what it follows."""
    return look.follows_up * earlier + (1 - look.follows_up) * look.off_topic


def of_text(windows: list[float], requests: list[float]) -> float:
    """Return a text's probability: its beginning and end count alike, a clear request alone."""
    whole = sum(windows) / len(windows)
    return max([whole, *(request for request in requests if request >= _CLEARLY_OFF)])
