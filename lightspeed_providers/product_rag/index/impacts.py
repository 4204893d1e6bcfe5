"""What each word adds to a text's BM25 score, computed once and mapped into memory.

SQLite's FTS5 scores every text that has any word of a question, some microseconds each: 9 ms for
an ordinary question to 10,000 texts. Here the same scores are read from two columns, the positions
of the texts that have a stem and what it is worth in each, and added up by numpy in 1 ms.
Libraries that do so (bm25s) know neither weighted columns nor filters nor changes in place. FTS5
still finds names as phrases and scores what was added to a live index.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COLUMN_WEIGHTS = {"title": 2.0, "headings": 4.0, "content": 1.0, "labels": 0.0}
"""How much a word counts by where it stands."""
_K1 = 1.2
_B = 0.75
"""The parameters of BM25 that FTS5 has."""
_BYTES = 6
_ROWS_AT_ONCE = 50_000

Positions = NDArray[np.int32]
Weights = NDArray[np.float16]
Scores = NDArray[np.float32]


class Impacts:
    """The columns of an index; a stem's part of them is a slice. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        count = path.stat().st_size // _BYTES
        if count:
            whole = np.memmap(path, dtype=np.uint8, mode="r")
            self._positions: Positions = whole[: 4 * count].view(np.int32)
            self._weights: Weights = whole[4 * count :].view(np.float16)
        else:
            self._positions = np.empty(0, dtype=np.int32)
            self._weights = np.empty(0, dtype=np.float16)

    def add(self, total: Scores, start: int, count: int, rarity: float) -> None:
        """Add a stem's part to the scores of all texts: its list's start and length."""
        part = slice(start, start + count)
        total[self._positions[part]] += self._weights[part] * np.float32(rarity)


def write_impacts(database: sqlite3.Connection, path: Path) -> None:
    """Write the columns of an index's words and fill its table of stems."""
    lengths = _lengths(database)
    average = float(lengths.mean()) if len(lengths) else 1.0
    damping = (_K1 * (1 - _B + _B * lengths / average)).astype(np.float32)
    beside = path.with_suffix(".weights")
    database.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, words, instance)")
    start = 0
    with path.open("wb") as positions, beside.open("wb") as weights:
        for stem, counts in _by_stem(database):
            where = np.fromiter(counts.keys(), dtype=np.int32, count=len(counts))
            often = np.fromiter(counts.values(), dtype=np.float32, count=len(counts))
            worth = often * (_K1 + 1) / (often + damping[where])
            positions.write(where.tobytes())
            weights.write(worth.astype(np.float16).tobytes())
            row = (stem, len(counts), start)
            database.execute("INSERT INTO main.stems VALUES (?, ?, ?)", row)
            start += len(counts)
    database.execute("DROP TABLE temp.terms")
    with path.open("ab") as whole, beside.open("rb") as weights:
        while block := weights.read(1 << 20):
            whole.write(block)
    beside.unlink()


def best(scores: Scores, k: int) -> dict[int, float]:
    """Return the k best positions with a score, best first."""
    found = np.flatnonzero(scores > 0)
    if len(found) > k:
        top = np.argpartition(-scores[found], k - 1)[:k]
        found = np.sort(found[top])
    order = np.argsort(-scores[found], kind="stable")
    return dict(zip(found[order].tolist(), scores[found[order]].tolist(), strict=True))


def _by_stem(database: sqlite3.Connection) -> Iterator[tuple[str, dict[int, float]]]:
    """Each stem with how often each text has it, counted by columns; labels are no words."""
    rows = database.execute("SELECT term, doc, col FROM temp.terms")
    stem, counts = None, dict[int, float]()
    while part := rows.fetchmany(_ROWS_AT_ONCE):
        for term, position, column in part:
            if term != stem:
                if stem is not None and counts:
                    yield stem, counts
                stem, counts = term, {}
            weight = COLUMN_WEIGHTS[column]
            if weight:
                counts[position] = counts.get(position, 0.0) + weight
    if stem is not None and counts:
        yield stem, counts


def _lengths(database: sqlite3.Connection) -> Scores:
    """How many words each text has, as FTS5 keeps it for each column."""
    rows = database.execute("SELECT sz FROM words_docsize ORDER BY id")
    return np.array([sum(_varints(row[0])) for row in rows], dtype=np.float32)


def _varints(packed: bytes) -> Sequence[int]:
    """Numbers in SQLite's format: seven bits a byte, the highest bit says that more follow."""
    numbers, value = [], 0
    for byte in packed:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    return numbers
