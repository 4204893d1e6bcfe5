"""What a model is sent: the prompt that holds, cleared messages, passages that fit, tools."""

from llama_stack_api import Inference, OpenAIChatCompletionRequestWithExtraBody

from lightspeed_providers.core.errors import RequestTooLargeError
from lightspeed_providers.core.verdicts import ShieldRunner
from lightspeed_providers.responses.budget import only_functions
from lightspeed_providers.responses.context_window import (
    TOO_LONG,
    reserve,
    says_too_long,
    spoken,
    tokens_of,
)
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.search_results import note_given, with_passages_only
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
"""Name of the extra field that carries the open turn from the face to the model's call."""


class ModelRequests:
    """Makes the requests that the model gets of those that the stock loop makes."""

    def __init__(self, inference: Inference, cleared: ClearedTexts) -> None:
        self._cleared = cleared
        self._tool_selection = ToolSelection(inference)

    async def fitting(
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

    async def shorter(
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
