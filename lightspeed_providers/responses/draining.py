"""A server that is told to stop lets answers finish for a while, then ends them.

The web server waits for its connections without an end, and whoever told it to stop kills it in
the end: what it was answering then would be lost.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Draining:
    """Calls `end` once the process has been told to stop and the time is over."""

    def __init__(self, end: Callable[[], None], grace_s: float) -> None:
        self._end = end
        self._grace_s = grace_s
        self._listens = False

    def listen(self) -> None:
        """Listen for signals beside a web server that does, from its event loop."""
        if self._listens:
            return
        self._listens = True
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in _SIGNALS:
                self._listen_for(number, loop)

    def _listen_for(self, number: signal.Signals, loop: asyncio.AbstractEventLoop) -> None:
        server = signal.getsignal(number)
        if not callable(server) or server is signal.default_int_handler:
            return  # nobody waits for connections

        def told(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(loop.call_later, self._grace_s, self._end)
            server(number, frame)

        signal.signal(number, told)
