"""What is checked once the server's models have loaded, and ends the process where it is wrong.

Providers are built in an event loop that is thrown away, before models have loaded. What a room can
only find out later it leaves here; the server's own loop runs it, and `GET /readiness` shows it.
"""

import asyncio
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from lightspeed_providers.core.errors import ConfigurationError, UnavailableError
from lightspeed_providers.core.readiness import Readiness, State, board

log = logging.getLogger(__name__)

_LOADING_S = 300.0
"""Seconds after which nothing is waited for any more: what still loads may need the check."""
_LOOK_EVERY_S = 0.1
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_FAILED = 1
_FAILED_WORKER = 3
"""The status on which uvicorn starts no other worker in the place of one that ended."""

Check = Callable[[], Awaitable[str]]
"""Returns a line about what was found right; raises `ConfigurationError` where the start has to
stop, `UnavailableError` where it can't be said yet."""


_names: set[str] = set()
"""Checks do not wait for each other."""


class StartCheck:
    """A check that is run once for all who ask, in whichever event loop serves."""

    def __init__(self, name: str, check: Check, *, readiness: Readiness = board) -> None:
        self.name = name
        self._check = check
        self._board = readiness
        self._attempt: asyncio.Task[None] | None = None
        self._watched = False
        self._passed = False
        self._next_try = 0.0
        _names.add(name)

    @property
    def is_served(self) -> bool:
        """Whether a server runs it, and not the first caller of a library client."""
        return self._watched

    async def ensure(self) -> None:
        """Make sure that the check was tried; raise a `ConfigurationError` where it failed.

        Where a server runs it already, nothing is waited for: it ends that server by itself. One
        that could not be made is tried again after a while.
        """
        if self._passed or self._watched:
            return
        if self._attempt is None or _is_over(self._attempt):
            if time.monotonic() < self._next_try:
                return
            self._attempt = asyncio.create_task(self._try())
        try:
            await asyncio.shield(self._attempt)
        except UnavailableError as fault:
            self._next_try = time.monotonic() + _LONGEST_PAUSE_S
            self._board.report(self.name, State.LOADING, str(fault))
            log.warning("%s: %s", self.name, fault)

    def expect(self) -> None:
        """Say that the check will be made, also a second time; nobody is ready before."""
        self._watched, self._passed = True, False
        self._board.report(self.name, State.LOADING, "not checked yet")

    async def watch(self, pause_s: float = _FIRST_PAUSE_S) -> None:
        """Try the check until it passes, from when everything else has loaded."""
        self.expect()
        try:
            await self._others_loaded()
            while not self._passed:
                try:
                    await self._try()
                except UnavailableError as fault:
                    log.warning("%s: %s", self.name, fault)
                    line = f"{fault}; tried again in {pause_s:g} s"
                    self._board.report(self.name, State.LOADING, line)
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self._watched = False

    async def _try(self) -> None:
        try:
            line = await self._check()
        except ConfigurationError as fault:
            self._board.report(self.name, State.FAILED, str(fault))
            raise
        except UnavailableError:
            raise
        except Exception as fault:  # whatever it was, it says nothing about the configuration
            raise UnavailableError(f"the check ended in {type(fault).__name__}") from fault
        self._board.report(self.name, State.READY, line)
        self._passed = True

    async def _others_loaded(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LOADING_S
        while self._loading() and loop.time() < deadline:  # noqa: ASYNC110  threads report
            await asyncio.sleep(_LOOK_EVERY_S)

    def _loading(self) -> bool:
        return any(
            component.state is State.LOADING and component.name not in _names
            for component in self._board.components()
        )


_waiting: dict[str, StartCheck] = {}
_lock = threading.Lock()


def at_start(name: str, check: Check) -> StartCheck:
    """Leave a check for the server that is being built; a later one of the name takes its place."""
    made = StartCheck(name, check)
    with _lock:
        _waiting[name] = made
    return made


def take_start_checks() -> list[StartCheck]:
    """Return the checks that were left since this was last called."""
    with _lock:
        taken = list(_waiting.values())
        _waiting.clear()
    return taken


@asynccontextmanager
async def running(checks: Sequence[StartCheck]) -> AsyncIterator[None]:
    """Run checks in the background; one that finds the configuration wrong ends the process."""
    for check in checks:
        check.expect()
    tasks = [asyncio.create_task(_watch_or_end(check)) for check in checks]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch_or_end(check: StartCheck) -> None:
    try:
        await check.watch()
    except ConfigurationError as fault:
        _end_process(str(fault))


def _end_process(line: str) -> None:
    """End at once with one line, as a configuration that is wrong before the start does."""
    sys.stdout.flush()
    print(f"lightspeed: {line}", file=sys.stderr, flush=True)
    # An ordinary end would wait for the requests and threads of a process that can't serve.
    os._exit(_FAILED if multiprocessing.parent_process() is None else _FAILED_WORKER)


def _is_over(task: asyncio.Task[None]) -> bool:
    """Tell an attempt that settled nothing, or whose event loop is gone, from one to wait for."""
    if task.done():
        if task.cancelled():
            return True
        return not isinstance(task.exception(), ConfigurationError)
    return task.get_loop() is not asyncio.get_running_loop()
