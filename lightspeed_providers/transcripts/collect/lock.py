"""One collector at a time in a storage; a killed one does not block."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError, UnavailableError

from .stop import Stop

logger = logging.getLogger(__name__)

LOCK = ".lightspeed-collect.lock"
_LOOK_EVERY_S = 0.1


@contextmanager
def sole_collector(storage: Path, timeout_s: float, stop: Stop) -> Iterator[bool]:
    """Hold the right to collect a storage; false where the wait was stopped."""
    from filelock import FileLock, Timeout

    path = storage / LOCK
    lock = FileLock(path, mode=0o600)
    ends = time.monotonic() + timeout_s
    told = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            owner = _owner(path)
            if time.monotonic() >= ends:
                raise UnavailableError(
                    f"Storage '{storage}' is being collected by {owner} for more than "
                    f"{timeout_s:.0f} s: wait until it is done, or end it."
                ) from None
            if not told:
                logger.warning("Storage '%s' is being collected by %s: waiting.", storage, owner)
                told = True
            if stop.wait(_LOOK_EVERY_S):
                yield False
                return
        except OSError as fault:
            raise ConfigurationError(
                f"Storage '{storage}' can't be written ({fault.strerror}): make it writable."
            ) from fault
    try:
        with contextlib.suppress(OSError):
            path.write_text(str(os.getpid()))
        yield True
    finally:
        lock.release()


def _owner(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return f"process {int(path.read_text()[:20])}"
    return "another process"
