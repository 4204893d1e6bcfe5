"""Every shield's own examples, run against it: at start, after a reload, and by hand."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lightspeed_providers.core.errors import (
    ConfigurationError,
    LightspeedError,
    ModelLoadingError,
    UnavailableError,
)
from lightspeed_providers.core.verdicts import Action, Context, Direction
from lightspeed_providers.safety.checking import ACTIONS, ConfiguredShield
from lightspeed_providers.safety.routing import direction_of
from lightspeed_providers.safety.shields.base import (
    Answer,
    NoVerdictError,
    OnError,
    Replace,
    Shield,
    ShieldOptions,
)

_PATIENCE_S = 60.0
"""Seconds for a check: a first one may have a model to load, which no user's text waits for."""
_LOOK_EVERY_S = 0.2
_NAMED = 3
"""Wrong examples that a line names; the others are counted."""
_PROBE = "What is this, and how does it work?"
"""Asked of a shield without examples, so that a model that does not exist is found at start."""
_LOADS_ITS_OWN_MODEL = frozenset({"classifier"})


class Result(StrEnum):
    """What came of an example."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Example:
    """A text of a shield's options, and what has to become of it."""

    name: str
    """The option that holds it and its place there, e.g. `must_block 2`; `probe` is none."""
    text: str
    expected: Action | None
    """None where any answer will do."""
    rewritten: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a shield said to one example. It does not hold the text."""

    shield_id: str
    kind: str
    direction: Direction
    example: str
    expected: Action | None
    came: Action | None
    result: Result
    took_ms: float = 0.0
    error: str | None = None


def needs_models(options: ShieldOptions) -> bool:
    """Tell a shield that can only be tested once models have loaded or a service answers."""
    return bool(options.models) or options.remote or options.kind in _LOADS_ITS_OWN_MODEL


def examples_of(options: ShieldOptions) -> list[Example]:
    """Return a shield's own examples, in the order of its options."""
    named = [
        *(("must_block", text, Action.BLOCK, "") for text in options.must_block),
        *(("must_allow", text, Action.ALLOW, "") for text in options.must_allow),
        *(("must_replace", text, Action.REPLACE, to) for text, to in options.must_replace.items()),
    ]
    counts: dict[str, int] = {}
    examples = []
    for option, text, expected, rewritten in named:
        counts[option] = counts.get(option, 0) + 1
        examples.append(Example(f"{option} {counts[option]}", text, expected, rewritten))
    if not examples and needs_models(options):
        return [Example("probe", _PROBE, None)]
    return examples


async def self_test(
    shields: Sequence[ConfiguredShield], *, patience_s: float = _PATIENCE_S
) -> list[Outcome]:
    """Return what each shield says to its own examples, in every direction that it watches."""
    tested = await asyncio.gather(*(_tested(shield, patience_s) for shield in shields))
    return [outcome for outcomes in tested for outcome in outcomes]


async def patient_answer(
    shield: Shield, text: str, direction: Direction, patience_s: float
) -> Answer:
    """Return what a shield says once its models have loaded; raises `TimeoutError` at the end."""
    async with asyncio.timeout(patience_s):
        while True:
            try:
                return await shield.check(text, direction, Context())
            except ModelLoadingError:
                await asyncio.sleep(_LOOK_EVERY_S)


async def check_local(shields: Sequence[ConfiguredShield]) -> None:
    """Test the shields that need no model; raise a `ConfigurationError` where one is wrong."""
    outcomes = await self_test([s for s in shields if not needs_models(s.options)])
    _raise_failures(outcomes)


async def check_asking(
    shields: Sequence[ConfiguredShield], *, patience_s: float = _PATIENCE_S
) -> str:
    """Test the shields that ask models and return one line about it.

    Raises a `ConfigurationError` where one is wrong, an `UnavailableError` where one that blocks on
    errors could not be asked. One that allows on errors is only named in the line.
    """
    asking = [shield for shield in shields if needs_models(shield.options)]
    outcomes = await self_test(asking, patience_s=patience_s)
    _raise_failures(outcomes)
    faults = {o.shield_id: o.error for o in outcomes if o.result is Result.NOT_RUN and o.error}
    told = "; ".join(f"{shield_id} can't be asked: {why}" for shield_id, why in faults.items())
    blocking = {s.shield_id for s in asking if s.options.on_error is OnError.BLOCK}
    if blocking & faults.keys():
        raise UnavailableError(told)
    return told or f"{len(shields)} tested"


def complaint(outcomes: Sequence[Outcome]) -> str | None:
    """Return one line about the examples that failed, None where none did."""
    failed = [outcome for outcome in outcomes if outcome.result is Result.FAILED]
    if not failed:
        return None
    first = failed[0].shield_id
    own = [_told(outcome) for outcome in failed if outcome.shield_id == first]
    more = f", and {len(own) - _NAMED} more" if len(own) > _NAMED else ""
    others = sorted({outcome.shield_id for outcome in failed} - {first})
    also = f" So does {', '.join(others)}." if others else ""
    return (
        f"Shield '{first}' fails its self-test: {'; '.join(own[:_NAMED])}{more}. Correct the "
        f"shield or the example; `lightspeed shields check` shows all.{also}"
    )


def _raise_failures(outcomes: Sequence[Outcome]) -> None:
    if (line := complaint(outcomes)) is not None:
        raise ConfigurationError(line)


def _told(outcome: Outcome) -> str:
    place = f"{outcome.example} ({outcome.direction})"
    if outcome.came is None:
        return f"{place} ended in {(outcome.error or '').rstrip('.')}"
    if outcome.came is outcome.expected:
        return f"{place} was rewritten otherwise"
    return f"{place} got {outcome.came} instead of {outcome.expected}"


async def _tested(configured: ConfiguredShield, patience_s: float) -> list[Outcome]:
    directions = [d for d in Direction if d in direction_of(configured.shield_id)]
    outcomes: list[Outcome] = []
    for direction in directions:
        for example in examples_of(configured.options):
            gone = next((o for o in outcomes if o.result is Result.NOT_RUN), None)
            if gone is None:
                outcomes.append(await _outcome(configured, direction, example, patience_s))
            else:  # what can't be asked once would only be waited for again
                outcomes.append(_not_run(configured, direction, example, gone.error))
    return outcomes


async def _outcome(
    configured: ConfiguredShield, direction: Direction, example: Example, patience_s: float
) -> Outcome:
    began = time.perf_counter()
    try:
        answer = await patient_answer(configured.shield, example.text, direction, patience_s)
    except Exception as fault:  # a shield may raise anything: another model's errors, a library's
        error = _reason(fault, patience_s)
        is_wrong = isinstance(fault, (ConfigurationError, NoVerdictError))
        if needs_models(configured.options) and not is_wrong:
            return _not_run(configured, direction, example, error)
        return _made(configured, direction, example, None, Result.FAILED, began, error)
    came = ACTIONS.get(type(answer))
    if came is None:
        error = f"an answer of type {type(answer).__name__}"
        return _made(configured, direction, example, None, Result.FAILED, began, error)
    result = Result.PASSED if _is_right(example, answer) else Result.FAILED
    return _made(configured, direction, example, came, result, began)


def _is_right(example: Example, answer: Answer) -> bool:
    if example.expected is None:
        return True
    if isinstance(answer, Replace):
        return example.expected is Action.REPLACE and answer.text == example.rewritten
    return ACTIONS[type(answer)] is example.expected


def _reason(fault: Exception, patience_s: float) -> str:
    """Return why a check failed; only our own errors are known to hold no text."""
    if isinstance(fault, TimeoutError):
        return f"no answer within {patience_s:g} s"
    return str(fault) if isinstance(fault, LightspeedError) else type(fault).__name__


def _not_run(
    configured: ConfiguredShield, direction: Direction, example: Example, error: str | None
) -> Outcome:
    return Outcome(
        configured.shield_id,
        configured.kind,
        direction,
        example.name,
        example.expected,
        None,
        Result.NOT_RUN,
        error=error,
    )


def _made(
    configured: ConfiguredShield,
    direction: Direction,
    example: Example,
    came: Action | None,
    result: Result,
    began: float,
    error: str | None = None,
) -> Outcome:
    return Outcome(
        configured.shield_id,
        configured.kind,
        direction,
        example.name,
        example.expected,
        came,
        result,
        (time.perf_counter() - began) * 1000,
        error,
    )
