"""What a model says on its way out: text, reasoning, tool calls, as the output shields clear it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from llama_stack.log import get_logger
from llama_stack_api import (
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionChunkWithReasoning,
    OpenAIChatCompletionToolCall,
    OpenAIChatCompletionToolCallFunction,
)

from lightspeed_providers.core.verdicts import Direction, Release, ScreenedStream, ShieldRunner
from lightspeed_providers.responses.budget import NOT_FINISHED
from lightspeed_providers.responses.chunks import (
    bare_chunk,
    calls_chunk,
    first_chunk,
    refusal_end,
    text_chunk,
)
from lightspeed_providers.responses.markers import WithoutMarkers
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.to_model import ClearedTexts

logger = get_logger(name=__name__, category="openai_responses")

type Chunk = OpenAIChatCompletionChunk | OpenAIChatCompletionChunkWithReasoning


class Gate:
    """Lets out what the shields have cleared; after a block, the refusal and nothing more."""

    def __init__(
        self,
        runner: ShieldRunner,
        turn: OpenTurn,
        cleared: ClearedTexts,
        *,
        release: Release,
        checkpoint_chars: int,
    ) -> None:
        self._runner = runner
        self._turn = turn
        self._cleared = cleared
        self._left: list[str] = []
        self._release = release
        self._checkpoint_chars = checkpoint_chars
        self._text: ScreenedStream | None = None
        self._reasoning: ScreenedStream | None = None
        self._calls: dict[int, OpenAIChatCompletionToolCall] = {}
        self._latest: OpenAIChatCompletionChunk | None = None
        self._thought_through = False
        self._finished = False
        self._markers = WithoutMarkers()
        self._thought_markers = WithoutMarkers()
        self.offered: frozenset[str] = frozenset()
        """What the model may call; a call of anything else is dropped."""

    @property
    def checking(self) -> Sequence[asyncio.Future[Any]]:
        """The checks that run now; when one ends, more may leave."""
        streams = [s for s in (self._reasoning, self._text) if s is not None]
        return [check for stream in streams for check in stream.checking]

    async def passed(
        self, chunk: OpenAIChatCompletionChunk, reasoning: str | None = None
    ) -> AsyncIterator[Chunk]:
        """Yield what may leave now that this chunk has come."""
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None:
            yield chunk
            return
        self._latest = chunk
        if reasoning and (thought := self._thought_markers.push(reasoning)):
            async for out in self._thought(thought):
                yield out
        # A model that refuses in a field of its own has answered so.
        said = (choice.delta.content or "") + (choice.delta.refusal or "")
        if said and (text := self._markers.push(said)):
            async for out in self._said(text):
                yield out
        for call in choice.delta.tool_calls or []:
            self._take(call)
        if choice.finish_reason and self._turn.refusal is None:
            async for out in self.finished():
                yield out
        if self._turn.refusal is not None:
            for out in self.refused():
                yield out
        elif choice.finish_reason or choice.delta.role:
            yield bare_chunk(chunk)

    async def released(self) -> AsyncIterator[Chunk]:
        """Yield what may leave since checks have ended."""
        if self._reasoning is not None:
            async for out in self._out_of_reasoning(await self._reasoning.released()):
                yield out
        if self._text is not None:
            async for out in self._out(await self._text.released()):
                yield out
        if self._turn.refusal is not None:
            for out in self.refused():
                yield out

    async def finished(self) -> AsyncIterator[Chunk]:
        """Yield the rest once it is cleared; the model will say nothing more."""
        if self._finished:
            return
        self._finished = True
        if text := self._markers.rest():
            async for out in self._said(text):
                yield out
        async for out in self._end_of_reasoning():
            yield out
        if self._text is not None and self._turn.refusal is None:
            async for out in self._out(await self._text.end()):
                yield out
        for answered_for in self._without_calls_of_others():
            yield answered_for
        if self._calls and self._turn.refusal is None and self._latest is not None:
            calls = [await self._cleared_call(n, call) for n, call in sorted(self._calls.items())]
            if self._turn.refusal is None:
                yield calls_chunk(self._latest, calls)
        if self._turn.refusal is None:
            # As history it comes back in later turns.
            self._cleared.note(self._runner, Direction.TOOL, "".join(self._left))

    def refused(self) -> list[Chunk]:
        """Return the refusal as it follows text that already left, once."""
        if self._turn.refusal is None or self._turn.refusal_left:
            return []
        self._turn.refusal_left = True
        answered = self._turn.answer
        text = f"\n\n{self._turn.refusal}" if answered else self._turn.refusal
        self._turn.released(text)
        chunk = self._latest or first_chunk(f"chatcmpl-{self._turn.turn_id}", self._turn.model)
        return [text_chunk(chunk, text), refusal_end(chunk)]

    async def aclose(self) -> None:
        """End the checks that still run."""
        for stream in (self._reasoning, self._text):
            if stream is not None:
                await stream.aclose()

    async def _thought(self, reasoning: str) -> AsyncIterator[Chunk]:
        if self._reasoning is None:
            self._reasoning = self._stream()
        async for out in self._out_of_reasoning(await self._reasoning.push(reasoning)):
            yield out

    async def _said(self, text: str) -> AsyncIterator[Chunk]:
        if self._text is None:
            async for out in self._end_of_reasoning():
                yield out
        if self._text is None:
            self._text = self._stream()
        if self._turn.refusal is None:
            async for out in self._out(await self._text.push(text)):
                yield out

    def _without_calls_of_others(self) -> list[Chunk]:
        """Drop calls of what was not offered; where nothing is left of the answer, say so."""
        kept = {
            number: call
            for number, call in self._calls.items()
            if call.function is not None and call.function.name in self.offered
        }
        dropped, self._calls = len(self._calls) - len(kept), kept
        if dropped:
            logger.warning("Dropped calls of tools that were not offered", calls=dropped)
        if not dropped or kept or "".join(self._left).strip() or self._turn.refusal is not None:
            return []
        self._turn.gave_up = True
        self._turn.released(NOT_FINISHED)
        self._left.append(NOT_FINISHED)
        chunk = self._latest or first_chunk(f"chatcmpl-{self._turn.turn_id}", self._turn.model)
        return [text_chunk(chunk, NOT_FINISHED)]

    async def _end_of_reasoning(self) -> AsyncIterator[Chunk]:
        if not self._thought_through and (thought := self._thought_markers.rest()):
            async for out in self._thought(thought):
                yield out
        if self._reasoning is not None and not self._thought_through:
            self._thought_through = True
            async for out in self._out_of_reasoning(await self._reasoning.end()):
                yield out

    def _stream(self) -> ScreenedStream:
        stream = self._runner.stream(
            Direction.OUTPUT,
            self._turn.context,
            release=self._release,
            checkpoint_chars=self._checkpoint_chars,
        )
        self._turn.streams.append(stream)
        return stream

    async def _out(self, text: str) -> AsyncIterator[Chunk]:
        if text and self._latest is not None:
            self._turn.released(text)
            self._left.append(text)
            yield text_chunk(self._latest, text)
        self._turn.judged_streams()

    async def _out_of_reasoning(self, text: str) -> AsyncIterator[Chunk]:
        if text and self._latest is not None:
            yield OpenAIChatCompletionChunkWithReasoning(
                chunk=bare_chunk(self._latest).model_copy(update={"usage": None}),
                reasoning_content=text,
            )
        self._turn.judged_streams()

    def _take(self, piece: OpenAIChatCompletionToolCall) -> None:
        """Put a call together from its pieces: it is screened, and leaves, as a whole."""
        number = piece.index or 0
        known = self._calls.get(number)
        function = piece.function
        if known is None or known.function is None:
            # Providers hand on the openai SDK's own types, which the host's refuse to hold.
            self._calls[number] = OpenAIChatCompletionToolCall.model_validate(piece.model_dump())
            return
        if function is not None:
            known.function = OpenAIChatCompletionToolCallFunction(
                name=known.function.name or function.name,
                arguments=(known.function.arguments or "") + (function.arguments or ""),
            )
        known.id = known.id or piece.id

    async def _cleared_call(
        self, number: int, call: OpenAIChatCompletionToolCall
    ) -> OpenAIChatCompletionToolCall:
        """Return a call with arguments as the shields leave them, or note the block in the turn."""
        function = call.function
        arguments = (function.arguments if function else None) or ""
        if function is not None and arguments and self._runner.screens(Direction.OUTPUT):
            screening = await self._runner.screen(Direction.OUTPUT, arguments, self._turn.context)
            self._turn.judged(screening.verdicts)
            arguments = screening.text
            call = call.model_copy(
                update={"function": function.model_copy(update={"arguments": arguments})}
            )
        if self._turn.refusal is None:
            self._cleared.note(self._runner, Direction.TOOL, arguments)
            name = function.name if function else None
            self._turn.tools.piece(number, call.id, name, arguments)
        return call
