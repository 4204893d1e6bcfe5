"""Decorated inference: every text to a model and from it passes here, and only here.

The stock loop calls this in place of the inference router. The turn travels with the call as an
extra field of the request, because the loop runs each step in a task of its own and background
turns in another one, so no context variable would reach here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, cast

from llama_stack_api import (
    Inference,
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionChunkWithReasoning,
    OpenAIChatCompletionRequestWithExtraBody,
)

from lightspeed_providers.core.errors import LightspeedError, RequestTooLargeError
from lightspeed_providers.core.verdicts import ShieldRunner
from lightspeed_providers.responses.budget import names_of, only_functions
from lightspeed_providers.responses.context_window import (
    TOO_LONG,
    reserve,
    says_too_long,
    spoken,
    tokens_of,
)
from lightspeed_providers.responses.deadlines import DeadlineError, after, within
from lightspeed_providers.responses.faults import BrokenOffError, as_error
from lightspeed_providers.responses.gate import Chunk, Gate
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.search_results import note_given, with_passages_only
from lightspeed_providers.responses.searching import ANSWERING
from lightspeed_providers.responses.system_messages import with_prompt, without_inserted
from lightspeed_providers.responses.to_model import (
    ClearedTexts,
    screened_messages,
    texts_sent,
    with_passages,
    without_refused_turns,
)
from lightspeed_providers.responses.tool_selection import ToolSelection

TURN = "lightspeed_turn"
"""Name of the extra field that carries the open turn from the face to here."""

type Call = Callable[[OpenAIChatCompletionRequestWithExtraBody], Awaitable[Any]]
type Instead = Callable[[Exception], Awaitable[OpenAIChatCompletionRequestWithExtraBody]]
"""Gives the request to send in place of one that was refused, or raises the fault."""


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
        self._tool_selection = ToolSelection(inference)

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
        ANSWERING.set(turn)  # a background turn searches in the task that asks its model
        try:
            asked = await self._fitting(params, turn, runner)
        except LightspeedError as fault:
            turn.fault = fault
            raise
        gate.offered = names_of(asked.tools)
        upstream = _Upstream(call, asked, turn, partial(self._shorter, params, turn, runner))
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
            try:
                await upstream.aclose()
            finally:
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
                upstream.check_that_it_was_done()
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

    async def _fitting(
        self,
        params: OpenAIChatCompletionRequestWithExtraBody,
        turn: OpenTurn,
        runner: ShieldRunner,
    ) -> OpenAIChatCompletionRequestWithExtraBody:
        """Return the request as the model gets it, within what it can read where that is known.

        Raises why the model's searches failed, where none of them came to an end.
        """
        if fault := turn.searches.fault():
            raise fault
        asked = await self._for_model(params, turn, runner)
        context = turn.rules.budget.context_tokens
        if context is None:
            return asked
        tokens = spoken(await tokens_of(texts_sent(asked)))
        too_many = tokens + reserve(context, asked.max_completion_tokens) - context
        if too_many <= 0:
            return asked
        texts = turn.grounding.texts
        of_text = dict(zip(texts, await tokens_of(texts), strict=True))
        if turn.grounding.leave_out(of_text, too_many):
            turn.truncated = True
            asked = await self._for_model(params, turn, runner)
            tokens = spoken(await tokens_of(texts_sent(asked)))
        if tokens > context:
            raise RequestTooLargeError(TOO_LONG.format(model=turn.model))
        return asked

    async def _shorter(
        self,
        params: OpenAIChatCompletionRequestWithExtraBody,
        turn: OpenTurn,
        runner: ShieldRunner,
        fault: Exception,
    ) -> OpenAIChatCompletionRequestWithExtraBody:
        """Return the request with fewer passages where it was too long; raise other faults."""
        if not says_too_long(fault):
            raise fault
        if not turn.grounding.leave_out_half():
            raise RequestTooLargeError(TOO_LONG.format(model=turn.model)) from fault
        turn.truncated = True
        return await self._for_model(params, turn, runner)

    async def _for_model(
        self,
        params: OpenAIChatCompletionRequestWithExtraBody,
        turn: OpenTurn,
        runner: ShieldRunner,
    ) -> OpenAIChatCompletionRequestWithExtraBody:
        """Return the request as the model gets it; the stock loop keeps its own."""
        messages = without_inserted(params.messages, turn.prompting)
        messages = without_refused_turns(messages, runner.refusals | turn.other_refusals)
        messages, places = with_passages_only(messages, turn.grounding)
        messages = await screened_messages(messages, turn, runner, self._cleared)
        note_given(messages, places, turn.grounding)
        if turn.retrieves:
            messages = with_passages(messages, turn)
        extra = {k: v for k, v in (params.model_extra or {}).items() if k != TURN}
        fields = {name: getattr(params, name) for name in type(params).model_fields}
        offered = await self._tool_selection.offered(params, turn)
        if offered is not None:
            fields["tools"] = offered
        if turn.budget.is_spent(turn.tools.rounds, turn.tools.server_calls):
            fields = only_functions(fields, turn.tools.functions)
        return type(params).model_construct(
            _fields_set=params.model_fields_set - {TURN},
            **{**fields, **extra, "messages": with_prompt(messages, turn.prompt)},
        )


class _Upstream:
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
        chunk, reasoning = _unwrapped(came)
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
