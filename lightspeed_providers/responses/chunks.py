"""Chunks of a chat completion's stream, as they leave the gate."""

import time
from typing import Any

from llama_stack_api import (
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionToolCall,
    OpenAIChatCompletionUsage,
    OpenAIChoiceDelta,
    OpenAIChunkChoice,
)


def first_chunk(completion_id: str, model: str) -> OpenAIChatCompletionChunk:
    """Return what an answer that no model gave begins with."""
    return OpenAIChatCompletionChunk(
        id=completion_id,
        created=int(time.time()),
        model=model,
        choices=[OpenAIChunkChoice(index=0, delta=OpenAIChoiceDelta(role="assistant"))],
    )


def text_chunk(chunk: OpenAIChatCompletionChunk, text: str) -> OpenAIChatCompletionChunk:
    """Return a chunk that holds only this text."""
    return _rewritten(chunk, {"content": text}, finish_reason=None)


def says_only(chunk: OpenAIChatCompletionChunk, text: str) -> bool:
    """Whether a chunk holds this text and nothing that `text_chunk` would leave out."""
    [choice, *others] = chunk.choices
    delta = choice.delta
    return (
        delta.content == text
        and not others
        and not (delta.tool_calls or delta.refusal or vars(delta).get("reasoning_content"))
        and not choice.finish_reason
        and not choice.logprobs
        and not chunk.usage
        and not (chunk.model_extra or choice.model_extra or delta.model_extra)
    )


def calls_chunk(
    chunk: OpenAIChatCompletionChunk, calls: list[OpenAIChatCompletionToolCall]
) -> OpenAIChatCompletionChunk:
    """Return a chunk that holds only these tool calls."""
    return _rewritten(chunk, {"tool_calls": calls}, finish_reason=None)


def bare_chunk(chunk: OpenAIChatCompletionChunk) -> OpenAIChatCompletionChunk:
    """Return a chunk without anything that a model said: its role, its end, its usage."""
    choice = chunk.choices[0]
    bare = _rewritten(chunk, {}, choice.finish_reason)
    return bare.model_copy(update={"usage": chunk.usage})


def refusal_end(chunk: OpenAIChatCompletionChunk) -> OpenAIChatCompletionChunk:
    """Return the end of a refusal, which costs no tokens (see the Lightspeed contract)."""
    usage = OpenAIChatCompletionUsage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
    return _rewritten(chunk, {}, finish_reason="stop").model_copy(update={"usage": usage})


def _rewritten(
    chunk: OpenAIChatCompletionChunk, delta: dict[str, Any], finish_reason: Any
) -> OpenAIChatCompletionChunk:
    """Return the chunk with a delta of these fields alone.

    Log probabilities belong to the upstream's tokens, not to released text; and what a provider
    adds beside the fields that are known here has not been screened.
    """
    choice = chunk.choices[0]
    changed = OpenAIChunkChoice(
        index=choice.index,
        delta=OpenAIChoiceDelta(role=choice.delta.role, **delta),
        finish_reason=finish_reason,
    )
    return chunk.model_copy(update={"choices": [changed], "usage": None})
