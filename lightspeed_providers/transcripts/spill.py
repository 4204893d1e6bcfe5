"""Turns in a file for as long as the database is away.

One file a process and outage, one JSON line a turn. Who holds a file's lock owns it: the process
that writes it, later the one that puts its turns into the database. A lock ends with its process,
so what a killed one wrote or claimed is free again, and nothing of it is lost.
"""

import asyncio
import fcntl
import json
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time_ns
from typing import BinaryIO
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from lightspeed_providers.core.durable import sync

from . import metrics
from .rows import TurnRow
from .writer import AwayError

logger = logging.getLogger(__name__)

BATCH_ROWS = 100
BATCH_BYTES = 4_000_000
LONGEST_LINE = 64_000_000

_ROW = TypeAdapter(TurnRow)

type Insert = Callable[[Sequence[TurnRow]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of the files that were found."""

    written: int = 0
    """Turns that are in the database now."""
    broken: int = 0
    """Lines that are no turn, or one that the database refuses; a `.broken` file has them."""

    def __add__(self, other: "Recovered") -> "Recovered":
        return Recovered(self.written + other.written, self.broken + other.broken)


class Spill:
    """Files of turns in one directory, which several processes may share."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mutex = threading.Lock()
        self._path: Path | None = None
        self._descriptor = -1

    def keep(self, rows: Sequence[TurnRow]) -> int:
        """How many of the rows, from the first on, are on disk now: all, unless it is full.

        Blocks until they are. They belong to this process until `release`.
        """
        with self._mutex:
            try:
                if self._path is None:
                    self._create()
                return _append(self._descriptor, rows)
            except OSError as error:
                _log_failure(error)
                return 0

    def forget(self) -> None:
        """Remove what this process kept, because the database has it."""
        with self._mutex:
            if self._path is not None:
                self._path.unlink(missing_ok=True)
                self._close()

    def release(self) -> None:
        """Leave what this process kept to whoever recovers it first."""
        with self._mutex:
            if self._path is not None:
                self._close()

    async def recover(self, insert: Insert) -> Recovered:
        """Put the turns that earlier processes left into the database, file by file.

        `insert` must ignore turns that are there already. Raises what it raises where the database
        is away; the rest is for the next time then. Files in use by a process are let be.
        """
        found = Recovered()
        for path in await asyncio.to_thread(self._left):
            try:
                claimed = await asyncio.to_thread(_claim, path)
                if claimed is None:
                    continue
                with claimed:
                    found += await _put_back(path, claimed, insert)
                    path.unlink()
            except OSError as error:
                if isinstance(error, AwayError | TimeoutError):
                    raise
                logger.error("Failed to recover turns from %s: %s", path.name, error.strerror)
        return found

    def _left(self) -> list[Path]:
        return sorted(self._directory.glob("*.jsonl"))

    def _create(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            path = self._directory / f"{time_ns()}-{uuid4().hex}.jsonl"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                break
            os.close(descriptor)  # another process found it empty and removed it
        self._path, self._descriptor = path, descriptor
        sync(self._directory)

    def _close(self) -> None:
        os.close(self._descriptor)
        self._path, self._descriptor = None, -1


def _append(descriptor: int, rows: Sequence[TurnRow]) -> int:
    kept = 0
    end = os.fstat(descriptor).st_size
    try:
        for row in rows:
            line = json.dumps(asdict(row), separators=(",", ":")).encode() + b"\n"
            left = memoryview(line)
            while left:
                left = left[os.write(descriptor, left) :]
            end += len(line)
            kept += 1
    except OSError as error:
        _log_failure(error)
        os.ftruncate(descriptor, end)
    os.fsync(descriptor)
    return kept


def _log_failure(error: OSError) -> None:
    logger.error("Failed to keep turns in a file: %s", error.strerror)


def _claim(path: Path) -> BinaryIO | None:
    """The open file, or None where another process owns or removed it."""
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "r+b")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_nlink:
            return file
    except BlockingIOError:
        pass
    except BaseException:
        file.close()
        raise
    file.close()
    return None


async def _put_back(path: Path, file: BinaryIO, insert: Insert) -> Recovered:
    broken_path = path.with_name(f"{path.name}.broken")
    found = Recovered()
    while (batch := await asyncio.to_thread(_next_batch, file)) is not None:
        refused = await _insert(batch.rows, insert)
        aside = batch.broken + [batch.lines[number] for number in refused]
        if aside:
            await asyncio.to_thread(_set_aside, broken_path, aside, first=not found.broken)
            metrics.dropped.add(len(aside), {"reason": "broken_line"})
        written = len(batch.rows) - len(refused)
        metrics.written.add(written)
        metrics.recovered.add(written)
        found += Recovered(written, len(aside))
    if found.broken:
        logger.error("%d turns can't be recovered: see %s", found.broken, broken_path.name)
    return found


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: list[TurnRow]
    lines: list[bytes]
    broken: list[bytes]


def _next_batch(file: BinaryIO) -> _Batch | None:
    batch = _Batch([], [], [])
    size = 0
    while len(batch.rows) + len(batch.broken) < BATCH_ROWS and size < BATCH_BYTES:
        line = file.readline(LONGEST_LINE)
        if not line:
            return batch if size else None
        size += len(line)
        try:
            batch.rows.append(_ROW.validate_json(line))
            batch.lines.append(line)
        except ValidationError:
            batch.broken.append(line)
    return batch


async def _insert(rows: list[TurnRow], insert: Insert) -> list[int]:
    """Which of the rows the database refuses, by their number."""
    if not rows:
        return []
    try:
        await insert(rows)
    except (AwayError, TimeoutError):
        raise
    except Exception as error:
        if len(rows) == 1:
            logger.error("A recovered turn can't be stored: %s", type(error).__name__)
            return [0]
    else:
        return []
    return [number for number, row in enumerate(rows) if await _insert([row], insert)]


def _set_aside(path: Path, lines: list[bytes], *, first: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if first else os.O_APPEND)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        for line in lines:
            file.write(line if line.endswith(b"\n") else line + b"\n")
        file.flush()
        os.fsync(file.fileno())
