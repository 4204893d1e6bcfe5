"""Passages for a question, before the model is asked."""

import asyncio
from typing import Any

from llama_stack_api import Api

from lightspeed_providers.core.errors import UnavailableError
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.core.verdicts import Direction, ShieldRunner, Verdict
from lightspeed_providers.responses.input_guard import InputGuard
from lightspeed_providers.responses.open_turn import OpenTurn


class Retrieving:
    """Searches the documentation as a profile says."""

    def __init__(self, deps: dict[Api, Any], guard: InputGuard) -> None:
        self._deps = deps
        self._guard = guard

    async def passages(
        self, question: str, turn: OpenTurn, runner: ShieldRunner
    ) -> tuple[tuple[Passage, ...], tuple[Verdict, ...]]:
        """Return the passages for a question that the tool shields let through."""
        retrieval = turn.rules.retrieval
        turn.retrieves = turn.retrieves and bool(question.strip())
        if not turn.retrieves:
            return (), ()
        result = await self._deps[Api.tool_runtime].invoke_tool(
            tool_name=retrieval.tool, kwargs=retrieval.arguments(question)
        )
        if result.error_message:
            raise UnavailableError(f"Documentation search failed: {result.error_message}")
        found = [Passage.model_validate(p) for p in (result.metadata or {}).get("passages", [])]
        if not runner.screens(Direction.TOOL):
            return tuple(found), ()
        screenings = await asyncio.gather(
            *(self._guard.passage(p.content, turn, runner) for p in found)
        )
        kept = tuple(
            p.model_copy(update={"content": s.text})
            for p, s in zip(found, screenings, strict=True)
            if s.blocked_by is None
        )
        return kept, tuple(v for s in screenings for v in s.verdicts)
