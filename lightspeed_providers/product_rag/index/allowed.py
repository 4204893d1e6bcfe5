"""Which positions a filter lets through, remembered for the filters that come again."""

import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.product_rag.index.vectors import Bitmap, bitmap_of

_KEPT = 64
"""Filters whose bitmaps are kept: 8 MB at a million texts."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The groups that may be found and the positions that are in any of them."""

    groups: frozenset[int]
    bitmap: Bitmap
    count: int


class AllowedPositions:
    """Bitmaps by groups, the least used forgotten. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[frozenset[int], tuple[int, int, Allowed]] = OrderedDict()

    def of(
        self, connection: sqlite3.Connection, groups: frozenset[int], count: int, generation: int
    ) -> Allowed:
        """Return what these groups allow among the first `count` positions.

        Of a live index only the positions since an earlier generation are read: a text that is
        there never enters another group. One that left a group stays in; its places tell.
        """
        with self._lock:
            before = self._known.get(groups)
            if before is not None and before[:2] == (generation, count):
                self._known.move_to_end(groups)
                return before[2]
        newer = before is None or before[0] <= generation
        allowed = _extended(connection, groups, count, before if newer else None)
        if newer:
            with self._lock:
                self._known[groups] = (generation, count, allowed)
                self._known.move_to_end(groups)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return allowed


def _extended(
    connection: sqlite3.Connection,
    groups: frozenset[int],
    count: int,
    before: tuple[int, int, Allowed] | None,
) -> Allowed:
    if before is None:
        positions = _positions(connection, groups, 0, count)
        return Allowed(groups, bitmap_of(positions, count), len(positions))
    _, first, known = before
    if first == count:
        return known
    added = _positions(connection, groups, first, count)
    bitmap = np.zeros((count + 7) // 8, dtype=np.uint8)
    bitmap[: len(known.bitmap)] = known.bitmap
    np.bitwise_or.at(bitmap, added >> 3, (1 << (added & 7)).astype(np.uint8))
    return Allowed(groups, bitmap, known.count + len(added))


def _positions(
    connection: sqlite3.Connection, groups: frozenset[int], first: int, count: int
) -> NDArray[np.int64]:
    marks = ", ".join(str(int(group)) for group in sorted(groups))
    # CROSS JOIN: from the places on where only the last of them are asked for.
    tables = "places CROSS JOIN documents" if first else "documents JOIN places"
    rows = connection.execute(
        f"SELECT DISTINCT position FROM {tables} USING (document_no) "  # noqa: S608 # constants
        f"WHERE group_no IN ({marks}) AND position >= ? AND position < ?",
        (first, count),
    )
    return np.fromiter((row[0] for row in rows), dtype=np.int64)
