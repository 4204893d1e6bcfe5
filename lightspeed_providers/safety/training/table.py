"""What a trained head is worth, as tables."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.tables import Table
from lightspeed_providers.safety.evaluate.rates import Rate, rate
from lightspeed_providers.safety.training.learning import Trained

_NONE = "–"
_WORST = 15


def tables(trained: Trained) -> Iterator[Table]:
    """Yield how good the head is on unseen families, and the families that it does worst with."""
    block = np.asarray([example.block for example in trained.examples], bool)
    blocked = trained.unseen >= trained.head.threshold
    caught = int((block & blocked).sum())
    alarms = int((~block & blocked).sum())
    row = (
        f"{trained.head.threshold:.4f}",
        _shown(rate(caught, caught + alarms)),
        _shown(rate(caught, int(block.sum()))),
        _shown(rate(alarms, int((~block).sum()))),
    )
    columns = ("Threshold", "Precision", "Recall", "False alarms")
    note = (
        f"{int(block.sum())} texts to block, {int((~block).sum())} to allow, each judged by a head "
        "that was trained without its family; with 95 % intervals."
    )
    yield Table("On families that it did not see", columns, (row,), note)
    yield _worst_families(trained, blocked)


def _worst_families(trained: Trained, blocked: NDArray[np.bool_]) -> Table:
    families: dict[tuple[str, bool], list[bool]] = {}
    for example, was_blocked in zip(trained.examples, blocked, strict=True):
        families.setdefault((example.family, example.block), []).append(bool(was_blocked))
    told = []
    for (family, wanted), outcomes in families.items():
        wrong = sum(outcome != wanted for outcome in outcomes)
        told.append((wrong / len(outcomes), wrong, len(outcomes), family, wanted))
    told.sort(key=lambda one: (-one[0], -one[1], one[3]))
    rows = tuple(
        (family, "block" if wanted else "allow", str(wrong), str(of))
        for _, wrong, of, family, wanted in told[:_WORST]
        if wrong and of > 1
    )
    return Table("Families with the most errors", ("Family", "Wanted", "Wrong", "Of"), rows)


def _shown(told: Rate) -> str:
    if told.share is None:
        return _NONE
    return f"{told.share:.1%}\n{told.low:.1%} to {told.high:.1%}"
