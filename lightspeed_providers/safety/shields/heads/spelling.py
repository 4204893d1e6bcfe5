"""The spelling of a text as numbers: how often runs of two to five characters occur in it.

It sees what a vector of the meaning blurs: misspelt, foreign and technical words.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.safety.shields.matching.normalise import normal_bytes

_RUNS = (2, 3, 4, 5)
_STEP = np.uint64(1_000_003)
_MIX = np.uint64(0x9E37_79B9_7F4A_7C15)
_KEPT_BITS = np.uint64(40)


def spelling(texts: Sequence[str], size: int) -> NDArray[np.float32]:
    """Return a row of length 1 for each text; runs share places where there are more than `size`.

    A head is trained on these very numbers: a change here needs another format of its file.
    """
    rows = np.zeros((len(texts), size), np.float32)
    for row, text in zip(rows, texts, strict=True):
        data = np.frombuffer(b" " + normal_bytes(text).strip() + b" ", np.uint8)
        counts = np.zeros(size)
        for run in _RUNS:
            np.add.at(counts, _places(data.astype(np.uint64), run, size), 1)
        weights = np.log1p(counts)
        row[:] = weights / max(float(np.linalg.norm(weights)), 1e-12)
    return rows


def _places(data: NDArray[np.uint64], run: int, size: int) -> NDArray[np.intp]:
    """Return the place of each run of so many bytes."""
    starts = max(0, len(data) - run + 1)
    mixed = np.full(starts, run, np.uint64)
    for offset in range(run):
        mixed = mixed * _STEP ^ data[offset : offset + starts]
    return np.asarray((mixed * _MIX >> _KEPT_BITS) % np.uint64(size), np.intp)
