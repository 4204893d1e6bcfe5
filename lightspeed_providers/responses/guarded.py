"""Decorated inference: every text to a model and from it passes here, and only here.

The stock loop calls this in place of the inference router. The turn travels with the call as an
extra field of the request, because the loop runs each step in a task of its own and background
turns in another one, so no context variable would reach here.
"""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from llama_stack_api import (
    Inference,
    OpenAIAssistantMessageParam,
    OpenAIChatCompletion,
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionContentPartTextParam,
    OpenAIChatCompletionRequestWithExtraBody,
    OpenAIChatCompletionToolCall,
    OpenAIChatCompletionUsage,
    OpenAIChoiceDelta,
    OpenAIChunkChoice,
    OpenAIMessageParam,
    OpenAIToolMessageParam,
    OpenAIUserMessageParam,
)

from lightspeed_providers.core.verdicts import Direction, ShieldRunner
from lightspeed_providers.responses.checkpoints import Checkpoints
from lightspeed_providers.responses.faults import as_error
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.prompts import documentation, question_with_passages
from lightspeed_providers.responses.request_texts import text_of

TURN = "lightspeed_turn"
"""Name of the extra field that carries the open turn from the face to here."""

WITHHELD = "[withheld by a shield]"
_OVERLAP = 200  # characters already released that an output check sees again


class GuardedInference:
    """Inference as the stock loop sees it: prompts, shields and retrieved passages applied."""

    def __init__(self, inference: Inference, checkpoint_chars: int) -> None:
        self._inference = inference
        self._checkpoint_chars = checkpoint_chars

    def __getattr__(self, name: str) -> Any:  # Any: whatever the inference router offers
        return getattr(self._inference, name)

    async def openai_chat_completion(
        self, params: OpenAIChatCompletionRequestWithExtraBody
    ) -> OpenAIChatCompletion | AsyncIterator[OpenAIChatCompletionChunk]:
        """Ask the model within the turn that the request carries, or answer with its refusal."""
        turn, runner = _turn_of(params)
        turn.tools.model_is_asked()
        if turn.refusal is not None:
            return _refusal_stream(turn, turn.refusal, params.model)
        try:
            upstream = await self._inference.openai_chat_completion(
                await _for_model(params, turn, runner)
            )
        except Exception as fault:
            turn.fault = as_error(fault, turn.model)
            raise turn.fault from fault
        return self._guarded(cast(AsyncIterator[OpenAIChatCompletionChunk], upstream), turn, runner)

    async def openai_chat_completions_with_reasoning(
        self, params: OpenAIChatCompletionRequestWithExtraBody
    ) -> OpenAIChatCompletion | AsyncIterator[OpenAIChatCompletionChunk]:
        """Refuse, so that the stock loop asks without reasoning: that text is not screened yet."""
        raise NotImplementedError("Reasoning text is not screened, so it is not asked for.")

    async def _guarded(
        self,
        upstream: AsyncIterator[OpenAIChatCompletionChunk],
        turn: OpenTurn,
        runner: ShieldRunner,
    ) -> AsyncIterator[OpenAIChatCompletionChunk]:
        """Release upstream text at checkpoints; a block ends the stream with the refusal."""
        gate = _Gate(runner, turn, self._checkpoint_chars)
        try:
            async for chunk in upstream:
                if chunk.usage:
                    turn.input_tokens += chunk.usage.prompt_tokens
                    turn.output_tokens += chunk.usage.completion_tokens
                async for cleared in gate.passed(chunk):
                    yield cleared
                if turn.refusal is not None:
                    turn.input_tokens = turn.output_tokens = 0
                    return
        except Exception as fault:
            turn.fault = as_error(fault, turn.model)
            raise turn.fault from fault
        finally:
            close = getattr(upstream, "aclose", None)
            if close is not None:
                await close()


class _Gate:
    """Holds a stream's text until the output shields have cleared it."""

    def __init__(self, runner: ShieldRunner, turn: OpenTurn, checkpoint_chars: int) -> None:
        self._runner = runner
        self._turn = turn
        self._screens = runner.screens(Direction.OUTPUT)
        self._checkpoints = Checkpoints(checkpoint_chars)

    async def passed(
        self, chunk: OpenAIChatCompletionChunk
    ) -> AsyncIterator[OpenAIChatCompletionChunk]:
        """Yield what may leave now: cleared text, and everything of the chunk that is no text."""
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None:
            yield chunk
            return
        segments = self._segments(choice.delta.content or "")
        if choice.finish_reason or choice.delta.tool_calls:
            segments.append(self._checkpoints.flush())
        for segment in filter(None, segments):
            text = await self._cleared(segment)
            if self._turn.refusal is not None:
                yield _text_chunk(chunk, _after(self._turn.answer, self._turn.refusal))
                self._turn.released(_after(self._turn.answer, self._turn.refusal))
                yield _finish_chunk(chunk)
                return
            self._turn.released(text)
            yield _text_chunk(chunk, text)
        for call in choice.delta.tool_calls or []:
            self._turn.tools.piece(*_piece(call))
        if choice.finish_reason or choice.delta.tool_calls or choice.delta.role:
            yield _without_text(chunk)

    def _segments(self, text: str) -> list[str]:
        if not self._screens:
            return [text]
        return self._checkpoints.push(text)

    async def _cleared(self, segment: str) -> str:
        """Return the segment as the shields leave it, or note the block in the turn."""
        if not self._screens:
            return segment
        overlap = self._turn.answer[-_OVERLAP:]
        screening = await self._runner.screen(Direction.OUTPUT, overlap + segment)
        if screening.blocked_by is None and not screening.text.startswith(overlap):
            # A replacement reached into text that has left; only the new part can be rewritten.
            screening = await self._runner.screen(Direction.OUTPUT, segment)
            overlap = ""
        self._turn.judged(screening.verdicts)
        return screening.text[len(overlap) :]


def _turn_of(
    params: OpenAIChatCompletionRequestWithExtraBody,
) -> tuple[OpenTurn, ShieldRunner]:
    carried = (params.model_extra or {}).get(TURN)
    if carried is None:
        raise RuntimeError("A model call outside any turn: every response must be admitted first.")
    return cast(tuple[OpenTurn, ShieldRunner], carried)


async def _for_model(
    params: OpenAIChatCompletionRequestWithExtraBody, turn: OpenTurn, runner: ShieldRunner
) -> OpenAIChatCompletionRequestWithExtraBody:
    """Return the request as the model gets it; the stock loop keeps its own."""
    messages = without_refused_turns(params.messages, runner.refusals)
    messages = [await _screened_tool_message(m, turn, runner) for m in messages]
    for message in messages:
        if isinstance(message, OpenAIToolMessageParam):
            turn.tools.gave(message.tool_call_id, text_of(message.content))
    if turn.retrieves:
        messages = with_passages(messages, turn)
    extra = {k: v for k, v in (params.model_extra or {}).items() if k != TURN}
    fields = {name: getattr(params, name) for name in type(params).model_fields}
    return type(params).model_construct(
        _fields_set=params.model_fields_set - {TURN}, **{**fields, **extra, "messages": messages}
    )


def without_refused_turns(
    messages: Sequence[OpenAIMessageParam], refusals: frozenset[str]
) -> list[OpenAIMessageParam]:
    """Return messages without exchanges that ended in a refusal: a blocked text stays blocked."""
    kept: list[OpenAIMessageParam] = []
    for message in messages:
        if isinstance(message, OpenAIAssistantMessageParam) and _is_refusal(message, refusals):
            while kept and not isinstance(kept[-1], OpenAIUserMessageParam):
                kept.pop()
            if kept:
                kept.pop()
            continue
        kept.append(message)
    return kept


def _is_refusal(message: OpenAIAssistantMessageParam, refusals: frozenset[str]) -> bool:
    text = text_of(message.content).strip()
    return any(text.endswith(refusal) for refusal in refusals)


async def _screened_tool_message(
    message: OpenAIMessageParam, turn: OpenTurn, runner: ShieldRunner
) -> OpenAIMessageParam:
    """Return a tool's result as the tool shields leave it, each text checked once a turn."""
    if not isinstance(message, OpenAIToolMessageParam) or not runner.screens(Direction.TOOL):
        return message
    text = text_of(message.content)
    if text not in turn.screened_tool_texts:
        screening = await runner.screen(Direction.TOOL, text)
        turn.verdicts.extend(screening.verdicts)
        turn.screened_tool_texts[text] = WITHHELD if screening.blocked_by else screening.text
    return message.model_copy(update={"content": turn.screened_tool_texts[text]})


def _piece(
    call: OpenAIChatCompletionToolCall,
) -> tuple[int, str | None, str | None, str]:
    """Return the place, id, name and arguments of a streamed piece of a tool call."""
    function = call.function
    name = function.name if function else None
    return call.index or 0, call.id, name, (function.arguments if function else None) or ""


def with_passages(
    messages: Sequence[OpenAIMessageParam], turn: OpenTurn
) -> list[OpenAIMessageParam]:
    """Return messages with the retrieved passages in front of the last question."""
    asked = max(
        (n for n, m in enumerate(messages) if isinstance(m, OpenAIUserMessageParam)), default=None
    )
    if asked is None:
        return list(messages)
    question = messages[asked]
    content: Any  # text, or the host's content parts with a text part added in front
    if isinstance(question.content, str):
        content = question_with_passages(question.content, turn.passages)
    else:
        part = OpenAIChatCompletionContentPartTextParam(text=documentation(turn.passages))
        content = [part, *(question.content or [])]
    grounded = question.model_copy(update={"content": content})
    return [*messages[:asked], grounded, *messages[asked + 1 :]]


async def _refusal_stream(
    turn: OpenTurn, refusal: str, model: str
) -> AsyncIterator[OpenAIChatCompletionChunk]:
    """Yield a refusal as a model's answer would come, so every client can read it."""
    empty = OpenAIChatCompletionChunk(
        id=f"chatcmpl-{turn.turn_id}",
        created=int(time.time()),
        model=model,
        choices=[OpenAIChunkChoice(index=0, delta=OpenAIChoiceDelta(role="assistant"))],
    )
    turn.released(refusal)
    yield _text_chunk(empty, refusal)
    yield _finish_chunk(empty)


def _after(text: str, refusal: str) -> str:
    """Return the refusal as it follows text that already left."""
    return f"\n\n{refusal}" if text else refusal


def _text_chunk(chunk: OpenAIChatCompletionChunk, text: str) -> OpenAIChatCompletionChunk:
    return _rewritten(chunk, {"content": text, "tool_calls": None}, finish_reason=None)


def _without_text(chunk: OpenAIChatCompletionChunk) -> OpenAIChatCompletionChunk:
    choice = chunk.choices[0]
    bare = choice.delta.model_copy(update={"content": None})
    return chunk.model_copy(update={"choices": [choice.model_copy(update={"delta": bare})]})


def _finish_chunk(chunk: OpenAIChatCompletionChunk) -> OpenAIChatCompletionChunk:
    """Return the end of a refusal, which costs no tokens (see the Lightspeed contract)."""
    finish = _rewritten(chunk, {"content": None, "tool_calls": None}, finish_reason="stop")
    usage = OpenAIChatCompletionUsage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
    return finish.model_copy(update={"usage": usage})


def _rewritten(
    chunk: OpenAIChatCompletionChunk, delta: dict[str, Any], finish_reason: str | None
) -> OpenAIChatCompletionChunk:
    choice = chunk.choices[0]
    changed = choice.model_copy(
        update={
            "delta": choice.delta.model_copy(update=delta),
            "finish_reason": finish_reason,
            "logprobs": None,  # they belong to the upstream's tokens, not to released text
        }
    )
    return chunk.model_copy(update={"choices": [changed], "usage": None})
