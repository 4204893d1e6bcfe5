"""A logistic head: from a text's vector to the probability that the text is to be blocked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ITERATIONS = 1000
_FARTHEST = 30.0
"""Beyond it a probability is 0 or 1 in 32 bits; exp overflows further out."""


@dataclass(frozen=True, eq=False)
class Head:
    """Weights that turn vectors into probabilities."""

    coefficients: NDArray[np.float32]
    intercept: float

    @classmethod
    def fit(
        cls,
        vectors: ArrayLike,
        labels: ArrayLike,
        *,
        strength: float = 1.0,
        weights: ArrayLike | None = None,
    ) -> Self:
        """Return the head that tells the vectors labelled True from the others.

        The two labels count alike, however many there are of each. A greater strength follows the
        vectors more closely. Call it in a thread: the library takes a second to import.
        """
        from sklearn.linear_model import LogisticRegression

        rows = np.asarray(vectors, np.float64)
        wanted = np.asarray(labels, bool)
        if rows.ndim != 2 or len(rows) != len(wanted):
            raise ValueError(
                f"Failed to fit a head: {len(wanted)} labels for vectors of shape {rows.shape}."
            )
        if wanted.all() or not wanted.any():
            raise ValueError("Failed to fit a head: all labels are alike, give examples of both.")
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=_ITERATIONS)
        model.fit(rows, wanted, sample_weight=weights)
        return cls(np.asarray(model.coef_[0], np.float32), float(np.float32(model.intercept_[0])))

    def probability(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Return, for each vector, the probability of the label True."""
        rows = np.asarray(vectors, np.float32)
        certain = np.clip(rows @ self.coefficients + self.intercept, -_FARTHEST, _FARTHEST)
        return np.asarray(1.0 / (1.0 + np.exp(-certain)), np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return the head as JSON can hold it."""
        return {"coefficients": _rounded(self.coefficients), "intercept": self.intercept}

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Self:
        """Return the head that `to_dict` gave; raises ValueError where it is none."""
        try:
            coefficients = np.asarray(found["coefficients"], np.float32)
            intercept = float(found["intercept"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "Failed to read a head: it takes a list `coefficients` and a number `intercept`."
            ) from error
        if coefficients.ndim != 1 or not np.isfinite([*coefficients, intercept]).all():
            raise ValueError("Failed to read a head: its numbers are not finite.")
        return cls(coefficients, intercept)


def _rounded(values: NDArray[np.float32]) -> Sequence[float]:
    """Return the shortest decimals that read as the same 32-bit numbers."""
    return [float(str(value)) for value in values]
