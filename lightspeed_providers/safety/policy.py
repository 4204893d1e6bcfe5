"""Runs the shields of a direction over a text."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass

from lightspeed_providers.core.verdicts import Action, Direction, Screening, Verdict
from lightspeed_providers.safety.routing import direction_of
from lightspeed_providers.safety.shields.base import (
    DEFAULT_REFUSAL,
    Allow,
    Answer,
    Block,
    OnError,
    Replace,
    Shield,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConfiguredShield:
    """A shield with its name and what the operator wants of it."""

    shield_id: str
    kind: str
    shield: Shield
    refusal: str = DEFAULT_REFUSAL
    timeout_s: float = 5.0
    on_error: OnError = OnError.BLOCK


class CheckFailedError(Exception):
    """A shield gave no usable answer; the text of this error names no user text."""


class ShieldPolicy:
    """Every configured shield; satisfies `core.verdicts.ShieldRunner`."""

    def __init__(self, shields: Sequence[ConfiguredShield]) -> None:
        self._shields = {configured.shield_id: configured for configured in shields}
        self._watching = {
            direction: [s for s in shields if direction in direction_of(s.shield_id)]
            for direction in Direction
        }
        self._failing: dict[str, str] = {}

    @property
    def refusals(self) -> frozenset[str]:
        """Every message that a blocked text can be answered with."""
        return frozenset(configured.refusal for configured in self._shields.values())

    @property
    def failing(self) -> dict[str, str]:
        """The shields whose latest check failed, each with the reason."""
        return dict(self._failing)

    def screens(self, direction: Direction) -> bool:
        """Whether any shield watches this direction."""
        return bool(self._watching[direction])

    def watching(self, direction: Direction) -> tuple[str, ...]:
        """The ids of the shields that watch this direction, in order."""
        return tuple(configured.shield_id for configured in self._watching[direction])

    async def screen(
        self, direction: Direction, text: str, *, history: Sequence[str] = ()
    ) -> Screening:
        """Return the text as the direction's shields leave it, and their verdicts."""
        return await self._run(self._watching[direction], direction, text, history)

    async def screen_with(
        self, shield_id: str, direction: Direction, text: str, *, history: Sequence[str] = ()
    ) -> Screening:
        """Return what one shield says, whichever directions it watches by itself."""
        return await self._run([self._shields[shield_id]], direction, text, history)

    async def _run(
        self,
        shields: Sequence[ConfiguredShield],
        direction: Direction,
        text: str,
        history: Sequence[str],
    ) -> Screening:
        """Let replacing shields rewrite one after the other, then ask the others at one time."""
        verdicts: list[Verdict] = []
        for configured in shields:
            if configured.shield.replaces:
                verdict, text = await self._verdict(configured, direction, text, history)
                verdicts.append(verdict)
                if verdict.action is Action.BLOCK:
                    return Screening(text=text, verdicts=tuple(verdicts))
        blocking = [
            self._verdict(configured, direction, text, history)
            for configured in shields
            if not configured.shield.replaces
        ]
        verdicts += [verdict for verdict, _ in await _until_first_block(blocking)]
        return Screening(text=text, verdicts=tuple(verdicts))

    async def _verdict(
        self,
        configured: ConfiguredShield,
        direction: Direction,
        text: str,
        history: Sequence[str],
    ) -> tuple[Verdict, str]:
        """Return the shield's verdict and the text after it; a failure follows `on_error`."""
        began = time.perf_counter()
        error = None
        answer: Answer
        try:
            answer = await _answer(configured, direction, text, history)
            self._failing.pop(configured.shield_id, None)
        except CheckFailedError as fault:
            error = self._failing[configured.shield_id] = str(fault)
            answer = Allow() if configured.on_error is OnError.ALLOW else Block()
            log.warning("Shield %s failed: %s", configured.shield_id, error)
        verdict = Verdict(
            shield=configured.shield_id,
            kind=configured.kind,
            direction=direction,
            action=_ACTIONS[type(answer)],
            message=configured.refusal if isinstance(answer, Block) else None,
            replaced=dict(answer.replaced) if isinstance(answer, Replace) else {},
            took_ms=(time.perf_counter() - began) * 1000,
            error=error,
        )
        return verdict, answer.text if isinstance(answer, Replace) else text


_ACTIONS = {Allow: Action.ALLOW, Block: Action.BLOCK, Replace: Action.REPLACE}


async def _answer(
    configured: ConfiguredShield, direction: Direction, text: str, history: Sequence[str]
) -> Answer:
    """Return the shield's answer in time, or raise `CheckFailedError`.

    A shield that ignores its cancellation is left behind: waiting for it would make it the
    request's problem.
    """
    check = asyncio.ensure_future(configured.shield.check(text, direction, history))
    check.add_done_callback(_forget_outcome)
    try:
        done, _ = await asyncio.wait({check}, timeout=configured.timeout_s)
    finally:
        check.cancel()
    if not done:
        raise CheckFailedError(f"no answer within {configured.timeout_s:g} s")
    if check.cancelled():
        raise CheckFailedError("CancelledError")
    if (fault := check.exception()) is not None:
        raise CheckFailedError(type(fault).__name__)
    answer = check.result()
    allowed = (Allow, Block, Replace) if configured.shield.replaces else (Allow, Block)
    if not isinstance(answer, allowed):
        raise CheckFailedError(f"unexpected answer of type {type(answer).__name__}")
    return answer


def _forget_outcome(check: asyncio.Future[Answer]) -> None:
    """Mark a failure as seen: asyncio would log it with its text, which may be the user's."""
    if not check.cancelled():
        check.exception()


async def _until_first_block(
    checks: Sequence[Coroutine[None, None, tuple[Verdict, str]]],
) -> list[tuple[Verdict, str]]:
    """Return what was answered, in the order of the checks, when all are done or one blocks."""
    tasks = [asyncio.ensure_future(check) for check in checks]
    pending = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if any(task.result()[0].action is Action.BLOCK for task in done):
                break
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    return [task.result() for task in tasks if task.done() and not task.cancelled()]
