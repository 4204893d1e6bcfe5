"""What the server has accepted, in a hidden file of the storage."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lightspeed_providers.core.errors import UnavailableError

from .archive import Packed
from .files import Version

STATE = ".lightspeed-collect.sqlite"
_PAGE = 10_000


class SentFiles:
    """The versions of files that were in an accepted archive and may still lie in the storage."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Commits need not reach the disk at once: what is forgotten is only sent once more. Alone
        # with the file, SQLite needs no shared memory, which network file systems lack.
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS sent (path BLOB PRIMARY KEY, inode INTEGER NOT NULL, "
            "size INTEGER NOT NULL, modified_ns INTEGER NOT NULL) WITHOUT ROWID"
        )

    def has(self, path: str, version: Version) -> bool:
        """Whether the server has accepted this very version."""
        row = self._connection.execute(
            "SELECT inode, size, modified_ns FROM sent WHERE path = ?", (os.fsencode(path),)
        ).fetchone()
        return row is not None and Version(_unsigned(row[0]), row[1], row[2]) == version

    def remember(self, files: Iterable[Packed]) -> None:
        """Keep that these were accepted, before any of them goes."""
        rows = (
            (
                os.fsencode(file.path),
                _signed(file.version.inode),
                file.version.size,
                file.version.modified_ns,
            )
            for file in files
        )
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?)", rows)

    def forget(self, paths: Iterable[str]) -> None:
        """Drop files that are gone."""
        with self._connection:
            self._connection.executemany(
                "DELETE FROM sent WHERE path = ?", ((os.fsencode(path),) for path in paths)
            )

    def forget_missing(self, storage: Path) -> None:
        """Drop every file that is no longer there."""
        last = b""
        while paths := self._paths_after(last):
            last = paths[-1]
            names = (os.fsdecode(path) for path in paths)
            self.forget([name for name in names if not os.path.lexists(f"{storage}/{name}")])

    def _paths_after(self, path: bytes) -> list[bytes]:
        rows = self._connection.execute(
            "SELECT path FROM sent WHERE path > ? ORDER BY path LIMIT ?", (path, _PAGE)
        )
        return [row[0] for row in rows]


@contextmanager
def opened_sent(storage: Path) -> Iterator[SentFiles]:
    """Open what is remembered of a storage."""
    path = storage / STATE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        os.close(descriptor)
        with closing(sqlite3.connect(path)) as connection:
            yield SentFiles(connection)
    except sqlite3.Error as fault:
        raise UnavailableError(
            f"'{path}' can't be used ({fault}): make room and make it writable; or remove it, and "
            "what still lies in the storage is sent once more."
        ) from fault


def _signed(inode: int) -> int:
    return inode - (1 << 64) if inode >= 1 << 63 else inode


def _unsigned(inode: int) -> int:
    return inode + (1 << 64) if inode < 0 else inode
