"""One shield's verdict on one text: in time, or by what the operator wants of a failure."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from circuitbreaker import CircuitBreaker

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.core.verdicts import Action, Context, Direction, Verdict
from lightspeed_providers.safety import audit, metrics
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Block,
    NoVerdictError,
    OnError,
    Replace,
    Shield,
    ShieldOptions,
)

_FAILURES = 5
"""Failures in a row after which a remote shield is left alone for a while."""
_RECOVERY_S = 30

ACTIONS = {Allow: Action.ALLOW, Block: Action.BLOCK, Replace: Action.REPLACE}


class CheckFailedError(Exception):
    """A shield gave no usable answer; the text of this error names no user text."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Health:
    """Which shields' latest check failed, each with the reason."""

    def __init__(self) -> None:
        self.failing: dict[str, str] = {}

    def note(self, shield_id: str, error: str | None) -> None:
        """Note how a shield's latest check ended."""
        if error is None:
            self.failing.pop(shield_id, None)
        else:
            self.failing[shield_id] = error


@dataclass(frozen=True)
class ConfiguredShield:
    """A shield with its name and what the operator wants of it."""

    shield_id: str
    options: ShieldOptions
    shield: Shield
    breaker: CircuitBreaker = field(
        default_factory=lambda: CircuitBreaker(
            failure_threshold=_FAILURES, recovery_timeout=_RECOVERY_S
        ),
        repr=False,
        compare=False,
    )

    health: Health = field(default_factory=Health, repr=False, compare=False)

    @property
    def kind(self) -> str:
        """What the shield does."""
        return self.options.kind


async def checked(
    configured: ConfiguredShield, direction: Direction, text: str, context: Context
) -> tuple[Verdict, str]:
    """Return the shield's verdict and the text after it; a failure follows `on_error`."""
    began = time.perf_counter()
    error = reason = None
    answer: Answer
    with metrics.traced(configured.shield_id, configured.kind, direction) as tell:
        try:
            answer = await _answer(configured, direction, text, context)
        except CheckFailedError as fault:
            error, reason = str(fault), fault.reason
            answer = on_failure(configured)
        took_ms = (time.perf_counter() - began) * 1000
        verdict = verdict_of(configured, direction, answer, took_ms, error)
        tell(verdict)
    metrics.observe(verdict, reason)
    audit.record(verdict, context)
    configured.health.note(configured.shield_id, error)
    return verdict, answer.text if isinstance(answer, Replace) else text


def on_failure(configured: ConfiguredShield) -> Allow | Block:
    """Return what a text gets where the shield itself failed."""
    return Allow() if configured.options.on_error is OnError.ALLOW else Block()


def verdict_of(
    configured: ConfiguredShield,
    direction: Direction,
    answer: Answer,
    took_ms: float,
    error: str | None = None,
) -> Verdict:
    """Return an answer as the verdict that is recorded."""
    return Verdict(
        shield=configured.shield_id,
        kind=configured.kind,
        direction=direction,
        action=ACTIONS[type(answer)],
        message=configured.options.refusal if isinstance(answer, Block) else None,
        replaced=dict(answer.replaced) if isinstance(answer, Replace) else {},
        score=None if isinstance(answer, Replace) else answer.score,
        categories=dict(answer.categories) if isinstance(answer, Block) else {},
        stage=None if isinstance(answer, Replace) else answer.stage,
        took_ms=took_ms,
        error=error,
    )


async def _answer(
    configured: ConfiguredShield, direction: Direction, text: str, context: Context
) -> Answer:
    """Return the shield's answer in time, or raise `CheckFailedError`."""
    if not configured.options.remote:
        return await _in_time(configured, direction, text, context)
    breaker = configured.breaker
    if breaker.opened:
        raise CheckFailedError(
            f"left alone for {breaker.open_remaining:.0f} s after repeated failures", "open_circuit"
        )
    try:
        answer = await _in_time(configured, direction, text, context)
    except CheckFailedError:
        # What counts for the breaker is what counts for the policy: late and garbage answers too,
        # but not a check that another shield's block made needless.
        with suppress(CheckFailedError), breaker:
            raise
        raise
    breaker.reset()
    return answer


async def _in_time(
    configured: ConfiguredShield, direction: Direction, text: str, context: Context
) -> Answer:
    """Return an answer of the right type, or raise `CheckFailedError`.

    A shield that ignores its cancellation is left behind: waiting for it would make it the
    request's problem.
    """
    timeout_s = configured.options.timeout_s
    check = asyncio.ensure_future(configured.shield.check(text, direction, context))
    check.add_done_callback(_forget_outcome)
    try:
        done, _ = await asyncio.wait({check}, timeout=timeout_s)
    finally:
        check.cancel()
    if not done:
        raise CheckFailedError(f"no answer within {timeout_s:g} s", "timeout")
    if check.cancelled():
        raise CheckFailedError("CancelledError", "error")
    if (fault := check.exception()) is not None:
        # Only what our own errors say is known to hold no text.
        told = str(fault) if isinstance(fault, LightspeedError) else type(fault).__name__
        reason = "garbage" if isinstance(fault, NoVerdictError) else "error"
        raise CheckFailedError(told, reason)
    answer = check.result()
    allowed = (Allow, Block, Replace) if configured.shield.replaces else (Allow, Block)
    if not isinstance(answer, allowed):
        raise CheckFailedError(f"unexpected answer of type {type(answer).__name__}", "garbage")
    return answer


def _forget_outcome(check: asyncio.Future[Answer]) -> None:
    """Mark a failure as seen: asyncio would log it with its text, which may be the user's."""
    if not check.cancelled():
        check.exception()
