"""Vectors that were computed already, by text: of a build that was cut short, or of older indexes.

An interrupted build leaves its vectors in a file beside the index, fixed-size records of a text's
key and its vector; the next build, of whatever documentation, reads them and goes on.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.index.content import text_key
from lightspeed_providers.product_rag.index.manifest import read_manifest
from lightspeed_providers.product_rag.index.open import open_index

Vectors = NDArray[np.float32]

_KEY_BYTES = 16
_AT_ONCE = 10_000


class Journal:
    """Vectors on disk as they come, so that nothing is computed twice."""

    def __init__(self, directory: Path, model: str, dimension: int) -> None:
        self._path = directory / f".embedded-{text_key(model).hex()[:12]}-{dimension}"
        self._record = np.dtype([("key", f"V{_KEY_BYTES}"), ("vector", "<f4", (dimension,))])

    def append(self, keys: Iterable[bytes], vectors: Vectors) -> None:
        """Add vectors; a torn end of an earlier run is cut off first."""
        rows = vectors.astype("<f4")
        with self._path.open("ab") as file:
            file.truncate(file.tell() - file.tell() % self._record.itemsize)
            file.seek(0, 2)
            file.write(b"".join(key + row.tobytes() for key, row in zip(keys, rows, strict=True)))

    def fill(self, rows: Mapping[bytes, int], vectors: Vectors) -> set[int]:
        """Put what is known into the rows of these texts and return which were filled."""
        count = self._path.stat().st_size // self._record.itemsize if self._path.exists() else 0
        if not count:
            return set()
        records = np.memmap(self._path, dtype=self._record, mode="r", shape=(count,))
        filled = set()
        for record in records:
            row = rows.get(record["key"].tobytes())
            if row is not None:
                vectors[row] = record["vector"]
                filled.add(row)
        return filled

    def remove(self) -> None:
        """Forget everything: the index that was built holds it now."""
        self._path.unlink(missing_ok=True)


def fill_from_index(
    directory: Path, model: str, rows: Mapping[bytes, int], vectors: Vectors
) -> set[int]:
    """Put an index's vectors into the rows of these texts and return which were filled.

    An index that is damaged, of another model or not there fills none.
    """
    try:
        if read_manifest(directory).embedding_model != model:
            return set()
        index = open_index(directory, model)
    except ConfigurationError:
        return set()
    filled: set[int] = set()
    try:
        with index.snapshot() as snapshot:
            if snapshot.dimension != vectors.shape[1]:
                return set()
            with closing(
                snapshot.connection.execute("SELECT text_key, position FROM texts")
            ) as found:
                while part := found.fetchmany(_AT_ONCE):
                    wanted = [(rows[key], position) for key, position in part if key in rows]
                    places = [row for row, _ in wanted]
                    vectors[places] = snapshot.vectors_at([position for _, position in wanted])
                    filled.update(places)
    except sqlite3.Error:
        return filled
    finally:
        index.close()
    return filled
