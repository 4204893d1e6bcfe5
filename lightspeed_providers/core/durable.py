"""What is on the disk, not only on its way there."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Return when the disk has what the file, or the list of names in the directory, holds."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
