"""One writer a directory: builds, changes in place and sealing take turns."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError, UnavailableError

LOCK = ".lock"
PATIENCE_S = 10.0
_LOOK_EVERY_S = 0.02


@contextmanager
def sole_writer(directory: Path, timeout_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold the right to write a directory; it ends with the process, however that ends."""
    path = directory / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as fault:
        raise ConfigurationError(
            f"Index directory '{directory}' can't be written ({fault.strerror}): "
            "make it writable or choose another one."
        ) from fault
    try:
        _wait(descriptor, directory, timeout_s)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, directory: Path, timeout_s: float) -> None:
    ends = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            if time.monotonic() >= ends:
                owner = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
                raise UnavailableError(
                    f"Index '{directory}' is being written by process {owner}: wait until it is "
                    "done and try again."
                ) from fault
            time.sleep(_LOOK_EVERY_S)
        else:
            return
