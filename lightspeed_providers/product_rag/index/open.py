"""Opens an index, verified, for any number of threads and processes."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError, UnavailableError
from lightspeed_providers.core.paths import state_dir
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.index.manifest import Manifest, read_manifest, verify_file

_COLUMN_WEIGHTS = "2.0, 4.0, 1.0"
"""Of title, headings and content in BM25."""
_CONNECTIONS = 4
"""Searches that read texts at one time; the others wait for their milliseconds."""
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A passage as the index holds it."""

    passage: Passage
    tokens: int


def index_directory(name_or_path: str) -> Path:
    """Return where an index lies: a bare name is one under the state directory."""
    path = Path(name_or_path).expanduser()
    if len(path.parts) == 1 and not path.is_absolute():
        return state_dir() / "indexes" / path
    return path.absolute()


class Index:
    """An open index: nearest vectors, best words, passages. Safe to share between threads."""

    def __init__(self, directory: Path, manifest: Manifest, vectors: Any, texts: Path) -> None:
        self.directory = directory
        self.manifest = manifest
        self._vectors = vectors  # Any: faiss has no types
        # All opened now: the files may be replaced while this index is in use.
        self._connections: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        for _ in range(_CONNECTIONS):
            self._connections.put(_connect(texts))

    def nearest(self, vector: NDArray[np.float32], k: int) -> dict[int, float]:
        """Return the positions of the k most similar passages with their cosines, best first."""
        cosines, positions = self._vectors.search(vector.reshape(1, -1), k)
        pairs = zip(positions[0].tolist(), cosines[0].tolist(), strict=True)
        return {position: cosine for position, cosine in pairs if position >= 0}

    def cosines(self, vector: NDArray[np.float32], positions: Sequence[int]) -> dict[int, float]:
        """Return the cosine of each of these passages to the vector."""
        if not positions:
            return {}
        stored = self._vectors.reconstruct_batch(np.array(positions, dtype=np.int64))
        return dict(zip(positions, (stored @ vector).tolist(), strict=True))

    def matching(self, expression: str, k: int) -> dict[int, float]:
        """Return the k best passages for an FTS5 expression with their BM25 scores, best first."""
        rows = self._rows(
            f"SELECT rowid, -bm25(words, {_COLUMN_WEIGHTS}) FROM words "  # noqa: S608 # constants
            "WHERE words MATCH ? ORDER BY 2 DESC, 1 LIMIT ?",
            (expression, k),
        )
        return dict(rows)

    def stored(self, positions: Iterable[int]) -> dict[int, Stored]:
        """Return the passages at these positions."""
        wanted = list(positions)
        marks = ", ".join("?" * len(wanted))
        rows = self._rows(
            f"SELECT * FROM passages WHERE position IN ({marks})",  # noqa: S608 # question marks
            wanted,
        )
        return {row[0]: self._stored(row[1:]) for row in rows}

    def close(self) -> None:
        """Close the files, after the searches that run."""
        with suppress(Empty):
            for _ in range(_CONNECTIONS):
                self._connections.get(timeout=_PATIENCE_S).close()

    def _stored(self, row: tuple[Any, ...]) -> Stored:  # Any: what SQLite answers
        passage_id, document_id, title, heading_path, doc_url, content, tokens = row
        passage = Passage(
            passage_id=passage_id,
            document_id=document_id,
            title=title,
            heading_path=tuple(json.loads(heading_path)),
            doc_url=doc_url,
            content=content,
            source=self.directory.name,
            product=self.manifest.product,
            version=self.manifest.version,
        )
        return Stored(passage, tokens)

    def _rows(self, statement: str, values: Sequence[Any]) -> list[Any]:  # Any: SQLite's values
        try:
            connection = self._connections.get(timeout=_PATIENCE_S)
        except Empty as fault:
            raise UnavailableError(
                f"Index '{self.directory.name}' is closed or too busy: try again."
            ) from fault
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            self._connections.put(connection)


def open_index(directory: Path, embedding_model: str) -> Index:
    """Return the index of a directory, or say in one line what is wrong with it."""
    while True:
        manifest = read_manifest(directory)
        try:
            return _opened(directory, manifest, embedding_model)
        except ConfigurationError:
            # A new index may have come between reading its manifest and opening its files.
            if read_manifest(directory) == manifest:
                raise


def _opened(directory: Path, manifest: Manifest, embedding_model: str) -> Index:
    if not _is_model(embedding_model, manifest.embedding_model):
        raise ConfigurationError(
            f"Index '{directory}' was built with embedding model '{manifest.embedding_model}', "
            f"configured is '{embedding_model}': configure that model, or build the index again."
        )
    vectors_path = verify_file(directory, manifest.vectors)
    texts_path = verify_file(directory, manifest.texts)
    import faiss

    try:
        vectors = faiss.read_index(str(vectors_path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as fault:
        raise ConfigurationError(
            f"Index file '{vectors_path}' is not a faiss index: build the index again."
        ) from fault
    if (vectors.d, vectors.ntotal) != (manifest.dimension, manifest.passages):
        raise ConfigurationError(
            f"Index '{directory}' holds {vectors.ntotal} vectors of {vectors.d} dimensions, its "
            f"manifest says {manifest.passages} of {manifest.dimension}: build the index again."
        )
    try:
        return Index(directory, manifest, vectors, texts_path)
    except sqlite3.Error as fault:
        raise ConfigurationError(
            f"Index file '{texts_path}' can't be opened ({fault}): build the index again."
        ) from fault


def _connect(texts: Path) -> sqlite3.Connection:
    address = f"{texts.as_uri()}?mode=ro&immutable=1"
    # Used by many threads, never by two at one time.
    return sqlite3.connect(address, uri=True, check_same_thread=False)


def _is_model(configured: str, built_with: str) -> bool:
    """Whether both name one model; the configured one may have its provider's id in front."""
    return configured == built_with or configured.endswith(f"/{built_with}")
