"""Keeps a directory up with the store, as often as it is run."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.progress import Report
from lightspeed_providers.transcripts.rows import Change, Kind

from . import parts
from .durable import ExportFailedError
from .run import Exported, Run, Target
from .state import Format, Holds, Lock, open_state
from .tree import MAX_FILES, Tree

PAGE = 200


class ChangeSource(Protocol):
    """What is exported, in the order of commits."""

    async def changes(self, after_seq: int, *, limit: int) -> list[Change]:
        """The changes after this one, in their order."""
        ...

    async def newest_seq(self) -> int:
        """The last change that is committed."""
        ...


class Exporter:
    """Writes what is new into a directory, and takes out what was removed.

    A killed run leaves whole files only, and the next one goes on where it was.
    """

    def __init__(
        self,
        changes: ChangeSource,
        directory: Path,
        format: Format = Format.TREE,
        kinds: Iterable[Kind] = tuple(Kind),
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        max_rows: int = parts.MAX_ROWS,
        max_bytes: int = parts.MAX_BYTES,
    ) -> None:
        self._changes = changes
        self._directory = directory
        self._kinds = tuple(sorted(set(kinds)))
        self._holds = Holds(format=format, since=since, until=until)
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._done_to: int | None = None

    @property
    def directory(self) -> Path:
        """What is written into."""
        return self._directory

    async def run_once(
        self, report: Report | None = None, *, limit: int | None = None, wait_s: float = 0.0
    ) -> Exported:
        """Write what is new, at most `limit` changes; without news it costs one small query.

        Raises ExportBusyError where another export still has the directory after `wait_s`.
        """
        newest = await self._changes.newest_seq()
        if newest == self._done_to:
            return Exported(seq=newest)
        lock = Lock(self._directory)
        try:
            await self._in_thread(lock.acquire, wait_s)
            exported = await self._run(newest, report, limit)
        finally:
            await self._in_thread(lock.release)
        self._done_to = exported.seq
        return exported

    async def _run(self, newest: int, report: Report | None, limit: int | None) -> Exported:
        run = await self._in_thread(self._begin)
        try:
            if run.furthest > newest:
                raise ConfigurationError(
                    f"'{self._directory}' has change {run.furthest}, this store ends with "
                    f"{newest}: it is from another store, so export into another directory."
                )
            start, left = run.seq, limit
            while run.seq < newest and left != 0:
                page = await self._changes.changes(
                    run.seq, limit=PAGE if left is None else min(PAGE, left)
                )
                if not page:
                    run.seq = newest  # numbers come in the order of commits: none is missing
                    break
                left = None if left is None else left - len(page)
                await self._in_thread(run.take, page)
                if report is not None:
                    report("export", min(run.seq, newest) - start, newest - start)
            await self._in_thread(run.settle)
            return run.done
        finally:
            await self._in_thread(run.close)

    def _begin(self) -> Run:
        state = open_state(self._directory, self._holds)
        return Run(self._directory, state, self._target(), self._kinds)

    def _target(self) -> Target:
        if self._holds.format is Format.TREE:
            return Tree(self._directory, max_files=min(MAX_FILES, self._max_rows))
        return parts.Parts(
            self._directory,
            _part_format(self._holds.format),
            max_rows=self._max_rows,
            max_bytes=self._max_bytes,
        )

    async def _in_thread[**P, T](
        self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        # A thread can't be cancelled, and the directory stays locked until it is done.
        task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait((task,))
            raise
        except OSError as error:
            raise ExportFailedError(self._directory, error) from error


def _part_format(format: Format) -> parts.PartFormat:
    if format is Format.JSONL:
        from .jsonl import JsonLines

        return JsonLines()
    if format is Format.CSV:
        from .spreadsheet import Spreadsheet

        return Spreadsheet()
    from .parquet import Parquet  # pyarrow is optional

    return Parquet()
