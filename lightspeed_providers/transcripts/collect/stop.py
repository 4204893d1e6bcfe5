"""A wish to stop that a signal handler may make at any moment."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_S = 10.0
"""How long a request that has begun may still take after the first signal."""


class Stop:
    """Set once; a wait for it ends at once. An Event's lock could be held by the very thread
    that the handler runs in.
    """

    def __init__(self) -> None:
        self._asked = False
        self._reader, self._writer = os.pipe()

    def set(self) -> None:
        """Wish to stop."""
        self._asked = True
        os.write(self._writer, b".")

    def is_set(self) -> bool:
        """Whether somebody wished to stop."""
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Wait for that long, or until somebody wishes to stop; true if so."""
        if not self._asked:
            select.select([self._reader], [], [], max(0.0, seconds))
        return self._asked


class AbandonedError(BaseException):
    """What is being done ends here; nothing is lost by that at any point."""


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop; a second one, or the end of the grace, abandons."""

    def asked(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise AbandonedError
        stop.set()
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)

    def too_late(number: int, frame: FrameType | None) -> None:
        raise AbandonedError

    handlers = {signal.SIGTERM: asked, signal.SIGINT: asked, signal.SIGALRM: too_late}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
