"""Decorated inference: every text to a model and from it passes here, and only here.

The stock loop calls this in place of the inference router. The turn travels with the call as an
extra field of the request, because the loop runs each step in a task of its own and background
turns in another one, so no context variable would reach here.
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, cast

from llama_stack_api import (
    Inference,
    OpenAIChatCompletionRequestWithExtraBody,
)

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.core.verdicts import ShieldRunner
from lightspeed_providers.responses import metrics
from lightspeed_providers.responses.budget import names_of
from lightspeed_providers.responses.faults import as_error
from lightspeed_providers.responses.gate import Chunk, Gate
from lightspeed_providers.responses.model_request import TURN, ModelRequests
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.searching import ANSWERING
from lightspeed_providers.responses.to_model import ClearedTexts
from lightspeed_providers.responses.upstream import Call, Upstream, unwrapped


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
        self._requests = ModelRequests(inference, self._cleared)

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
            asked = await self._requests.fitting(params, turn, runner)
        except LightspeedError as fault:
            turn.fault = fault
            raise
        gate.offered = names_of(asked.tools)
        upstream = Upstream(
            call, asked, turn, partial(self._requests.shorter, params, turn, runner)
        )
        try:
            try:
                with metrics.called(turn.model, turn.provider, metrics.ANSWER):
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
        self, upstream: Upstream, gate: Gate, turn: OpenTurn
    ) -> AsyncIterator[Chunk]:
        await upstream.first_beside(turn)
        if turn.refusal is not None:
            for chunk in gate.refused():
                yield chunk
            return
        while turn.refusal is None:
            if not await upstream.ready_beside(gate.checking):
                for cleared in await gate.released():
                    yield cleared
                continue
            came = await upstream.next()
            if came is None:
                upstream.check_that_it_was_done()
                break
            chunk, reasoning = unwrapped(came)
            if chunk.usage:
                turn.used(chunk.usage)
                metrics.spent(turn.model, turn.provider, metrics.ANSWER, chunk.usage)
            for cleared in await gate.passed(chunk, reasoning):
                yield cleared
        if turn.refusal is None:
            for cleared in await gate.finished():
                yield cleared
            for refusing in gate.refused():
                yield refusing


def _turn_of(
    params: OpenAIChatCompletionRequestWithExtraBody,
) -> tuple[OpenTurn, ShieldRunner]:
    carried = (params.model_extra or {}).get(TURN)
    if carried is None:
        raise RuntimeError("A model call outside any turn: every response must be admitted first.")
    return cast(tuple[OpenTurn, ShieldRunner], carried)
