"""From a classifier's raw numbers to how sure it is of each label that blocks."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError

_BY_NUMBER = re.compile(r"LABEL_(\d+)", re.IGNORECASE)


def label_numbers(wanted: Mapping[str, float], names: Sequence[str], model: str) -> dict[int, str]:
    """Return which of the model's outputs each wanted label is; raises where one is unknown."""
    numbers: dict[int, str] = {}
    for label in wanted:
        number = _number_of(label, names)
        if number is None:
            raise ConfigurationError(
                f"Classifier '{model}' has no label '{label}': choose from {', '.join(names)}."
            )
        if number in numbers:
            raise ConfigurationError(
                f"Labels '{numbers[number]}' and '{label}' of classifier '{model}' are one and "
                "the same: keep one of them."
            )
        numbers[number] = label
    return numbers


def probabilities(logits: NDArray[np.float32], *, multi_label: bool) -> NDArray[np.float64]:
    """Return how sure the model is of each label, a row a text."""
    exact = logits.astype(np.float64)
    if multi_label:
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * exact)))  # a sigmoid that can't overflow
    powers = np.exp(exact - exact.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _number_of(label: str, names: Sequence[str]) -> int | None:
    if label in names:
        return names.index(label)
    alike = [number for number, name in enumerate(names) if name.casefold() == label.casefold()]
    if len(alike) == 1:
        return alike[0]
    numbered = _BY_NUMBER.fullmatch(label)
    number = int(numbered[1]) if numbered else len(names)
    return number if number < len(names) else None
