"""Shields that change while the server runs: by SIGHUP, or because a file has changed.

Files are looked at rather than listened to: that notices editors that write a new file, links that
Kubernetes swaps, and volumes whose changes no kernel announces, all in the same way.
"""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.safety import metrics
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.rebuilding import Marks, changed_shields

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0

Read = Callable[[], LightspeedShieldsConfig]
"""Returns what is configured now. It may block."""

Apply = Callable[[LightspeedShieldsConfig, frozenset[str]], Awaitable[None]]
"""Puts a configuration in the place of the old one, given the ids of shields to be built anew.

Raises a `ConfigurationError` where it is wrong, and leaves the old one in use."""


class Reloader:
    """Looks for a changed configuration and has it applied, one at a time."""

    def __init__(
        self,
        path: Path,
        config: LightspeedShieldsConfig,
        read: Read,
        apply: Apply,
        *,
        every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._path = path
        self._config = config
        self._read = read
        self._apply = apply
        self._every_s = every_s
        self._marks = self._in_use = self._look()
        self._task: asyncio.Task[None] | None = None
        self._hung_up = asyncio.Event()
        self._signals: contextlib.ExitStack | None = None
        self.problem: str | None = None
        """Why the newest configuration is not in use, in one line."""

    def start(self) -> None:
        """Begin to look, in the running event loop; once is enough."""
        loop = asyncio.get_running_loop()
        task = self._task
        if task is not None and not task.done() and task.get_loop() is loop:
            return
        self._hung_up = asyncio.Event()
        self._task = loop.create_task(self._watch())
        self._listen(loop)

    async def aclose(self) -> None:
        """Stop looking; a reload that has begun ends first or not at all."""
        if self._signals is not None:
            self._signals.close()
            self._signals = None
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self) -> None:
        """Reload on a signal at once, and on a change when the files have come to rest."""
        candidate = self._marks
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hung_up.wait(), self._every_s)
            asked = self._hung_up.is_set()
            self._hung_up.clear()
            found = await asyncio.to_thread(self._look)
            at_rest, candidate = found == candidate, found
            if asked or (at_rest and found != self._marks):
                await self._reload(found)

    async def _reload(self, found: Marks) -> None:
        self._marks = found
        try:
            config = await asyncio.to_thread(self._read)
            self._check_fixed(config)
            changed = changed_shields(self._config, config, self._in_use, found)
            removed = self._config.shields.keys() - config.shields.keys()
            # Their order is the order in which they run.
            same = list(config.shields) == list(self._config.shields)
            if not changed and same and self.problem is None:
                log.info("Shields are as they were")
                return
            await self._apply(config, changed)
        except ConfigurationError as fault:
            self._refuse(_without_values(fault))
        except Exception as fault:  # a file or a library may fail in any way; the old ones serve on
            self._refuse(f"the reload ended in {type(fault).__name__}")
        else:
            self._config, self.problem = config, None
            self._marks = self._in_use = await asyncio.to_thread(self._look, found)
            metrics.reloads.add(1, {"outcome": "swapped"})
            log.info(
                "Shields reloaded: %s changed, %s removed, %d in all",
                ", ".join(sorted(changed)) or "none",
                ", ".join(sorted(removed)) or "none",
                len(config.shields),
            )

    def _refuse(self, line: str) -> None:
        self.problem = line
        metrics.reloads.add(1, {"outcome": "refused"})
        log.error("Shields not reloaded, the old ones stay in use: %s", line)

    def _check_fixed(self, config: LightspeedShieldsConfig) -> None:
        if config.composite_id != self._config.composite_id:
            raise ConfigurationError(
                f"composite_id changed to '{config.composite_id}': restart the server for that."
            )

    def _look(self, known: Marks | None = None) -> Marks:
        """Return the marks of all files; of those that are known already, the known ones."""
        files = (self._path, *(f for o in self._config.shields.values() for f in o.files))
        return {file: (known or {}).get(file, _mark(file)) for file in files}

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take SIGHUP, and pass it on to who had it; only the main thread may do so."""
        if threading.current_thread() is not threading.main_thread():
            return
        if self._signals is not None:
            self._signals.close()
        before = signal.getsignal(signal.SIGHUP)

        def hang_up(number: int, frame: FrameType | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._hung_up.set)
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGHUP, hang_up)
        self._signals = contextlib.ExitStack()
        self._signals.callback(_hand_back, hang_up, before)


def _mark(file: Path) -> tuple[int, int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _without_values(fault: ConfigurationError) -> str:
    """Return what is wrong without what the operator wrote there: a log is read by more people."""
    cause = fault.__context__
    if not isinstance(cause, ValidationError):
        return str(fault)
    places = dict.fromkeys(
        ".".join(str(part) for part in error["loc"]) for error in cause.errors(include_url=False)
    )
    return f"{', '.join(filter(None, places))} is wrong; `lightspeed shields check` says why."


def _hand_back(ours: Callable[[int, FrameType | None], None], before: object) -> None:
    if signal.getsignal(signal.SIGHUP) is ours:
        signal.signal(signal.SIGHUP, before if callable(before) else signal.SIG_DFL)
