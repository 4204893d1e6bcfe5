"""Work that is done again and again while a loop runs, without a task that waits for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

FIRST_AFTER_S = 5.0
"""A server that is restarted more often than the interval must get to its work too."""


class Periodic:
    """Does its work every `interval_s`, first a little after the first `touch` in a loop.

    Between two runs there is only a timer: Llama Stack's library client waits for every task of
    its loop after each request.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], interval_s: float) -> None:
        self._work = work
        self._interval_s = interval_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._stopped = False

    def touch(self) -> None:
        """Go on in the running loop, unless that is so already or `stop` was called."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop and not self._stopped:
            self._cancel_timer()
            self._loop, self._task = loop, None
            self._timer = loop.call_later(min(self._interval_s, FIRST_AFTER_S), self._begin)

    async def stop(self, within_s: float) -> None:
        """End for good; work that runs longer than this is cancelled."""
        self._stopped = True
        self._cancel_timer()
        task = self._task
        if task is None or task.done() or self._loop is not asyncio.get_running_loop():
            return
        await asyncio.wait((task,), timeout=within_s)
        task.cancel()

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._work()
        except Exception as error:
            if not self._failing:
                logger.warning("Failed at %s, goes on: %s", self._name, type(error).__name__)
            self._failing = True
        else:
            self._failing = False
        finally:
            self._task = None
            if not self._stopped:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._interval_s, self._begin)

    @property
    def _name(self) -> str:
        return getattr(self._work, "__qualname__", type(self._work).__name__)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
