"""A model's answer, read one chunk ahead while something else is waited for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

type Chunk = Any  # Any: the host's chunks or an SDK's, of chats or of texts


class Upstream:
    """Chunks of an answer that nobody waits for alone."""

    def __init__(self, call: Callable[[], Awaitable[Any]]) -> None:
        self._call = call
        self._stream: AsyncIterator[Chunk] | None = None
        self._ahead: asyncio.Task[Chunk | None] | None = None

    def begin(self) -> None:
        """Ask the model now; its first chunk is read while something else is waited for."""
        self._ahead = asyncio.create_task(self._read())

    async def ready_beside(self, checks: Sequence[asyncio.Future[Any]]) -> bool:
        """Wait for the next chunk or a check; False where a check came first."""
        if self._ahead is None:
            if not checks:
                return True
            self.begin()
        assert self._ahead is not None  # noqa: S101  # for the type checker
        await asyncio.wait({self._ahead, *checks}, return_when=asyncio.FIRST_COMPLETED)
        return self._ahead.done()

    async def next(self) -> Chunk | None:
        """Return the next chunk, None at the end."""
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
        if self._stream is None:
            self._stream = cast(AsyncIterator[Chunk], await self._call())
        return await anext(self._stream, None)
