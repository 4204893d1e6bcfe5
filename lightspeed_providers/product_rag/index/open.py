"""Opens an index, verified, for any number of threads and processes."""

import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from lightspeed_providers.core.errors import ConfigurationError, UnavailableError
from lightspeed_providers.core.paths import state_dir
from lightspeed_providers.product_rag.index.allowed import AllowedPositions
from lightspeed_providers.product_rag.index.content import Group
from lightspeed_providers.product_rag.index.impacts import Impacts
from lightspeed_providers.product_rag.index.live_state import LiveStates
from lightspeed_providers.product_rag.index.manifest import Manifest, read_manifest, verify_file
from lightspeed_providers.product_rag.index.snapshot import Snapshot, read_groups
from lightspeed_providers.product_rag.index.vectors import VectorIndex, open_vectors

_CONNECTIONS = 4
"""Searches that read texts at one time; the others wait for their milliseconds."""
_PATIENCE_S = 10.0
_MAPPED_BYTES = 1 << 40
"""SQLite reads the file through the memory that all processes share, however long it is."""


def index_directory(name_or_path: str) -> Path:
    """Return where an index lies: a bare name is one under the state directory."""
    path = Path(name_or_path).expanduser()
    if len(path.parts) == 1 and not path.is_absolute():
        return state_dir() / "indexes" / path
    return path.absolute()


class Index:
    """An open index. Safe to share between threads; each search takes a snapshot."""

    def __init__(
        self, directory: Path, manifest: Manifest, vectors: VectorIndex, texts: Path
    ) -> None:
        self.directory = directory
        self.manifest = manifest
        self._vectors = vectors
        self._impacts = Impacts(directory / manifest.words.name)
        # All opened now: the files may be replaced while this index is in use.
        self._connections: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        for _ in range(_CONNECTIONS):
            self._connections.put(_connect(texts, live=manifest.live))
        with self._connection() as connection:
            self._groups = read_groups(connection)
            self.vocabulary: dict[str, int] = dict(connection.execute("SELECT * FROM vocabulary"))
            self._live = LiveStates(directory, manifest, connection) if manifest.live else None
        self._allowed = AllowedPositions()

    @property
    def name(self) -> str:
        """What results call this index."""
        return self.directory.name

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Give one state of the index, unchanged by what is added or removed meanwhile."""
        with self._connection() as connection:
            if self._live is None:
                yield self._snapshot(connection, self._groups)
                return
            connection.execute("BEGIN")
            try:
                groups = (*self._groups, *read_groups(connection, len(self._groups)))
                yield self._snapshot(connection, groups)
            finally:
                connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the files, after the searches that run."""
        with suppress(Empty):
            for _ in range(_CONNECTIONS):
                self._connections.get(timeout=_PATIENCE_S).close()
        if self._live is not None:
            self._live.close()

    def _snapshot(self, connection: sqlite3.Connection, groups: tuple[Group, ...]) -> Snapshot:
        live = self._live.of(connection) if self._live is not None else None
        return Snapshot(
            name=self.name,
            dimension=self.manifest.dimension,
            groups=groups,
            connection=connection,
            vectors=self._vectors,
            impacts=self._impacts,
            allowed=self._allowed,
            live=live,
        )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connections.get(timeout=_PATIENCE_S)
        except Empty as fault:
            raise UnavailableError(
                f"Index '{self.name}' is closed or too busy: try again."
            ) from fault
        try:
            yield connection
        finally:
            self._connections.put(connection)


def open_index(directory: Path, embedding_model: str | None) -> Index:
    """Return the index of a directory, or say in one line what is wrong with it.

    Without a model, the one it was built with is not checked.
    """
    while True:
        manifest = read_manifest(directory)
        try:
            return _opened(directory, manifest, embedding_model)
        except ConfigurationError:
            # A new index may have come between reading its manifest and opening its files.
            if read_manifest(directory) == manifest:
                raise


def _opened(directory: Path, manifest: Manifest, embedding_model: str | None) -> Index:
    if embedding_model is not None and not _is_model(embedding_model, manifest.embedding_model):
        raise ConfigurationError(
            f"Index '{directory}' was built with embedding model '{manifest.embedding_model}', "
            f"configured is '{embedding_model}': configure that model, or build the index again."
        )
    files = manifest.sealed
    with ThreadPoolExecutor(len(files)) as hashing:
        list(hashing.map(lambda file: verify_file(directory, file), files))
    vectors = open_vectors(directory / manifest.vectors.name, manifest)
    texts = directory / manifest.passages_file.name
    try:
        return Index(directory, manifest, vectors, texts)
    except sqlite3.Error as fault:
        if manifest.live and texts.exists() and not os.access(directory, os.W_OK):
            raise ConfigurationError(
                f"Index '{directory}' takes changes in place, which needs a writable directory: "
                "run `lightspeed index seal` where it can be written."
            ) from fault
        raise ConfigurationError(
            f"Index file '{texts}' can't be opened ({fault}): build the index again."
        ) from fault


def _connect(texts: Path, *, live: bool) -> sqlite3.Connection:
    address = f"{texts.as_uri()}?mode=ro" + ("" if live else "&immutable=1")
    # Used by many threads, never by two at one time.
    connection = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
    connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
    # A live index has a second file, which SQLite opens with the first read.
    connection.execute("SELECT count(*) FROM state")
    return connection


def _is_model(configured: str, built_with: str) -> bool:
    """Whether both name one model; the configured one may have its provider's id in front."""
    return configured == built_with or configured.endswith(f"/{built_with}")
