"""Stand-ins for an upstream model, for faults and cancellation only."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import httpx
import openai
from llama_stack_api import (
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionChunkWithReasoning,
    OpenAIChatCompletionToolCall,
    OpenAIChatCompletionToolCallFunction,
    OpenAIChatCompletionUsage,
    OpenAIChoiceDelta,
    OpenAIChunkChoice,
)
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk


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


class AnsweringUpstream:
    """Answers chats and texts with the messages it was given, a choice each, whole or in pieces.

    Answers are of the SDK's types, as real providers give them; it keeps what it was asked.
    """

    def __init__(
        self, *messages: str | dict[str, Any], seconds: float = 0, fault: Exception | None = None
    ) -> None:
        self._messages = [{"content": m} if isinstance(m, str) else m for m in messages]
        self._seconds, self._fault = seconds, fault
        self.asked: list[Any] = []
        self.stopped = False

    async def openai_chat_completion(self, params: Any) -> Any:
        await self._think(params)
        if params.stream:
            return self._chunks(ChatCompletionChunk, self._chat_deltas, params)
        choices = [
            {
                "index": number,
                "message": {"role": "assistant", **message},
                "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
                "logprobs": {"content": [{"token": "secret-token", "logprob": -1.0}]},
            }
            for number, message in enumerate(self._messages)
        ]
        return ChatCompletion.construct(**_ABOUT, choices=choices, usage=USAGE)

    async def openai_completion(self, params: Any) -> Any:
        await self._think(params)
        if params.stream:
            return self._chunks(Completion, self._texts, params)
        choices = [
            {"index": number, "text": message["content"], "finish_reason": "length"}
            for number, message in enumerate(self._messages)
        ]
        return Completion.construct(**_ABOUT, choices=choices, usage=USAGE)

    async def _think(self, params: Any) -> None:
        self.asked.append(params.model_copy(deep=True))
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.stopped = True
            raise
        if self._fault is not None and not params.stream:
            raise self._fault

    async def _chunks(self, kind: Any, pieces: Any, params: Any) -> AsyncIterator[Any]:
        try:
            for choice in pieces():
                yield kind.construct(**_ABOUT, choices=[choice])
                await asyncio.sleep(0)
            if self._fault is not None:
                raise self._fault
            if (params.stream_options or {}).get("include_usage"):
                yield kind.construct(**_ABOUT, choices=[], usage=USAGE)
        except GeneratorExit:
            self.stopped = True
            raise

    def _chat_deltas(self) -> Iterator[dict[str, Any]]:
        for number in range(len(self._messages)):
            yield {"index": number, "delta": {"role": "assistant", "content": ""}}
        yield from _interleaved([_deltas(message) for message in self._messages])
        for number, message in enumerate(self._messages):
            reason = "tool_calls" if "tool_calls" in message else "stop"
            yield {"index": number, "delta": {}, "finish_reason": reason}

    def _texts(self) -> Iterator[dict[str, Any]]:
        for number, message in enumerate(self._messages):
            for piece in _cut(message["content"]):
                yield {"index": number, "text": piece}
            yield {"index": number, "text": "", "finish_reason": "length"}


USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
_ABOUT = {"id": "chatcmpl-answering", "created": 1, "model": "fake"}


def _cut(text: str) -> list[str]:
    return [text[n : n + 5] for n in range(0, len(text), 5)]


def _deltas(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message as real models stream it: texts in small pieces, then its calls."""
    deltas: list[dict[str, Any]] = []
    for name in ("reasoning_content", "reasoning", "content", "refusal"):
        deltas += [{name: piece} for piece in _cut(message.get(name) or "")]
    for number, call in enumerate(message.get("tool_calls", [])):
        function = call["function"]
        first = {**call, "index": number, "function": {"name": function["name"], "arguments": ""}}
        deltas.append({"tool_calls": [first]})
        deltas += [
            {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}
            for piece in _cut(function["arguments"])
        ]
    if call := message.get("function_call"):
        deltas.append({"function_call": {"name": call["name"], "arguments": ""}})
        deltas += [{"function_call": {"arguments": p}} for p in _cut(call["arguments"])]
    return deltas


def _interleaved(choices: list[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for step in zip_longest(*choices):
        for number, delta in enumerate(step):
            if delta is not None:
                yield {
                    "index": number,
                    "delta": delta,
                    "logprobs": {"content": [{"token": "secret-token", "logprob": -1.0}]},
                }


@dataclass(frozen=True)
class Thought:
    """Reasoning, in a script."""

    text: str


class ScriptedUpstream:
    """Says, thinks, calls and fails as it is written down, one round a request, with usage."""

    def __init__(
        self, *rounds: Sequence[str | Thought | dict[str, Any] | Exception], finish: Any = "stop"
    ) -> None:
        self._rounds = rounds
        self._finish = finish
        self.asked: list[Any] = []

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[Any]:
        return (part.chunk async for part in self._played(params))

    async def openai_chat_completions_with_reasoning(self, params: Any) -> AsyncIterator[Any]:
        return self._played(params)

    async def _played(self, params: Any) -> AsyncIterator[OpenAIChatCompletionChunkWithReasoning]:
        self.asked.append(params)
        script = self._rounds[min(len(self.asked), len(self._rounds)) - 1]
        calls = [step for step in script if isinstance(step, dict)]
        for step in script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, dict):
                for piece in _pieces(calls.index(step), step):
                    calling = chunk(None)
                    calling.choices[0].delta.tool_calls = [piece]
                    yield OpenAIChatCompletionChunkWithReasoning(chunk=calling)
            elif isinstance(step, Thought):
                yield OpenAIChatCompletionChunkWithReasoning(
                    chunk=chunk(None), reasoning_content=step.text
                )
            else:
                yield OpenAIChatCompletionChunkWithReasoning(chunk=chunk(step))
        last = chunk(None, "tool_calls" if calls else self._finish)
        last.usage = OpenAIChatCompletionUsage(
            prompt_tokens=7, completion_tokens=3, total_tokens=10
        )
        yield OpenAIChatCompletionChunkWithReasoning(chunk=last)


class SearchingUpstream:
    """Calls `file_search` whenever it is offered, else answers; keeps what it was sent."""

    def __init__(self, said: list[str], query: str = "test database") -> None:
        self._said, self._query = said, query
        self.asked: list[Any] = []

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[Any]:
        self.asked.append(params)
        names = [tool["function"]["name"] for tool in params.tools or []]
        return self._calling() if "file_search" in names else self._answering()

    async def _calling(self) -> AsyncIterator[Any]:
        number = len(self.asked)
        call = {"id": f"call_{number}", "name": "file_search"}
        for piece in _pieces(0, call | {"arguments": json.dumps({"query": self._query})}):
            calling = chunk(None)
            calling.choices[0].delta.tool_calls = [piece]
            yield calling
        yield chunk(None, "tool_calls")

    async def _answering(self) -> AsyncIterator[Any]:
        for text in self._said:
            yield chunk(text)
        yield chunk(None, "stop")


class NarrowUpstream:
    """Reads only so many characters and says so like a provider does; then plays its rounds."""

    def __init__(self, reads: int, refusal: dict[str, Any], upstream: Any) -> None:
        self._reads, self._refusal, self._upstream = reads, refusal, upstream
        self.refused: list[Any] = []

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[Any]:
        size = sum(len(json.dumps(m.model_dump()["content"])) for m in params.messages)
        if size > self._reads:
            self.refused.append(params)
            request = httpx.Request("POST", "http://model.example/v1/chat/completions")
            answer = httpx.Response(400, json=self._refusal, request=request)
            raise openai.BadRequestError("refused", response=answer, body=self._refusal)
        said: AsyncIterator[Any] = await self._upstream.openai_chat_completion(params)
        return said
