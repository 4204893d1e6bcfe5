"""Callers that ask within a few milliseconds of each other are answered together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from lightspeed_providers.core.errors import UnavailableError


class MicroBatches[Item, Found]:
    """A bounded queue before a function that answers many items in one call.

    A fault reaches the callers whose items were in the failed call, and no others. A call that
    nobody waits for any more is cancelled. Belongs to the event loop it is first used in.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Item]], Awaitable[Sequence[Found]]],
        *,
        size: int,
        linger_s: float,
        most_calls: int,
        most_waiting: int,
    ) -> None:
        self._answer = answer
        self._size = size
        self._linger_s = linger_s
        self._most_calls = most_calls
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[Item, asyncio.Future[Found]]] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, items: Sequence[Item]) -> list[Found]:
        """Return what was found for each item, in their order; raises where too many wait."""
        self._admit(len(items))
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Found]] = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        self._start_full_calls()
        try:
            return await asyncio.gather(*futures)
        finally:
            for future in futures:
                future.cancel()

    async def aclose(self) -> None:
        """Cancel every call; who still waits is told so."""
        for _, future in self._waiting:
            _fail(future, UnavailableError("The shield was closed."))
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _admit(self, more: int) -> None:
        if len(self._waiting) + more <= self._most_waiting:
            return
        self._waiting = deque(waits for waits in self._waiting if not waits[1].done())
        waiting = len(self._waiting)
        if waiting and waiting + more > self._most_waiting:
            raise UnavailableError(
                f"Too many texts wait to be checked ({waiting} of {self._most_waiting}): try again "
                "in a moment."
            )

    def _start_full_calls(self) -> None:
        while len(self._waiting) >= self._size and len(self._calls) < self._most_calls:
            self._start_call()
        if self._waiting and self._timer is None and len(self._calls) < self._most_calls:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._linger_s, self._lingered)

    def _lingered(self) -> None:
        self._timer = None
        if self._waiting and len(self._calls) < self._most_calls:
            self._start_call()
        self._start_full_calls()

    def _start_call(self) -> None:
        batch: list[tuple[Item, asyncio.Future[Found]]] = []
        while self._waiting and len(batch) < self._size:
            item, future = self._waiting.popleft()
            if not future.done():
                batch.append((item, future))
        if not batch:
            return
        call = asyncio.create_task(self._call(batch))
        self._calls.add(call)
        call.add_done_callback(self._ended)
        for _, future in batch:
            future.add_done_callback(lambda _: _cancel_unwanted(call, batch))

    async def _call(self, batch: Sequence[tuple[Item, asyncio.Future[Found]]]) -> None:
        try:
            found = await self._answer([item for item, _ in batch])
            answers = list(zip(batch, found, strict=True))
        except asyncio.CancelledError:
            for _, future in batch:
                _fail(future, UnavailableError("The shield was closed."))
            raise
        except Exception as fault:  # whatever it is, the callers get it
            for _, future in batch:
                _fail(future, fault)
            return
        for (_, future), one in answers:
            if not future.done():
                future.set_result(one)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if self._waiting and self._timer is None:
            self._lingered()


def _cancel_unwanted[Item, Found](
    call: asyncio.Task[None], batch: Sequence[tuple[Item, asyncio.Future[Found]]]
) -> None:
    if all(future.cancelled() for _, future in batch):
        call.cancel()


def _fail[Found](future: asyncio.Future[Found], fault: Exception) -> None:
    if not future.done():
        future.set_exception(fault)
