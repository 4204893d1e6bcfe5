"""One verdict a shield over a whole stream."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lightspeed_providers.core.verdicts import Action, Direction, Verdict
from lightspeed_providers.safety.checking import ConfiguredShield, verdict_of
from lightspeed_providers.safety.shields.base import Allow

_WEIGHT = {Action.ALLOW: 0, Action.REPLACE: 1, Action.BLOCK: 2}


@dataclass
class _Looks:
    """How long a scanner has looked; a verdict for each delta would cost more than the look."""

    seconds: float = 0.0
    count: int = 0


class Tally:
    """Sums up what each shield said."""

    def __init__(self, shields: Sequence[ConfiguredShield], direction: Direction) -> None:
        self._shields = shields
        self._direction = direction
        self._sums: dict[str, Verdict] = {}
        self._looks: dict[str, _Looks] = {}
        self.blocked_by: Verdict | None = None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One verdict for each shield that has looked, in the order of the shields."""
        found = (self._verdict(configured) for configured in self._shields)
        return tuple(verdict for verdict in found if verdict is not None)

    @property
    def of_scanners(self) -> tuple[Verdict, ...]:
        """The verdicts of the shields that scan."""
        return tuple(verdict for verdict in self.verdicts if verdict.shield in self._looks)

    def looked(self, shield_id: str, seconds: float) -> None:
        """Note that a scanner has looked and let go on what it was given."""
        looks = self._looks.setdefault(shield_id, _Looks())
        looks.seconds += seconds
        looks.count += 1

    def _verdict(self, configured: ConfiguredShield) -> Verdict | None:
        verdict = self._sums.get(configured.shield_id)
        looks = self._looks.get(configured.shield_id)
        if looks is None:
            return verdict
        if verdict is None:
            verdict = verdict_of(configured, self._direction, Allow(), 0)
        return verdict.model_copy(update={"took_ms": looks.seconds * 1000, "checks": looks.count})

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Add verdicts; the first block is what the stream was blocked by."""
        for verdict in verdicts:
            earlier = self._sums.get(verdict.shield)
            self._sums[verdict.shield] = verdict if earlier is None else summed(earlier, verdict)
            if self.blocked_by is None and verdict.action is Action.BLOCK:
                self.blocked_by = verdict


def summed(earlier: Verdict, later: Verdict) -> Verdict:
    """Return two verdicts of one shield as one: the graver action counts."""
    graver = max((later, earlier), key=lambda verdict: _WEIGHT[verdict.action])
    scores = [v.score for v in (earlier, later) if v.score is not None]
    categories = {
        name: max(v.categories.get(name, 0.0) for v in (earlier, later))
        for name in {**earlier.categories, **later.categories}
    }
    return graver.model_copy(
        update={
            "replaced": dict(Counter(earlier.replaced) + Counter(later.replaced)),
            "score": max(scores, default=None),
            "categories": categories,
            "checks": earlier.checks + later.checks,
            "took_ms": earlier.took_ms + later.took_ms,
            "error": graver.error or earlier.error or later.error,
        }
    )
