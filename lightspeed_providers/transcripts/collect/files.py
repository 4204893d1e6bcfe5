"""Which files of a storage may be sent, and what they were when they were looked at."""

import json
import logging
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)

SETTLED_AFTER_S = 1.0
ENDING = ".json"
CLAIMED = ".collected"
"""Ends the hidden name that a file has while it is removed."""

_PARSED_UP_TO = 4_000_000
_CHUNK = 1 << 16
_MARKS = re.compile(rb'\\.|["{}\[\]]', re.DOTALL)
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Version:
    """What tells a file from every other one that stands, or stood, at its path."""

    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Version":
        """The version that a status describes."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be sent; its directory is open until the next file is asked for."""

    path: str
    name: str
    directory: int
    version: Version


class Reason(StrEnum):
    """Why a file is not sent."""

    FRESH = "was modified just now"
    CHANGED = "changed while it was read"
    NOT_WHOLE = "is not whole JSON"
    TOO_LARGE = "is larger than max_file_bytes"
    NO_FILE = "is a link or no regular file"
    UNREADABLE = "can't be read"

    @property
    def passes(self) -> bool:
        """Whether the next round may send it without anybody doing something."""
        return self in (Reason.FRESH, Reason.CHANGED)


class StaysError(Exception):
    """A file is not sent in this round, and stays."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Stayed:
    """Counts the files that were not sent, and names the first of each reason in the log."""

    def __init__(self) -> None:
        self._counts: Counter[Reason] = Counter()
        self.storage = Path()

    def tell(self, path: str, reason: Reason) -> None:
        """Count a file that stays."""
        self._counts[reason] += 1
        if self._counts[reason] <= _NAMED:
            logger.warning("%a stays: it %s.", f"{self.storage}/{path}", reason.value)

    @property
    def waiting(self) -> int:
        """How many the next round may send by itself."""
        return sum(count for reason, count in self._counts.items() if reason.passes)

    @property
    def left(self) -> int:
        """How many somebody has to look at."""
        return sum(count for reason, count in self._counts.items() if not reason.passes)

    def sums(self) -> str:
        """Each reason with its count."""
        return ", ".join(f"{count} {reason.value}" for reason, count in self._counts.items())


def found_files(
    storage: Path, stayed: Stayed, claimed: Callable[[str, str, int], None]
) -> Iterator[Found]:
    """Yield each JSON file that is settled; nothing hidden and no link is followed.

    A file that a killed round was about to remove is told to `claimed`.
    """

    def unreadable(fault: OSError) -> None:
        if not isinstance(fault, FileNotFoundError):
            stayed.tell(os.path.relpath(str(fault.filename or "?"), storage), Reason.UNREADABLE)

    for folder, folders, names, directory in os.fwalk(storage, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(folder, storage)
        for name in sorted(names):
            path = name if inside == "." else f"{inside}/{name}"
            if name.startswith(".") and name.endswith(CLAIMED):
                claimed(path, name, directory)
            if name.startswith(".") or not name.endswith(ENDING):
                continue
            try:
                version = _settled(_status(name, directory))
            except FileNotFoundError:
                continue
            except StaysError as stays:
                stayed.tell(path, stays.reason)
            else:
                yield Found(path, name, directory, version)


def count_files(storage: Path) -> int:
    """How many files may be sent, at a glance."""
    return sum(
        name.endswith(ENDING) and not name.startswith(".")
        for _, _, names, _ in os.fwalk(storage)
        for name in names
    )


def _status(name: str, directory: int) -> os.stat_result:
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def _settled(status: os.stat_result) -> Version:
    if not stat.S_ISREG(status.st_mode):
        raise StaysError(Reason.NO_FILE)
    # A time in the future is a clock that went backwards; waiting for it could take years.
    if abs(time.time() - status.st_mtime) < SETTLED_AFTER_S:
        raise StaysError(Reason.FRESH)
    return Version.of(status)


def opened(found: Found) -> BinaryIO:
    """Open the file that was found, and no other one that took its place since."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(found.name, flags, dir_fd=found.directory)
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise StaysError(Reason.UNREADABLE) from fault
    file = os.fdopen(descriptor, "rb")
    try:
        check_unchanged(file, found)
    except BaseException:
        file.close()
        raise
    return file


def read(file: BinaryIO, size: int) -> bytes:
    """Read on; a disk that can't give the file keeps no other file from being sent."""
    try:
        return file.read(size)
    except OSError as fault:
        raise StaysError(Reason.UNREADABLE) from fault


def check_unchanged(file: BinaryIO, found: Found) -> None:
    """Raise where the open file is no longer what was found."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or Version.of(status) != found.version:
        raise StaysError(Reason.CHANGED)


def check_whole(file: BinaryIO, size: int) -> None:
    """Raise where a writer is not done: the text is no JSON, or a large one has open brackets."""
    if size > _PARSED_UP_TO:
        if not _closes(file):
            raise StaysError(Reason.NOT_WHOLE)
        return
    try:
        json.loads(read(file, size + 1))
    except (ValueError, RecursionError) as fault:
        raise StaysError(Reason.NOT_WHOLE) from fault


def _closes(file: BinaryIO) -> bool:
    """Whether every bracket and string that opens also closes, in memory that does not grow."""
    depth, in_text, opened_once, rest = 0, False, False, b""
    while chunk := read(file, _CHUNK):
        chunk = rest + chunk
        # An odd backslash at the end belongs to the sign that the next chunk begins with.
        escapes = (len(chunk) - len(chunk.rstrip(b"\\"))) % 2
        rest = b"\\" * escapes
        for mark in _MARKS.findall(chunk, 0, len(chunk) - escapes):
            if mark == b'"':
                in_text = not in_text
            elif not in_text and mark in b"{[":
                depth, opened_once = depth + 1, True
            elif not in_text and mark in b"}]":
                depth -= 1
    return opened_once and depth == 0 and not in_text and not rest
