"""A model's answer as it comes: read ahead beside checks, within its deadline, asked again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

from llama_stack_api import (
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionChunkWithReasoning,
    OpenAIChatCompletionRequestWithExtraBody,
)

from lightspeed_providers.responses.deadlines import DeadlineError, after, within
from lightspeed_providers.responses.faults import BrokenOffError
from lightspeed_providers.responses.gate import Chunk
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.read_ahead import ReadAhead

type Call = Callable[[OpenAIChatCompletionRequestWithExtraBody], Awaitable[Any]]
type Instead = Callable[[Exception], Awaitable[OpenAIChatCompletionRequestWithExtraBody]]
"""Gives the request to send in place of one that was refused, or raises the fault."""


class Upstream(ReadAhead[Chunk]):
    """A model's answer within a turn."""

    def __init__(
        self,
        call: Call,
        params: OpenAIChatCompletionRequestWithExtraBody,
        turn: OpenTurn,
        instead: Instead,
    ) -> None:
        super().__init__()
        self._call = call
        self._params = params
        self._instead = instead
        self._has_begun = False
        self._deadlines = turn.rules.deadlines
        self._model = turn.model
        self._until = after(self._deadlines.first_token_s)
        self._has_spoken = False
        self._was_done = False

    async def first_beside(self, turn: OpenTurn) -> None:
        """Ask the model and wait for the question's late verdicts, whichever comes first."""
        if turn.late_verdicts is not None:
            self.begin()
            await turn.settled()

    async def ready_beside(self, checks: Sequence[asyncio.Future[Any]]) -> bool:
        """Wait for the next chunk or a check; raises where the first word is late."""
        return await self._in_time(super().ready_beside(checks))

    async def next(self) -> Chunk | None:
        """Return the next chunk, None at the end; raises where the first word is late."""
        chunk = await self._in_time(super().next())
        if chunk is not None:
            self._note(chunk)
        return chunk

    async def _in_time[T](self, awaited: Awaitable[T]) -> T:
        if self._has_spoken:
            return await awaited
        return await within(awaited, self._until, self._late)

    def check_that_it_was_done(self) -> None:
        """Raise where the stream ended and the model had not: the answer is not whole."""
        if not self._was_done:
            raise BrokenOffError

    def _late(self) -> DeadlineError:
        return self._deadlines.first_token_late(self._model)

    def _note(self, came: Chunk) -> None:
        chunk, reasoning = unwrapped(came)
        for choice in chunk.choices:
            said = choice.delta
            self._was_done = self._was_done or bool(choice.finish_reason)
            self._has_spoken = self._has_spoken or bool(
                said.content or said.tool_calls or reasoning or choice.finish_reason
            )

    async def _read(self) -> Chunk | None:
        while self._stream is None or not self._has_begun:
            try:
                self._stream = cast(AsyncIterator[Chunk], await self._call(self._params))
                first = await anext(self._stream, None)
            except Exception as fault:
                self._params = await self._instead(fault)
            else:
                self._has_begun = True
                return first
        return await anext(self._stream, None)


def unwrapped(came: Chunk) -> tuple[OpenAIChatCompletionChunk, str | None]:
    """Return a chunk and the reasoning that came with it."""
    if isinstance(came, OpenAIChatCompletionChunkWithReasoning):
        return came.chunk, came.reasoning_content
    return came, None
