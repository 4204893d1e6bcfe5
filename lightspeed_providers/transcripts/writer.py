"""A bounded queue between requests and a database, written in batches.

A task lives only while there is something to write, and pauses are timers instead of sleeping
tasks: Llama Stack's library client waits for every task of its loop after each request.
"""

import asyncio
import atexit
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol
from weakref import WeakSet

from . import metrics

logger = logging.getLogger(__name__)

FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 5.0
ATTEMPT_TIMEOUT_S = 10.0
AWAY_AFTER_FAILURES = 3


class AwayError(Exception):
    """The database can't be reached now; the same rows may be written later."""


class SafePlace[T](Protocol):
    """Where items outlive the process while the database is away."""

    def keep(self, rows: Sequence[T]) -> int:
        """How many of the rows, from the first on, are safe now."""
        ...

    def forget(self) -> None:
        """Remove what was kept, because the database has it."""
        ...

    def release(self) -> None:
        """Leave what was kept to whoever recovers it."""
        ...

    async def recover(self, insert: Callable[[Sequence[T]], Awaitable[None]]) -> object:
        """Put what earlier processes left into the database."""
        ...


@dataclass(frozen=True, slots=True)
class _Queued[T]:
    item: T
    settled: asyncio.Future[bool]


class BatchWriter[T]:
    """Takes items at once and writes them in order, as soon as the database lets it.

    With a safe place, nothing that was taken is lost with the process: what the database has not
    got by then goes there, and the next process that uses the place writes it.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[None]],
        *,
        max_queued: int,
        max_batch: int,
        spill: SafePlace[T] | None = None,
        linger_s: float = 0.0,
    ) -> None:
        self._write = write
        self._max_queued = max_queued
        self._max_batch = max_batch
        self._spill = spill
        self._linger_s = linger_s
        self._queue: deque[_Queued[T]] = deque()
        self._alone = 0  # items at the head to write one by one, because a batch was refused
        self._taken = 0  # items that ever left the queue
        self._safe_until = 0  # as many of all items, counted from the first, are in the safe place
        self._failures = 0
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._spilling = asyncio.Lock()
        self._recovery: asyncio.Task[None] | None = None
        self._recovery_timer: asyncio.TimerHandle | None = None
        self.written = 0
        self.dropped = 0
        self.spilled = 0
        if spill is not None:
            _with_safe_place.add(self)

    def put(self, item: T) -> asyncio.Future[bool] | None:
        """A future that tells whether the item was kept, or None where it was dropped."""
        self.touch()
        if len(self._queue) >= self._max_queued:
            self._drop(1, "queue_full")
            return None
        queued = _Queued(item, asyncio.get_running_loop().create_future())
        self._queue.append(queued)
        self._wake(self._linger_s if len(self._queue) < self._max_batch else 0)
        return queued.settled

    async def put_durably(self, item: T, within_s: float) -> bool:
        """Put the item and wait until it is on disk; False where it is not in time.

        While the database is away, or where it takes longer than `within_s`, that is in the safe
        place.
        """
        settled = self.put(item)
        if settled is None:
            return False
        number = self._taken + len(self._queue)
        self._wake()
        if not self._failures:
            await asyncio.wait((settled,), timeout=within_s)
        if not settled.done():
            await self._secure()
        return settled.result() if settled.done() else self._safe_until >= number

    def touch(self) -> None:
        """In a loop that is new, begin to recover what earlier processes left."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        # What an earlier loop left behind never runs again.
        self._loop, self._task, self._timer = loop, None, None
        self._spilling, self._recovery, self._recovery_timer = asyncio.Lock(), None, None
        self._recover_soon()
        if self._queue:
            self._wake()

    async def settled(self, within_s: float) -> None:
        """Wait until what is queued or left now is written or dropped, or the time is over."""
        self.touch()
        waiting: set[asyncio.Future[bool] | asyncio.Task[None]] = set()
        if self._queue:
            if not self._failures:
                self._wake()
            waiting.add(self._queue[-1].settled)
        if self._recovery is not None:
            waiting.add(self._recovery)
        if waiting:
            await asyncio.wait(waiting, timeout=within_s)

    async def drain(self, within_s: float) -> None:
        """Write all that is queued; what is left when the time is over goes to the safe place."""
        if self._draining:  # one at a time, or both would take the same items
            await self.settled(within_s)
            return
        self._draining = True
        try:
            async with asyncio.timeout(within_s):
                if self._failures:
                    await self._secure()  # first, in case that the process is not given its time
                await self._stop()
                while self._queue:
                    if not await self._write_head():
                        await self._secure()
                        await asyncio.sleep(self._pause_s())
        except TimeoutError:
            await self._leave_the_rest()
        finally:
            self._draining = False  # at once: a turn that comes now has to find a drain of its own
        await self._stop_recovery()

    def _wake(self, linger_s: float = 0.0) -> None:
        """Write in at most that time, unless a failure asks for a longer pause."""
        loop = asyncio.get_running_loop()
        if self._draining or (self._task is not None and not self._task.done()):
            return
        if self._timer is not None:
            if linger_s or self._failures:
                return
            self._timer.cancel()
            self._timer = None
        if linger_s:
            self._timer = loop.call_later(linger_s, self._try)
        else:
            self._task = loop.create_task(self._run())

    def _try(self) -> None:
        self._timer = None
        self._wake()

    async def _stop(self) -> None:
        if self._loop is not asyncio.get_running_loop():
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None and not self._task.done():
            try:
                await asyncio.wait((self._task,))
            except asyncio.CancelledError:
                self._task.cancel()
                raise

    async def _run(self) -> None:
        while self._queue:
            if not await self._write_head():
                if self._failures >= AWAY_AFTER_FAILURES:
                    await self._secure()
                if not self._draining:
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(self._pause_s(), self._try)
                return

    def _pause_s(self) -> float:
        return float(min(FIRST_RETRY_S * 2 ** min(self._failures - 1, 10), LONGEST_RETRY_S))

    async def _write_head(self) -> bool:
        """Write the oldest batch; False where the database is away."""
        size = 1 if self._alone else self._max_batch
        batch = tuple(islice(self._queue, size))
        try:
            await self._attempt([queued.item for queued in batch])
        except AwayError as error:
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
                self._take(1, kept=False)
                self._drop(1, "refused")
                await self._forget_if_written()
            return True
        was_away, self._failures = self._failures > 0, 0
        self._take(len(batch), kept=True)
        self.written += len(batch)
        metrics.written.add(len(batch))
        if was_away:
            logger.warning("Transcripts are written again")
            self._recover_soon()
        await self._forget_if_written()
        return True

    async def _attempt(self, items: Sequence[T]) -> None:
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                await self._write(items)
        except TimeoutError as error:
            raise AwayError(f"no answer in {ATTEMPT_TIMEOUT_S:.0f} s") from error

    def _take(self, count: int, *, kept: bool) -> None:
        for _ in range(count):
            future = self._queue.popleft().settled
            if not future.done() and not future.get_loop().is_closed():
                future.set_result(kept)
        self._taken += count
        self._alone = max(self._alone - count, 0)

    async def _secure(self) -> None:
        """Have a copy of all that is queued in the safe place."""
        if self._spill is None:
            return
        async with self._spilling:
            keeping = asyncio.ensure_future(asyncio.to_thread(self._keep, *self._unsafe()))
            try:
                await asyncio.shield(keeping)
            except asyncio.CancelledError:
                await keeping  # a thread can't be stopped, and what it kept has to be known
                raise

    def _unsafe(self) -> tuple[int, list[T]]:
        """The queued items that are in no safe place, and the number of those before them."""
        before = max(self._safe_until, self._taken)
        items = [queued.item for queued in islice(self._queue, before - self._taken, None)]
        return before, items

    def _keep(self, before: int, items: list[T]) -> None:
        if self._spill is not None and items:
            self._safe_until = before + self._spill.keep(items)

    async def _forget_if_written(self) -> None:
        if self._spill is None or not self._safe_until or self._taken < self._safe_until:
            return
        async with self._spilling:
            if self._taken >= self._safe_until:
                await asyncio.to_thread(self._spill.forget)
                self._safe_until = 0

    async def _leave_the_rest(self) -> None:
        while self._queue:  # turns may go on to finish
            await self._secure()
            if not self._leave_safe():
                break
        self._drop_the_rest()

    def _leave_safe(self) -> int:
        """Leave what is in the safe place to the next process."""
        safe = min(max(self._safe_until - self._taken, 0), len(self._queue))
        self._take(safe, kept=True)
        self.spilled += safe
        metrics.spilled.add(safe)
        return safe

    def _drop_the_rest(self) -> None:
        left = len(self._queue)
        self._take(left, kept=False)
        self._safe_until = 0
        if self._spill is not None:
            self._spill.release()
        if self.spilled:
            logger.warning("Left %d transcripts in a file for the next start", self.spilled)
        if left:
            self._drop(left, "shutdown")

    def _recover_soon(self, in_s: float = 0.0) -> None:
        if self._spill is None or self._draining:
            return
        if self._recovery is not None and not self._recovery.done():
            return
        if self._recovery_timer is not None:
            self._recovery_timer.cancel()
            self._recovery_timer = None
        loop = asyncio.get_running_loop()
        if in_s:
            self._recovery_timer = loop.call_later(in_s, self._recover_soon)
        else:
            self._recovery = loop.create_task(self._recover(self._spill))

    async def _recover(self, spill: SafePlace[T]) -> None:
        try:
            await spill.recover(self._attempt)
        except AwayError:
            self._recovery = None
            self._recover_soon(LONGEST_RETRY_S)
        except Exception as error:
            logger.error("Failed to recover transcripts: %s", type(error).__name__)

    async def _stop_recovery(self) -> None:
        if self._recovery_timer is not None:
            self._recovery_timer.cancel()
            self._recovery_timer = None
        if self._recovery is not None and self._loop is asyncio.get_running_loop():
            self._recovery.cancel()
            await asyncio.wait((self._recovery,), timeout=1)

    def _drop(self, count: int, reason: str) -> None:
        # A long outage must not fill the log: the first of a row of drops, then every 1000th.
        if self.dropped // 1000 != (self.dropped + count) // 1000 or self.dropped == 0:
            logger.error("Dropped %d transcripts so far, now for: %s", self.dropped + count, reason)
        self.dropped += count
        metrics.dropped.add(count, {"reason": reason})

    def _at_exit(self) -> None:
        """Keep what is queued where the process ends without a drain."""
        if self._queue:
            self._keep(*self._unsafe())
            self._leave_safe()
            self._drop_the_rest()


_with_safe_place: WeakSet[BatchWriter[Any]] = WeakSet()  # Any: of whatever items


@atexit.register
def _keep_at_exit() -> None:
    for writer in _with_safe_place:
        writer._at_exit()
