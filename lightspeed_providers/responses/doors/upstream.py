"""A model's answer to who comes through a side door."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

from lightspeed_providers.responses.read_ahead import ReadAhead

type Chunk = Any  # Any: the host's chunks or an SDK's, of chats or of texts


class Upstream(ReadAhead[Chunk]):
    """Chunks of an answer, asked for at the first of them."""

    def __init__(self, call: Callable[[], Awaitable[Any]]) -> None:
        super().__init__()
        self._call = call

    async def _read(self) -> Chunk | None:
        if self._stream is None:
            self._stream = cast(AsyncIterator[Chunk], await self._call())
        return await anext(self._stream, None)
