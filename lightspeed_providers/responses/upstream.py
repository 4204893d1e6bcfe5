"""A model's answer as it comes: read ahead beside checks, within its deadline, asked again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
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

type Call = Callable[[OpenAIChatCompletionRequestWithExtraBody], Awaitable[Any]]
type Instead = Callable[[Exception], Awaitable[OpenAIChatCompletionRequestWithExtraBody]]
"""Gives the request to send in place of one that was refused, or raises the fault."""


class Upstream:
    """A model's answer, read one chunk ahead while something else is waited for."""

    def __init__(
        self,
        call: Call,
        params: OpenAIChatCompletionRequestWithExtraBody,
        turn: OpenTurn,
        instead: Instead,
    ) -> None:
        self._call = call
        self._params = params
        self._instead = instead
        self._has_begun = False
        self._deadlines = turn.rules.deadlines
        self._model = turn.model
        self._until = after(self._deadlines.first_token_s)
        self._has_spoken = False
        self._was_done = False
        self._stream: AsyncIterator[Chunk] | None = None
        self._ahead: asyncio.Task[Chunk | None] | None = None

    async def first_beside(self, turn: OpenTurn) -> None:
        """Ask the model and wait for the question's late verdicts, whichever comes first."""
        if turn.late_verdicts is not None:
            self._ahead = asyncio.create_task(self._read())
            await turn.settled()

    async def ready_beside(self, checks: Any) -> bool:  # Any: a sequence of futures
        """Wait for the next chunk or a check; False where a check came first."""
        if self._ahead is None:
            if not checks:
                return True
            self._ahead = asyncio.create_task(self._read())
        waiting = asyncio.wait({self._ahead, *checks}, return_when=asyncio.FIRST_COMPLETED)
        await (waiting if self._has_spoken else within(waiting, self._until, self._late))
        return self._ahead.done()

    async def next(self) -> Chunk | None:
        """Return the next chunk, None at the end; raises where the first word is late."""
        came = self._came()
        chunk = await (came if self._has_spoken else within(came, self._until, self._late))
        if chunk is not None:
            self._note(chunk)
        return chunk

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

    async def _came(self) -> Chunk | None:
        if self._ahead is None:
            return await self._read()
        ahead, self._ahead = self._ahead, None
        try:
            return await ahead
        except asyncio.CancelledError:
            ahead.cancel()
            raise

    async def aclose(self) -> None:
        """Stop the model."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)
        close = getattr(self._stream, "aclose", None) or getattr(self._stream, "close", None)
        if close is not None:
            await close()

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
