"""What a live index holds beside its sealed files, as readers see it.

Documents that were added in place have their vectors in one file that only grows, and those
that were removed are in a list of dead positions. No position is ever given to another text, so
a search that began before a change stays right.
"""

import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.index.manifest import Manifest
from lightspeed_providers.product_rag.index.vectors import Bitmap, VectorIndex

Vectors = NDArray[np.float32]
Mask = NDArray[np.bool_]

_FLOAT_BYTES = 4
_BLOCK = 1024
"""Added rows that are skipped together once all of them are dead."""


@dataclass(frozen=True, slots=True)
class LiveState:
    """The added vectors and the positions that live in one generation."""

    generation: int
    base_rows: int
    base_lives: Bitmap | None
    """None while every sealed position lives."""
    tail: Vectors
    tail_lives: Mask
    spans: tuple[tuple[int, int], ...]
    """Where rows of the tail live: from the first to before the second."""
    last_dead: int

    @property
    def tail_rows(self) -> int:
        """How many vectors were added in place."""
        return len(self.tail)

    def nearest(
        self, base: VectorIndex, vector: Vectors, k: int, bitmap: Bitmap | None, *, exact: bool
    ) -> dict[int, float]:
        """Return the k nearest positions that live, with their cosines, best first."""
        found = base.nearest(vector, k, self.in_base(bitmap), exact=exact)
        wanted = self._in_tail(bitmap)
        for first, end in self.spans:
            cosines = self.tail[first:end] @ vector
            rows = np.flatnonzero(wanted[first:end])
            if len(rows) > k:
                rows = rows[np.argpartition(-cosines[rows], k - 1)[:k]]
            found |= {self.base_rows + first + row: float(cosines[row]) for row in rows.tolist()}
        best = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        return dict(best[:k])

    def at(self, base: VectorIndex, positions: list[int]) -> Vectors:
        """Return the vectors of these positions, one row each."""
        rows = np.empty((len(positions), self.tail.shape[1]), dtype=np.float32)
        in_base = [n for n, position in enumerate(positions) if position < self.base_rows]
        rows[in_base] = base.at([positions[n] for n in in_base])
        in_tail = [n for n, position in enumerate(positions) if position >= self.base_rows]
        rows[in_tail] = self.tail[[positions[n] - self.base_rows for n in in_tail]]
        return rows

    def in_base(self, bitmap: Bitmap | None) -> Bitmap | None:
        """Return which sealed positions live and are in a bitmap; None where all do."""
        if bitmap is None or self.base_lives is None:
            return self.base_lives if bitmap is None else bitmap
        return bitmap[: len(self.base_lives)] & self.base_lives

    def _in_tail(self, bitmap: Bitmap | None) -> Mask:
        if bitmap is None:
            return self.tail_lives
        bits = np.unpackbits(bitmap[self.base_rows >> 3 :], bitorder="little").astype(bool)
        shift = self.base_rows & 7
        wanted: Mask = self.tail_lives & bits[shift : shift + self.tail_rows]
        return wanted


class LiveStates:
    """The states of a live index, read on from the newest one known."""

    def __init__(self, directory: Path, manifest: Manifest, connection: sqlite3.Connection) -> None:
        self._lock = threading.Lock()
        self._dimension = manifest.dimension
        self._base_rows = int(state_value(connection, "base_rows"))
        self._path = directory / state_value(connection, "tail_file")
        # Opened now: the file's name goes when the index is sealed while this one is in use.
        try:
            self._file = self._path.open("rb")
        except OSError as fault:
            raise ConfigurationError(
                f"Index file '{self._path}' can't be read ({fault.strerror}): "
                "build the index again."
            ) from fault
        self._mapped: Vectors = np.empty((0, self._dimension), dtype=np.float32)
        self._tail(int(state_value(connection, "tail_rows")))
        self._newest: LiveState | None = None

    def of(self, connection: sqlite3.Connection) -> LiveState:
        """Return the state that a connection's open transaction sees."""
        generation = int(state_value(connection, "generation"))
        with self._lock:
            newest = self._newest
            if newest is not None and newest.generation == generation:
                return newest
            is_newer = newest is None or newest.generation < generation
            state = self._read(connection, generation, newest if is_newer else None)
            if is_newer:
                self._newest = state
            return state

    def close(self) -> None:
        """Close the file; what is mapped of it stays until nothing uses it."""
        self._file.close()

    def _read(
        self, connection: sqlite3.Connection, generation: int, before: LiveState | None
    ) -> LiveState:
        tail = self._tail(int(state_value(connection, "tail_rows")))
        last = before.last_dead if before else 0
        base_lives = before.base_lives if before else None
        tail_lives = np.ones(len(tail), dtype=bool)
        if before is not None:
            tail_lives[: before.tail_rows] = before.tail_lives
        died = connection.execute(
            "SELECT seq, position FROM dead WHERE seq > ? ORDER BY seq", (last,)
        ).fetchall()
        if died:
            last = died[-1][0]
            positions = np.array([position for _, position in died], dtype=np.int64)
            in_base = positions < self._base_rows
            tail_lives[positions[~in_base] - self._base_rows] = False
            base_lives = self._without(base_lives, positions[in_base])
        spans = _living_spans(tail_lives)
        return LiveState(generation, self._base_rows, base_lives, tail, tail_lives, spans, last)

    def _without(self, lives: Bitmap | None, died: NDArray[np.int64]) -> Bitmap | None:
        if not len(died):
            return lives
        fewer = (
            np.full((self._base_rows + 7) // 8, 255, dtype=np.uint8)
            if lives is None
            else lives.copy()
        )
        np.bitwise_and.at(fewer, died >> 3, ~(1 << (died & 7)).astype(np.uint8))
        return fewer

    def _tail(self, rows: int) -> Vectors:
        if rows > len(self._mapped):
            # The rows exist: they are on disk before the transaction that counts them.
            every = os.fstat(self._file.fileno()).st_size // (_FLOAT_BYTES * self._dimension)
            if every < rows:
                raise ConfigurationError(
                    f"Index file '{self._path}' holds {every} vectors instead of {rows}: "
                    "build the index again."
                )
            shape = (every, self._dimension)
            self._mapped = np.memmap(self._file, dtype=np.float32, mode="r", shape=shape)
        return self._mapped[:rows]


def state_value(connection: sqlite3.Connection, name: str) -> Any:  # Any: numbers and names
    """Return what a live index has written down under a name."""
    return connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()[0]


def _living_spans(lives: Mask) -> tuple[tuple[int, int], ...]:
    if not len(lives):
        return ()
    blocks = np.logical_or.reduceat(lives, np.arange(0, len(lives), _BLOCK))
    edges = np.flatnonzero(np.diff(blocks, prepend=False, append=False)) * _BLOCK
    ends = np.minimum(edges, len(lives))
    return tuple((int(a), int(b)) for a, b in zip(ends[::2], ends[1::2], strict=True))
