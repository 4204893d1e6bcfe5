"""What a model says on its way out: text, reasoning, tool calls, as the output shields clear it."""

import asyncio
from collections.abc import Sequence
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
    says_only,
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
        self._thinks = False
        self._open = not runner.screens(Direction.OUTPUT)
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
    ) -> list[Chunk]:
        """Return what may leave now that this chunk has come.

        Lists all along: generators within generators, anew for each of hundreds of chunks, would
        cost more than all that is done to a chunk.
        """
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None:
            return [chunk]
        self._latest = chunk
        out: list[Chunk] = []
        if reasoning and (thought := self._thought_markers.push(reasoning)):
            out += await self._thought(thought)
        # A model that refuses in a field of its own has answered so.
        said = (choice.delta.content or "") + (choice.delta.refusal or "")
        if said and (text := self._markers.push(said)):
            out += await self._said(text)
        for call in choice.delta.tool_calls or ():
            self._take(call)
        if choice.finish_reason and self._turn.refusal is None:
            out += await self.finished()
        if self._turn.refusal is not None:
            out += self.refused()
        elif choice.finish_reason or choice.delta.role:
            out.append(bare_chunk(chunk))
        return out

    async def released(self) -> list[Chunk]:
        """Return what may leave since checks have ended."""
        out: list[Chunk] = []
        if self._reasoning is not None:
            out += self._out_of_reasoning(await self._reasoning.released())
        if self._text is not None:
            out += self._out(await self._text.released())
        if self._turn.refusal is not None:
            out += self.refused()
        return out

    async def finished(self) -> list[Chunk]:
        """Return the rest once it is cleared; the model will say nothing more."""
        if self._finished:
            return []
        self._finished = True
        out: list[Chunk] = []
        if text := self._markers.rest():
            out += await self._said(text)
        out += await self._end_of_reasoning()
        if self._text is not None and self._turn.refusal is None:
            out += self._out(await self._text.end())
        out += self._without_calls_of_others()
        if self._calls and self._turn.refusal is None and self._latest is not None:
            calls = [await self._cleared_call(n, call) for n, call in sorted(self._calls.items())]
            if self._turn.refusal is None:
                out.append(calls_chunk(self._latest, calls))
        if self._turn.refusal is None:
            # As history it comes back in later turns.
            self._cleared.note(self._runner, Direction.TOOL, "".join(self._left))
        return out

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

    async def _thought(self, reasoning: str) -> list[Chunk]:
        if self._open:
            self._thinks = True
            return self._out_of_reasoning(reasoning)
        if self._reasoning is None:
            self._reasoning = self._stream()
        return self._out_of_reasoning(await self._reasoning.push(reasoning))

    async def _said(self, text: str) -> list[Chunk]:
        out: list[Chunk] = []
        if self._open:
            if self._thinks:
                self._thinks = False
                out += await self._end_of_reasoning()
            return out + self._out(text)
        if self._text is None:
            out += await self._end_of_reasoning()
            self._text = self._stream()
        if self._turn.refusal is None:
            out += self._out(await self._text.push(text))
        return out

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

    async def _end_of_reasoning(self) -> list[Chunk]:
        if self._thought_through:
            return []
        out: list[Chunk] = []
        if thought := self._thought_markers.rest():
            out += await self._thought(thought)
        if self._reasoning is not None:
            self._thought_through = True
            out += self._out_of_reasoning(await self._reasoning.end())
        return out

    def _stream(self) -> ScreenedStream:
        stream = self._runner.stream(
            Direction.OUTPUT,
            self._turn.context,
            release=self._release,
            checkpoint_chars=self._checkpoint_chars,
        )
        self._turn.streams.append(stream)
        return stream

    def _out(self, text: str) -> list[Chunk]:
        if not self._open:
            self._turn.judged_streams()
        if not text or self._latest is None:
            return []
        self._turn.released(text)
        self._left.append(text)
        if self._open and says_only(self._latest, text):
            return [self._latest]
        return [text_chunk(self._latest, text)]

    def _out_of_reasoning(self, text: str) -> list[Chunk]:
        if not self._open:
            self._turn.judged_streams()
        if not text or self._latest is None:
            return []
        bare = bare_chunk(self._latest).model_copy(update={"usage": None})
        return [OpenAIChatCompletionChunkWithReasoning(chunk=bare, reasoning_content=text)]

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
