"""Files that are there whole, or not at all."""

import ctypes
import os
from pathlib import Path
from typing import BinaryIO

from lightspeed_providers.core.durable import sync
from lightspeed_providers.core.errors import UnavailableError


class ExportFailedError(UnavailableError):
    """A directory can't be written."""

    def __init__(self, directory: Path, error: OSError) -> None:
        super().__init__(
            f"Failed to export into '{directory}' ({error.strerror or type(error).__name__}): "
            "make it writable, with room on its disk, and run the export again; it goes on."
        )


def private_file(path: Path) -> BinaryIO:
    """A new or emptied file that only its owner may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def write_new(path: Path, data: bytes) -> None:
    """Write a whole file; the disk may still have to take it."""
    with private_file(path) as file:
        file.write(data)


def sync_all(directory: Path) -> None:
    """Return when the disk has everything below: for many files far cheaper than one by one."""
    if _SYNCFS is None:
        os.sync()
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        if _SYNCFS(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(descriptor)


def replace_durably(path: Path, data: bytes) -> None:
    """Put a whole file in the place of another, on the disk when this returns."""
    draft = draft_of(path)
    write_new(draft, data)
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def draft_of(path: Path) -> Path:
    """Where a file is written before it gets its name; the next try overwrites it."""
    return path.with_name(f".{path.name}.part")


# Linux has it, Python does not offer it.
_SYNCFS = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
