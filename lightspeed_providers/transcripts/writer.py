"""A bounded queue between requests and a database, written in batches.

A task lives only while there is something to write, and a retry is a timer instead of a sleeping
task: Llama Stack's library client waits for every task of its loop after each request.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from . import metrics

logger = logging.getLogger(__name__)

FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 5.0
ATTEMPT_TIMEOUT_S = 10.0


class AwayError(Exception):
    """The database can't be reached now; the same rows may be written later."""


@dataclass(frozen=True, slots=True)
class _Queued[T]:
    item: T
    written: asyncio.Future[bool]


class BatchWriter[T]:
    """Takes items at once and writes them in order, as soon as the database lets it."""

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[None]],
        *,
        max_queued: int,
        max_batch: int,
    ) -> None:
        self._write = write
        self._max_queued = max_queued
        self._max_batch = max_batch
        self._queue: deque[_Queued[T]] = deque()
        self._alone = 0  # items at the head to write one by one, because a batch was refused
        self._failures = 0
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self.written = 0
        self.dropped = 0

    def put(self, item: T) -> asyncio.Future[bool] | None:
        """A future that tells whether the item was written, or None where it was dropped."""
        if len(self._queue) >= self._max_queued:
            self._drop(1, "queue_full")
            return None
        queued = _Queued(item, asyncio.get_running_loop().create_future())
        self._queue.append(queued)
        self._wake()
        return queued.written

    async def settled(self, within_s: float) -> None:
        """Wait until what is queued now is written or dropped, or the time is over."""
        if self._queue:
            await asyncio.wait((self._queue[-1].written,), timeout=within_s)

    async def drain(self, within_s: float) -> None:
        """Write all that is queued; what is left when the time is over is dropped."""
        if self._draining:  # one at a time, or both would take the same items
            await self.settled(within_s)
            return
        self._draining = True
        try:
            async with asyncio.timeout(within_s):
                await self._stop()
                while self._queue:
                    if not await self._write_head():
                        await asyncio.sleep(self._pause_s())
        except TimeoutError:
            left = len(self._queue)
            self._take(left, written=False)
            self._drop(left, "shutdown")
        finally:
            self._draining = False

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # what an earlier loop left behind never runs again
            self._loop, self._task, self._retry = loop, None, None
        busy = self._task is not None and not self._task.done()
        if not busy and self._retry is None and not self._draining:
            self._task = loop.create_task(self._run())

    async def _stop(self) -> None:
        if self._loop is not asyncio.get_running_loop():
            return
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._task is not None and not self._task.done():
            try:
                await asyncio.wait((self._task,))
            except asyncio.CancelledError:
                self._task.cancel()
                raise

    async def _run(self) -> None:
        while self._queue:
            if not await self._write_head():
                if not self._draining:
                    loop = asyncio.get_running_loop()
                    self._retry = loop.call_later(self._pause_s(), self._try_again)
                return

    def _try_again(self) -> None:
        self._retry = None
        self._wake()

    def _pause_s(self) -> float:
        return float(min(FIRST_RETRY_S * 2 ** min(self._failures - 1, 10), LONGEST_RETRY_S))

    async def _write_head(self) -> bool:
        """Write the oldest batch; False where the database is away."""
        size = 1 if self._alone else self._max_batch
        batch = tuple(islice(self._queue, size))
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                await self._write([queued.item for queued in batch])
        except (AwayError, TimeoutError) as error:
            self._failures += 1
            if self._failures == 1:
                logger.warning("Failed to write transcripts, %d wait: %s", len(self._queue), error)
            return False
        except Exception as error:
            # Whatever is wrong with one item must not block those behind it.
            if len(batch) > 1:
                self._alone = len(batch)
            else:
                logger.error("A transcript can't be stored: %s", type(error).__name__)
                self._take(1, written=False)
                self._drop(1, "refused")
            return True
        if self._failures:
            logger.warning("Transcripts are written again after %d failures", self._failures)
            self._failures = 0
        self._take(len(batch), written=True)
        return True

    def _take(self, count: int, *, written: bool) -> None:
        for _ in range(count):
            future = self._queue.popleft().written
            if not future.done() and not future.get_loop().is_closed():
                future.set_result(written)
        self._alone = max(self._alone - count, 0)
        if written:
            self.written += count
            metrics.written.add(count)

    def _drop(self, count: int, reason: str) -> None:
        # A long outage must not fill the log: the first of a row of drops, then every 1000th.
        if self.dropped // 1000 != (self.dropped + count) // 1000 or self.dropped == 0:
            logger.error("Dropped %d transcripts so far, now for: %s", self.dropped + count, reason)
        self.dropped += count
        metrics.dropped.add(count, {"reason": reason})
