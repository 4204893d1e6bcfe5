"""Decorated inference: every text to a model and from it passes here, and only here.

The stock loop calls this in place of the inference router. The turn travels with the call as an
extra field of the request, because the loop runs each step in a task of its own and background
turns in another one, so no context variable would reach here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

from llama_stack_api import (
    Inference,
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionChunkWithReasoning,
    OpenAIChatCompletionRequestWithExtraBody,
)

from lightspeed_providers.core.verdicts import ShieldRunner
from lightspeed_providers.responses.faults import as_error
from lightspeed_providers.responses.gate import Chunk, Gate
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.to_model import (
    ClearedTexts,
    screened_messages,
    with_passages,
    without_refused_turns,
)

TURN = "lightspeed_turn"
"""Name of the extra field that carries the open turn from the face to here."""

type Call = Callable[[OpenAIChatCompletionRequestWithExtraBody], Awaitable[Any]]


class GuardedInference:
    """Inference as the stock loop sees it: prompts, shields and retrieved passages applied."""

    def __init__(
        self,
        inference: Inference,
        checkpoint_chars: int,
        cleared: ClearedTexts | None = None,
    ) -> None:
        self._inference = inference
        self._checkpoint_chars = checkpoint_chars
        self._cleared = cleared or ClearedTexts()

    def __getattr__(self, name: str) -> Any:  # Any: whatever the inference router offers
        return getattr(self._inference, name)

    async def openai_chat_completion(
        self, params: OpenAIChatCompletionRequestWithExtraBody
    ) -> AsyncIterator[Any]:
        """Answer within the turn that the request carries, or with its refusal."""
        turn, runner = _turn_of(params)
        return self._answered(self._inference.openai_chat_completion, params, turn, runner)

    async def openai_chat_completions_with_reasoning(
        self, params: OpenAIChatCompletionRequestWithExtraBody
    ) -> AsyncIterator[Any]:
        """The same with the model's reasoning, which is screened as its answer is.

        A provider that has no reasoning is asked without it.
        """
        turn, runner = _turn_of(params)
        return self._answered(self._with_reasoning, params, turn, runner)

    async def _with_reasoning(self, params: OpenAIChatCompletionRequestWithExtraBody) -> Any:
        # The router takes the provider's name off the model in place.
        try:
            return await self._inference.openai_chat_completions_with_reasoning(params.model_copy())
        except (NotImplementedError, AttributeError):
            return await self._inference.openai_chat_completion(params)

    async def _answered(
        self,
        call: Call,
        params: OpenAIChatCompletionRequestWithExtraBody,
        turn: OpenTurn,
        runner: ShieldRunner,
    ) -> AsyncIterator[Chunk]:
        """Yield what the shields let out of the answer; a block ends it with the refusal."""
        turn.tools.model_is_asked()
        gate = Gate(
            runner,
            turn,
            self._cleared,
            release=turn.rules.release,
            checkpoint_chars=self._checkpoint_chars,
        )
        if turn.refusal is not None:
            for chunk in gate.refused():
                yield chunk
            return
        upstream = _Upstream(call, await self._for_model(params, turn, runner))
        try:
            try:
                async for chunk in self._let_out(upstream, gate, turn):
                    yield chunk
            except Exception as fault:
                # A question that is refused is refused, whatever became of the model meanwhile.
                await turn.settled()
                if turn.refusal is None:
                    turn.fault = as_error(fault, turn.model)
                    raise turn.fault from fault
                for chunk in gate.refused():
                    yield chunk
        finally:
            await upstream.aclose()
            await gate.aclose()
            if turn.refusal is not None:
                turn.input_tokens = turn.output_tokens = 0

    async def _let_out(
        self, upstream: "_Upstream", gate: Gate, turn: OpenTurn
    ) -> AsyncIterator[Chunk]:
        await upstream.first_beside(turn)
        if turn.refusal is not None:
            for chunk in gate.refused():
                yield chunk
            return
        while turn.refusal is None:
            if not await upstream.ready_beside(gate.checking):
                async for cleared in gate.released():
                    yield cleared
                continue
            came = await upstream.next()
            if came is None:
                break
            chunk, reasoning = _unwrapped(came)
            turn.used(chunk.usage)
            async for cleared in gate.passed(chunk, reasoning):
                yield cleared
        if turn.refusal is None:
            async for cleared in gate.finished():
                yield cleared
            for refusing in gate.refused():
                yield refusing

    async def _for_model(
        self,
        params: OpenAIChatCompletionRequestWithExtraBody,
        turn: OpenTurn,
        runner: ShieldRunner,
    ) -> OpenAIChatCompletionRequestWithExtraBody:
        """Return the request as the model gets it; the stock loop keeps its own."""
        messages = without_refused_turns(params.messages, runner.refusals)
        messages = await screened_messages(messages, turn, runner, self._cleared)
        if turn.retrieves:
            messages = with_passages(messages, turn)
        extra = {k: v for k, v in (params.model_extra or {}).items() if k != TURN}
        fields = {name: getattr(params, name) for name in type(params).model_fields}
        return type(params).model_construct(
            _fields_set=params.model_fields_set - {TURN},
            **{**fields, **extra, "messages": messages},
        )


class _Upstream:
    """A model's answer, read one chunk ahead while something else is waited for."""

    def __init__(self, call: Call, params: OpenAIChatCompletionRequestWithExtraBody) -> None:
        self._call = call
        self._params = params
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
        await asyncio.wait({self._ahead, *checks}, return_when=asyncio.FIRST_COMPLETED)
        return self._ahead.done()

    async def next(self) -> Chunk | None:
        """Return the next chunk, None at the end."""
        if self._ahead is None:
            return await self._read()
        ahead, self._ahead = self._ahead, None
        return await ahead

    async def aclose(self) -> None:
        """Stop the model."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)
        close = getattr(self._stream, "aclose", None) or getattr(self._stream, "close", None)
        if close is not None:
            await close()

    async def _read(self) -> Chunk | None:
        if self._stream is None:
            self._stream = cast(AsyncIterator[Chunk], await self._call(self._params))
        return await anext(self._stream, None)


def _unwrapped(came: Chunk) -> tuple[OpenAIChatCompletionChunk, str | None]:
    """Return a chunk and the reasoning that came with it."""
    if isinstance(came, OpenAIChatCompletionChunkWithReasoning):
        return came.chunk, came.reasoning_content
    return came, None


def _turn_of(
    params: OpenAIChatCompletionRequestWithExtraBody,
) -> tuple[OpenTurn, ShieldRunner]:
    carried = (params.model_extra or {}).get(TURN)
    if carried is None:
        raise RuntimeError("A model call outside any turn: every response must be admitted first.")
    return cast(tuple[OpenTurn, ShieldRunner], carried)
