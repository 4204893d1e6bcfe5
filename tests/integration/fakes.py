"""Stand-ins for an upstream model, for faults and cancellation only."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from llama_stack_api import (
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionChunkWithReasoning,
    OpenAIChatCompletionToolCall,
    OpenAIChatCompletionToolCallFunction,
    OpenAIChoiceDelta,
    OpenAIChunkChoice,
)


def chunk(text: str | None, finish_reason: Any = None) -> OpenAIChatCompletionChunk:
    """One chunk of a chat completion's stream."""
    return OpenAIChatCompletionChunk(
        id="chatcmpl-fake",
        created=int(time.time()),
        model="fake",
        choices=[
            OpenAIChunkChoice(
                index=0, delta=OpenAIChoiceDelta(content=text), finish_reason=finish_reason
            )
        ],
    )


class CannedUpstream:
    """Says what it was given, chunk by chunk."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[Any]:
        return self._stream()

    async def _stream(self) -> AsyncIterator[Any]:
        for text in self._said:
            yield chunk(text)
        yield chunk(None, "stop")


class EndlessUpstream:
    """Talks until nobody reads it any more."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[Any]:
        return self._stream()

    async def _stream(self) -> AsyncIterator[Any]:
        try:
            while True:
                yield chunk("One sentence. Then another. ")
                await asyncio.sleep(0.01)
        finally:
            self.closed.set()


class CallingUpstream:
    """Calls tools, one round after the other, then says its last words; keeps what it was sent."""

    def __init__(self, rounds: list[list[dict[str, Any]]], said: list[str]) -> None:
        self._rounds = rounds
        self._said = said
        self.asked: list[Any] = []

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[Any]:
        self.asked.append(params)
        return self._stream(len(self.asked) - 1)

    async def _stream(self, number: int) -> AsyncIterator[Any]:
        if number >= len(self._rounds):
            for text in self._said:
                yield chunk(text)
            yield chunk(None, "stop")
            return
        for index, call in enumerate(self._rounds[number]):
            for piece in _pieces(index, call):
                calling = chunk(None)
                calling.choices[0].delta.tool_calls = [piece]
                yield calling
        yield chunk(None, "tool_calls")


def _pieces(index: int, call: dict[str, Any]) -> list[OpenAIChatCompletionToolCall]:
    """A call as real models stream it: its name first, then its arguments in two halves."""
    arguments = call["arguments"]
    cuts = [arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]]
    first = OpenAIChatCompletionToolCallFunction(name=call["name"], arguments="")
    rest = [OpenAIChatCompletionToolCallFunction(name="", arguments=cut) for cut in cuts]
    return [
        OpenAIChatCompletionToolCall(index=index, id=call["id"], function=first),
        *(OpenAIChatCompletionToolCall(index=index, function=function) for function in rest),
    ]


class ThinkingUpstream:
    """Gives reasoning, then an answer; as providers do that know reasoning."""

    def __init__(self, thoughts: list[str], said: list[str]) -> None:
        self._thoughts, self._said = thoughts, said

    async def openai_chat_completions_with_reasoning(self, params: Any) -> AsyncIterator[Any]:
        return self._stream()

    async def _stream(self) -> AsyncIterator[Any]:
        for thought in self._thoughts:
            yield OpenAIChatCompletionChunkWithReasoning(
                chunk=chunk(None), reasoning_content=thought
            )
        for text in self._said:
            yield OpenAIChatCompletionChunkWithReasoning(chunk=chunk(text), reasoning_content=None)
        yield OpenAIChatCompletionChunkWithReasoning(
            chunk=chunk(None, "stop"), reasoning_content=None
        )


class LateUpstream:
    """Says its first word after a while; notes whether it was stopped before."""

    def __init__(self, seconds: float, said: list[str]) -> None:
        self._seconds, self._said = seconds, said
        self.asked: list[Any] = []
        self.stopped = False

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[Any]:
        self.asked.append(params)
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.stopped = True
            raise
        return self._stream()

    async def _stream(self) -> AsyncIterator[Any]:
        for text in self._said:
            yield chunk(text)
        yield chunk(None, "stop")
