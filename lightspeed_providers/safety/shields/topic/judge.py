"""Two heaps of example texts, and to which of them another text belongs."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.safety.shields.heads.logistic import Head

type Vectors = NDArray[np.float32]
type Flags = NDArray[np.bool_]

_NEAREST = 16
"""Examples of a heap that speak for it; so its size does not."""
_SHARPNESS = 0.05
"""How fast an example's voice fades with distance: a cosine of 0.05 less is a third as loud."""
_SCALE = 8.0
"""Brings differences of likeness to the size of the signs."""
_STRENGTH = 3.0


@dataclass(frozen=True, eq=False)
class Judge:
    """A logistic head over how much more alike a text is to one heap than to the other."""

    examples: Vectors
    labels: Flags
    head: Head
    unseen: NDArray[np.float32]
    """Each example's probability as it would be were it no example."""

    @classmethod
    def fit(cls, examples: Vectors, labels: Flags, signs: Vectors | None = None) -> Self:
        """Return the judge that tells the examples labelled True from the others.

        Each example is judged without itself, so that the head learns from what it would see.
        """
        likeness = examples @ examples.T
        np.fill_diagonal(likeness, -np.inf)
        features = _features(likeness, labels, signs)
        head = Head.fit(features, labels, strength=_STRENGTH)
        return cls(examples, labels, head, head.probability(features))

    def probability(self, vectors: Vectors, signs: Vectors | None = None) -> NDArray[np.float32]:
        """Return, for each vector, the probability that it belongs to the heap labelled True."""
        return self.head.probability(_features(vectors @ self.examples.T, self.labels, signs))


def _features(likeness: Vectors, labels: Flags, signs: Vectors | None) -> Vectors:
    margin = _loudness(likeness[:, labels]) - _loudness(likeness[:, ~labels])
    columns = [_SCALE * margin[:, None]]
    return np.hstack(columns if signs is None else [*columns, signs])


def _loudness(likeness: Vectors) -> Vectors:
    """Return how alike each row is to a heap: a mean in which the nearest weigh most."""
    count = min(_NEAREST, likeness.shape[1])
    nearest = np.partition(likeness, -count, axis=1)[:, -count:]
    return np.asarray(_SHARPNESS * np.log(np.exp(nearest / _SHARPNESS).mean(axis=1)))
