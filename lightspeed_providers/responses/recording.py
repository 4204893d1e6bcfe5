"""Finished turns, handed to be recorded."""

import asyncio

from llama_stack.log import get_logger
from llama_stack_api import OpenAIResponseObject

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


class Recorder:
    """Closes turns and hands them on, where somebody records them."""

    def __init__(self, sink: TurnSink | None) -> None:
        self.sink = sink
        self._going_on: set[asyncio.Task[None]] = set()

    async def ended(self, turn: OpenTurn, response: OpenAIResponseObject) -> None:
        """Record a turn whose response is final."""
        turn.tools.ended(tool_statuses(response))
        error = response.error.message if response.error else None
        await self.record(turn, FINAL[response.status], error)

    async def record(self, turn: OpenTurn, outcome: Outcome, error: str | None = None) -> None:
        """Record a turn that ended so."""
        # Who went away before the verdict is recorded with it all the same.
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

    def interrupted(self, turn: OpenTurn) -> None:
        """Record a turn that ended without a last event, while its own task is being cancelled."""
        task = asyncio.get_running_loop().create_task(self.record(turn, Outcome.INTERRUPTED))
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)

    async def drained(self) -> None:
        """Wait, not forever, for the turns that are being recorded."""
        if self._going_on:
            await asyncio.wait(self._going_on, timeout=5)
