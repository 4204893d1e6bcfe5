"""Stand-ins for an upstream model, for faults and cancellation only."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from llama_stack_api import OpenAIChatCompletionChunk, OpenAIChoiceDelta, OpenAIChunkChoice


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
