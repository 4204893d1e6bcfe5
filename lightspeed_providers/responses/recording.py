"""Finished turns, handed to be recorded."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from llama_stack.log import get_logger
from llama_stack_api import OpenAIResponseObject

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.core.turns import Outcome, TurnSink
from lightspeed_providers.core.verdicts import Action
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.tool_use import tool_statuses

logger = get_logger(name=__name__, category="openai_responses")

FINAL = {
    "completed": Outcome.ANSWERED,
    "incomplete": Outcome.TRUNCATED,
    "failed": Outcome.ERROR,
    "cancelled": Outcome.INTERRUPTED,
}
"""What becomes of a turn whose response ends in these states."""


_ANSWERS = (Outcome.ANSWERED, Outcome.TRUNCATED)


class Recorder:
    """Closes turns and hands them on, where somebody records them."""

    def __init__(self, sink: TurnSink | None) -> None:
        self.sink = sink
        self.afterwards: Callable[[OpenTurn], None] | None = None
        """What is begun once an answer is recorded; it must not wait for anything."""
        self._going_on: set[asyncio.Task[Any]] = set()

    async def ended(self, turn: OpenTurn, response: OpenAIResponseObject) -> None:
        """Record a turn whose response is final."""
        turn.tools.ended(tool_statuses(response))
        error = response.error.message if response.error else None
        outcome = FINAL[response.status]
        if outcome is Outcome.ANSWERED and turn.truncated:
            outcome = Outcome.TRUNCATED
        await self.record(turn, outcome, error)

    async def record(self, turn: OpenTurn, outcome: Outcome, error: str | None = None) -> None:
        """Record a turn that ended so."""
        # Who went away before the verdict is recorded with it all the same.
        with suppress(LightspeedError):
            await turn.settled()
        closed = turn.closed(outcome, error)
        logger.info(
            "Turn finished",
            turn_id=closed.turn_id,
            outcome=closed.outcome.value,
            model=closed.model,
            blocked_by=[v.shield for v in closed.verdicts if v.action is Action.BLOCK],
            passages=len(closed.passages),
        )
        if self.sink is not None:
            await self.sink.record(closed)
        if outcome in _ANSWERS and self.afterwards is not None:
            self.afterwards(turn)

    def interrupted(self, turn: OpenTurn) -> None:
        """Record a turn that ended without a last event, while its own task is being cancelled."""
        self.later(self.record(turn, Outcome.INTERRUPTED))

    def later[T](self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin work that records; shutting down waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)
        return task

    async def drained(self) -> None:
        """Wait, not forever, for the turns that are being recorded."""
        if self._going_on:
            await asyncio.wait(self._going_on, timeout=5)
