"""Questions that mean the same, each group around the wording in its middle."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.transcripts.report.figures import Tally, Wording
from lightspeed_providers.transcripts.report.likeness import Likeness
from lightspeed_providers.transcripts.report.period import Integers
from lightspeed_providers.transcripts.report.wordings import together

_MUCH_MORE = 1.5


@dataclass(frozen=True, slots=True)
class Group:
    """Questions that are alike: a wording that stands for all, and the others, most asked first."""

    example: str
    others: Sequence[str]
    tally: Tally


def groups(wordings: Sequence[Wording], likeness: Likeness, least: float) -> list[Group]:
    """Put every wording to the middle it is most like, if it is at least so much like it.

    A group is a star, not a chain: every wording in it is like the middle. The middles are those
    with the most turns around them.
    """
    if not wordings:
        return []
    weights = np.array([wording.tally.asked for wording in wordings], dtype=np.float64)
    near = likeness >= least
    np.fill_diagonal(near, True)
    middles = _middles(near, weights)
    nearest = likeness[:, middles]
    nearest[~near[:, middles]] = -1.0
    nearest[middles, np.arange(len(middles))] = 2.0  # a middle stays with itself
    belongs = nearest.argmax(axis=1)
    return [
        _group(wordings, middle, np.flatnonzero(belongs == place))
        for place, middle in enumerate(middles)
    ]


def _middles(near: NDArray[np.bool_], weights: NDArray[np.float64]) -> list[int]:
    left = weights.copy()
    around = np.array([left[row].sum() for row in near])
    middles = []
    while (left > 0).any():
        # Of those equally surrounded the most asked is the best example.
        candidates = np.flatnonzero(left > 0)
        middle = int(candidates[np.lexsort((-weights[candidates], -around[candidates]))[0]])
        taken = np.flatnonzero(near[middle] & (left > 0))
        around -= near[:, taken] @ left[taken]
        left[taken] = 0
        middles.append(middle)
    return middles


def _group(wordings: Sequence[Wording], middle: int, members: Integers) -> Group:
    asked = {int(one): wordings[one].tally.asked for one in members}
    # The middle is the clearest example, unless users mostly say it otherwise.
    middle_leads = asked[middle] * _MUCH_MORE >= max(asked.values())
    order = sorted(asked, key=lambda one: (middle_leads and one != middle, -asked[one], one))
    example, *others = dict.fromkeys(wordings[one].text for one in order)
    return Group(example, others, together([wordings[one].tally for one in order]))
