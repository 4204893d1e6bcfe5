"""A stream, read one chunk ahead while something else is waited for."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any


class ReadAhead[Chunk](ABC):
    """Chunks of a model's answer that nobody waits for alone."""

    def __init__(self) -> None:
        self._stream: AsyncIterator[Chunk] | None = None
        self._ahead: asyncio.Task[Chunk | None] | None = None

    @abstractmethod
    async def _read(self) -> Chunk | None:
        """Return the next chunk, None at the end; the first time, ask the model."""

    def begin(self) -> None:
        """Ask the model now; its first chunk is read while something else is waited for."""
        self._ahead = asyncio.create_task(self._read())

    async def ready_beside(self, checks: Sequence[asyncio.Future[Any]]) -> bool:
        """Wait for the next chunk or a check; False where a check came first."""
        if self._ahead is None:
            if not checks:
                return True
            self.begin()
        ahead = self._ahead
        waiting = [ahead, *checks] if ahead is not None else checks
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return ahead is not None and ahead.done()

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
