"""Files streamed into one tar.gz, which has no name and so ends with the process."""

import contextlib
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from lightspeed_providers.core.errors import UnavailableError

from .files import Found, Reason, StaysError, Version, check_unchanged, check_whole, opened, read

MAX_FILES = 50_000
"""Files of one archive: what is remembered of them until it is accepted stays small."""

_AT_ONCE = 1_000_000
_CHUNK = 1 << 18
_BLOCK = 512
_END = b"\0" * (2 * _BLOCK)
_END_COSTS = 128
_HELD_BACK = 1 << 18  # more than zlib ever keeps to itself


@dataclass(frozen=True, slots=True)
class Packed:
    """A file as the archive holds it."""

    path: str
    version: Version


class Archive:
    """A tar.gz that is written once, in memory that does not grow with it, then read."""

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        with self._room():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.file = _nameless(directory)
        self.files: list[Packed] = []
        self.content_bytes = 0
        self.size = 0
        self._limit = limit
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31)

    def close(self) -> None:
        """Give the disk space back."""
        with contextlib.suppress(OSError):  # a full disk, told before
            self.file.close()

    def fits(self, size: int) -> bool:
        """Whether a file of this size goes in; the first one always does."""
        if not self.files:
            return True
        if len(self.files) >= MAX_FILES:
            return False
        # The name's headers, and what text that can't be compressed grows by.
        costs = size + 8 * _BLOCK + size // 1000 + _END_COSTS
        if self.size + _HELD_BACK + costs <= self._limit:
            return True
        self._keep(self._gzip.flush(zlib.Z_SYNC_FLUSH))
        return self.size + costs <= self._limit

    def add(self, found: Found) -> None:
        """Put a file in as it is, or nothing of it: StaysError or FileNotFoundError says why."""
        with opened(found) as file:
            if found.version.size <= _AT_ONCE:
                self._add_at_once(found, file)
            else:
                self._add_streamed(found, file)
        self.files.append(Packed(found.path, found.version))
        self.content_bytes += found.version.size

    def finish(self) -> None:
        """End the archive; it is ready to be read."""
        self._keep(self._gzip.compress(_END) + self._gzip.flush())
        with self._room():
            self.file.flush()

    def _add_at_once(self, found: Found, file: BinaryIO) -> None:
        check_whole(file, found.version.size)
        file.seek(0)
        content = read(file, found.version.size + 1)
        check_unchanged(file, found)
        if len(content) != found.version.size:
            raise StaysError(Reason.CHANGED)
        self._write(_header(found) + content + _padding(len(content)))

    def _add_streamed(self, found: Found, file: BinaryIO) -> None:
        check_whole(file, found.version.size)
        file.seek(0)
        before = self._gzip.copy(), self.size
        try:
            self._write(_header(found))
            left = found.version.size
            while left and (chunk := read(file, min(left, _CHUNK))):
                self._write(chunk)
                left -= len(chunk)
            if left:
                raise StaysError(Reason.CHANGED)
            check_unchanged(file, found)
            self._write(_padding(found.version.size))
        except StaysError:
            self._gzip, self.size = before
            with self._room():
                self.file.seek(self.size)
                self.file.truncate()
            raise

    def _write(self, content: bytes) -> None:
        self._keep(self._gzip.compress(content))

    def _keep(self, compressed: bytes) -> None:
        with self._room():
            self.file.write(compressed)
        self.size += len(compressed)

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            raise UnavailableError(
                f"Archive directory '{self._directory}' can't be used ({fault.strerror}): make "
                "room and make it writable, or set archive_directory."
            ) from fault


def _nameless(directory: Path) -> IO[bytes]:
    # Without a name where the file system can do that; else its name goes at once.
    return tempfile.TemporaryFile(dir=directory, prefix=".archive-")


def _header(found: Found) -> bytes:
    member = tarfile.TarInfo(found.path)
    member.size = found.version.size
    member.mtime = max(0, found.version.modified_ns // 1_000_000_000)
    member.mode = 0o600
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return b"\0" * (-size % _BLOCK)
