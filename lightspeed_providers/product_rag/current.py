"""An index that is served while newer ones take its place."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lightspeed_providers.core.errors import LightspeedError, UnavailableError
from lightspeed_providers.product_rag import metrics
from lightspeed_providers.product_rag.index.manifest import (
    MANIFEST,
    IndexFile,
    Manifest,
    read_manifest,
)
from lightspeed_providers.product_rag.index.open import Index, open_index

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0

Marks = frozenset[tuple[str, int, int, int, int]]


@dataclass(slots=True)
class _Held:
    """An open index and how many searches read it."""

    index: Index
    files: Marks
    users: int = 0
    retired: bool = False


class CurrentIndex:
    """The newest usable index of a directory. Safe to share between threads.

    A new manifest is noticed by the searches themselves, also behind a symbolic link and in a
    directory that was replaced. The new index is opened in a thread beside the old one, which is
    closed when the last search on it ends; one that can't be opened leaves the old one in use.
    """

    def __init__(self, directory: Path, embedding_model: str) -> None:
        self.directory = directory
        self.embedding_model = embedding_model
        self._lock = threading.Lock()
        self._marks = marks(directory, whole=False)
        self._held: _Held | None = _held(open_index(directory, embedding_model))
        self._problem: str | None = None
        self._next_look = time.monotonic() + _LOOK_EVERY_S
        self._opening = False

    @property
    def name(self) -> str:
        """What results call this index."""
        return self.directory.name

    @property
    def manifest(self) -> Manifest:
        """What the index that is in use says of itself."""
        return self._open().index.manifest

    @property
    def problem(self) -> str | None:
        """What keeps the directory's newest index from being used, in one line."""
        return self._problem

    @contextmanager
    def in_use(self) -> Iterator[Index]:
        """Give the index; it stays open until the last one that was given it is done. Blocks."""
        self._look()
        with self._lock:
            held = self._open()
            held.users += 1
        try:
            yield held.index
        finally:
            with self._lock:
                held.users -= 1
                ended = held.retired and not held.users
            if ended:
                held.index.close()

    def close(self) -> None:
        """Close the files, at once or with the last search that runs."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            self._retire(held)

    def _open(self) -> _Held:
        held = self._held
        if held is None:
            raise UnavailableError(f"Index '{self.name}' is closed: the server is stopping.")
        return held

    def _look(self) -> None:
        with self._lock:
            if self._opening or self._held is None or time.monotonic() < self._next_look:
                return
            self._next_look = time.monotonic() + _LOOK_EVERY_S
            held = self._held
        # While one is refused all files are looked at: they may still be on their way.
        found = marks(self.directory, whole=self._problem is not None)
        if found != self._marks:
            if not found:
                self._refuse(found, f"Index '{self.directory}' is gone: its open files still serve")
            else:
                self._open_beside()
        cut = _cut_short(self.directory, held.files)
        if cut is not None and held is self._held:
            # To read on from a mapped file that lost its end would end the whole process.
            raise UnavailableError(
                f"Index file '{cut}' was cut short while in use: put a whole index in its place."
            )

    def _open_beside(self) -> None:
        with self._lock:
            if self._opening:
                return
            self._opening = True
        threading.Thread(target=self._pick_up, name=f"index-{self.name}", daemon=True).start()

    def _pick_up(self) -> None:
        try:
            self._take(marks(self.directory, whole=False))
        except Exception as fault:  # whatever a broken index raises, the old one stays
            said = str(fault) if isinstance(fault, LightspeedError) else type(fault).__name__
            self._refuse(marks(self.directory, whole=True), f"New index not used: {said}")
        finally:
            with self._lock:
                self._opening = False

    def _take(self, seen: Marks) -> None:
        manifest = read_manifest(self.directory)
        with self._lock:
            held = self._open()
        if _is_open(held, manifest, self.directory):
            held.index.manifest = manifest  # a live index counts what was added in place
            self._marks, self._problem = seen, None
            return
        new = _held(open_index(self.directory, self.embedding_model))
        with self._lock:
            closed = self._held is None
            if not closed:
                held, self._held = self._held or held, new
                self._marks, self._problem = seen, None
        self._retire(new if closed else held)
        if not closed:
            metrics.index_swaps.add(1, {"index": self.name, "outcome": "swapped"})
            logger.info("Index '%s' now serves %s", self.name, new.index.manifest.name)

    def _refuse(self, seen: Marks, problem: str) -> None:
        self._marks = seen
        if problem != self._problem:
            metrics.index_swaps.add(1, {"index": self.name, "outcome": "refused"})
            logger.error("%s", problem)
            self._problem = problem

    def _retire(self, held: _Held) -> None:
        with self._lock:
            held.retired = True
            unused = not held.users
        if unused:
            held.index.close()


def marks(directory: Path, *, whole: bool) -> Marks:
    """Return what tells a manifest, or the whole directory, from every other."""
    names = [MANIFEST]
    with suppress(OSError):
        names = [path.name for path in directory.iterdir()] if whole else names
    return frozenset(mark for name in names if (mark := _mark(directory / name)) is not None)


def _mark(path: Path) -> tuple[str, int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return path.name, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _held(index: Index) -> _Held:
    found = (_mark(index.directory / file.name) for file in _files(index.manifest))
    return _Held(index, frozenset(mark for mark in found if mark is not None))


def _files(manifest: Manifest) -> list[IndexFile]:
    named = (getattr(manifest, field) for field in type(manifest).model_fields)
    return [file for file in named if isinstance(file, IndexFile)]


def _is_open(held: _Held, manifest: Manifest, directory: Path) -> bool:
    """Whether a manifest is of the files that are open already."""
    before = held.index.manifest
    if not manifest.live:
        return manifest == before
    if _files(manifest) != _files(before):
        return False
    now = {mark[:3] for name, *_ in held.files if (mark := _mark(directory / name)) is not None}
    return now == {mark[:3] for mark in held.files}


def _cut_short(directory: Path, files: Marks) -> Path | None:
    for name, device, inode, size, _ in files:
        now = _mark(directory / name)
        if now is not None and now[1:3] == (device, inode) and now[3] < size:
            return directory / name
    return None


_shared: dict[tuple[Path, str], tuple[CurrentIndex, int]] = {}
_shared_lock = threading.Lock()


def shared_index(directory: Path, embedding_model: str) -> CurrentIndex:
    """Return this process's one open index of a directory; each gets to `release` it once."""
    with _shared_lock:
        key = (directory, embedding_model)
        current, users = _shared.get(key) or (CurrentIndex(directory, embedding_model), 0)
        _shared[key] = (current, users + 1)
        return current


def release(current: CurrentIndex) -> None:
    """Give a shared index back; the last one closes it."""
    with _shared_lock:
        key = (current.directory, current.embedding_model)
        _, users = _shared[key]
        if users > 1:
            _shared[key] = (current, users - 1)
            return
        del _shared[key]
    current.close()
