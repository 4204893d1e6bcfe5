"""The directories of the configuration, kept up with the store while the server runs."""

import os
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from lightspeed_providers.core.errors import ConfigurationError

from .export.exporter import ChangeSource, Exporter
from .export.state import ExportBusyError, Format
from .rows import Kind

AT_ONCE = 5_000
"""How many changes one run of the timer writes; the next goes on."""

BUSY_FOR_S = 30.0
"""How long a removal waits for an export that has the directory, this process's own or another."""


class ContinuousExport:
    """Writes what is new into the directories, and takes out what was removed."""

    def __init__(self, changes: ChangeSource, directories: Mapping[Kind, Path | None]) -> None:
        self._exporters = [
            Exporter(changes, directory.expanduser(), Format.TREE, (kind,))
            for kind, directory in directories.items()
            if directory is not None
        ]

    @property
    def is_needed(self) -> bool:
        """Whether there is any directory."""
        return bool(self._exporters)

    def check(self) -> None:
        """Refuse a directory that can't be written."""
        for exporter in self._exporters:
            _try(exporter.directory)

    async def keep_up(self) -> None:
        """Write some of what is new; a directory that another process writes into is left to it."""
        for exporter in self._exporters:
            try:
                await exporter.run_once(limit=AT_ONCE)
            except ExportBusyError:
                continue

    async def finish(self) -> None:
        """Have in the directories exactly what is in the store now."""
        for exporter in self._exporters:
            await exporter.run_once(wait_s=BUSY_FOR_S)


def _try(directory: Path) -> None:
    trial = directory / f".{uuid4().hex}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        trial.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"Directory '{directory}' can't be written ({error.strerror}): make it writable, or "
            "set transcripts_storage and feedback_storage to other ones or to none."
        ) from error
