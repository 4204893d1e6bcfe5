"""Asks every shield about every text."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lightspeed_providers.core.progress import Report
from lightspeed_providers.core.verdicts import Action, Context, Direction, Verdict
from lightspeed_providers.safety.checking import ConfiguredShield, checked
from lightspeed_providers.safety.evaluate.texts import Placed

_STAGE = "Texts"


@dataclass(frozen=True, slots=True)
class Judged:
    """A text, what each shield said of it, and what it became."""

    placed: Placed
    verdicts: tuple[Verdict, ...]
    text: str
    took_ms: float

    @property
    def blocked_by(self) -> Verdict | None:
        """The first verdict that blocks, in the order of the shields."""
        return next((v for v in self.verdicts if v.action is Action.BLOCK and not v.error), None)

    @property
    def is_undecided(self) -> bool:
        """Whether a shield failed on it that might have blocked what no other did."""
        return self.blocked_by is None and any(v.error for v in self.verdicts)


async def judge(
    shields: Sequence[ConfiguredShield],
    texts: Sequence[Placed],
    direction: Direction,
    report: Report,
) -> list[Judged]:
    """Return what becomes of each text, one after the other as one user would send them.

    Those that rewrite run in order; all others are asked together and none is cut short by
    another's block, so that each is measured.
    """
    judged = []
    for done, placed in enumerate(texts, start=1):
        judged.append(await _judged(shields, placed, direction))
        report(_STAGE, done, len(texts))
    return judged


async def _judged(
    shields: Sequence[ConfiguredShield], placed: Placed, direction: Direction
) -> Judged:
    context = Context(history=placed.text.history, thread=placed.place)
    text = placed.text.text
    verdicts = []
    began = time.perf_counter()
    for configured in (s for s in shields if s.shield.replaces):
        verdict, text = await checked(configured, direction, text, context)
        verdicts.append(verdict)
    asked = [checked(s, direction, text, context) for s in shields if not s.shield.replaces]
    verdicts += [verdict for verdict, _ in await asyncio.gather(*asked)]
    return Judged(placed, tuple(verdicts), text, (time.perf_counter() - began) * 1000)
