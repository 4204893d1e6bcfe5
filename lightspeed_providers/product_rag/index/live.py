"""Changes an index in place: a document is added, replaced or removed in milliseconds.

The first change copies the texts of a sealed index to a file that SQLite can change beside its
readers, and new vectors go to a file of their own. Whoever has the sealed index open reads on.
"""

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnavailableError,
)
from lightspeed_providers.product_rag.index.assemble import Embedding, Part, assemble, documents_of
from lightspeed_providers.product_rag.index.changes import put_in, release_of, take_out
from lightspeed_providers.product_rag.index.content import Document
from lightspeed_providers.product_rag.index.live_state import state_value
from lightspeed_providers.product_rag.index.lock import PATIENCE_S, sole_writer
from lightspeed_providers.product_rag.index.manifest import (
    IndexFile,
    Manifest,
    Release,
    read_manifest,
    verify_file,
)
from lightspeed_providers.product_rag.index.open import open_index
from lightspeed_providers.product_rag.index.write import remove_others, write_manifest

Vectors = NDArray[np.float32]

_CHECKPOINT_PAGES = 8000
"""32 MB of changes are put into the main file together, about once in two hundred documents."""
_LENGTH_TOLERANCE = 1e-2


class LiveWriter:
    """The one writer of an index directory. Blocks; use it from one thread at a time."""

    def __init__(self, directory: Path, *, timeout_s: float = PATIENCE_S) -> None:
        self.directory = directory
        self._timeout_s = timeout_s
        self._held = ExitStack()
        self._database: sqlite3.Connection | None = None
        self._tail = -1

    def __enter__(self) -> Self:
        read_manifest(self.directory)  # no lock file where there is no index
        with ExitStack() as held:
            held.enter_context(sole_writer(self.directory, self._timeout_s))
            held.callback(self._close)
            self.manifest = read_manifest(self.directory)
            if self.manifest.live:
                self._open()
            remove_others(self.directory, self._files())
            self._held = held.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def replace(self, release: Release, document: Document, vectors: Vectors) -> None:
        """Add a document, or put it in the place of the one with its id; one row a passage.

        When this returns the change is on disk, and every later search sees it. A document
        without passages only takes the old one out.
        """
        self._check(release, document, vectors)
        if not document.places:
            self.remove(document.document_id)
            return
        with self._told_in_one_line():
            database = self._ready()
            held = self._announced(release)
            before = release_of(database, document.document_id)
            if before is not None:
                self._announced(self._release_of(before))
            first = self._add_rows(database, vectors)
            with self._change(database):
                number = take_out(database, document.document_id)
                put_in(database, held, document, number, first)
                _add_to(database, "tail_rows", len(vectors))

    def remove(self, document_id: str) -> bool:
        """Remove a document and return whether it was there."""
        with self._told_in_one_line():
            if not self._has(document_id):
                return False
            database = self._ready()
            release = release_of(database, document_id)
            if release is not None:
                self._announced(self._release_of(release))
            with self._change(database):
                return take_out(database, document_id) is not None

    def seal(self) -> Manifest:
        """Write the index anew as it is now, compact and with hashes; nothing is embedded."""
        if not self.manifest.live:
            return self.manifest
        index = open_index(self.directory, None)
        try:
            with index.snapshot() as snapshot:
                rows = snapshot.connection.execute(
                    "SELECT DISTINCT product, version, language "
                    "FROM documents JOIN groups USING (group_no)"
                ).fetchall()
            left = [self._release_of(row) for row in rows]
            parts = [Part(release, documents_of(index, release)) for release in left]
            made = assemble(
                parts,
                self.directory,
                Embedding(self.manifest.embedding_model, lambda: index.manifest.dimension, _refuse),
                report=lambda stage, done, total: None,
                locked=True,
            )
        finally:
            index.close()
        self._close()
        self.manifest = made.manifest
        return self.manifest

    def _has(self, document_id: str) -> bool:
        if self._database is not None:
            return release_of(self._database, document_id) is not None
        address = (self.directory / self.manifest.passages_file.name).as_uri()
        database = sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True)
        try:
            return release_of(database, document_id) is not None
        finally:
            database.close()

    def _check(self, release: Release, document: Document, vectors: Vectors) -> None:
        wanted = (len(document.places), self.manifest.dimension)
        if vectors.shape != wanted:
            raise InvalidRequestError(
                f"Document '{document.document_id}' needs {wanted[0]} vectors of {wanted[1]} "
                f"dimensions and has {' x '.join(map(str, vectors.shape))}: embed its passages "
                f"with '{self.manifest.embedding_model}'."
            )
        lengths = np.linalg.norm(vectors, axis=1)
        if not bool((np.abs(lengths - 1) <= _LENGTH_TOLERANCE).all()):
            raise InvalidRequestError(
                f"Vectors of document '{document.document_id}' are not of length 1: normalize them."
            )
        if document.language != release.language:
            raise InvalidRequestError(
                f"Document '{document.document_id}' has language '{document.language}' and its "
                f"release '{release.language}': name the release of that language."
            )

    def _ready(self) -> sqlite3.Connection:
        if self._database is None:
            self._go_live()
        if self._database is None:
            raise UnavailableError(f"Index '{self.directory}' can't be opened: try again.")
        return self._database

    def _go_live(self) -> None:
        """Copy the texts to a file that may change, and let the manifest name it."""
        sealed = verify_file(self.directory, self.manifest.passages_file)
        token = secrets.token_hex(6)
        live, tail = self.directory / f"live-{token}.sqlite", self.directory / f"tail-{token}.f32"
        try:
            shutil.copyfile(sealed, live)
            tail.touch()
            _make_live(live, tail.name, self.manifest.texts)
            named = IndexFile(name=live.name, sha256="", size=0)
            changed = {"live": True, "passages_file": named}
            self._announce(self.manifest.model_copy(update=changed))
        except BaseException:
            remove_others(self.directory, self._files())
            raise
        remove_others(self.directory, self._files())
        self._open()

    def _open(self) -> None:
        path = self.directory / self.manifest.passages_file.name
        verify_file(self.directory, self.manifest.vectors)
        try:
            database = sqlite3.connect(
                f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
            )
            self._database = database
            database.execute("PRAGMA synchronous = FULL")
            database.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            self._tail = os.open(self.directory / state_value(database, "tail_file"), os.O_RDWR)
        except (sqlite3.Error, OSError) as fault:
            raise ConfigurationError(
                f"Index file '{path}' can't be changed ({fault}): build the index again."
            ) from fault

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._tail >= 0:
            os.close(self._tail)
            self._tail = -1

    def _files(self) -> frozenset[str]:
        """The files of the index as its manifest is now."""
        texts = self.manifest.passages_file.name
        token = texts.removeprefix("live-").removesuffix(".sqlite")
        beside = (f"{texts}-wal", f"{texts}-shm", f"tail-{token}.f32")
        return frozenset({texts, self.manifest.vectors.name, self.manifest.words.name, *beside})

    def _release_of(self, facts: Sequence[str]) -> Release:
        product, version, language = facts
        key = (product.casefold(), version, language)
        for release in self.manifest.releases:
            if release.key == key:
                return release
        raise ConfigurationError(
            f"Index '{self.directory}' holds {product} {version}, which its manifest does not "
            "name: build the index again."
        )

    def _announced(self, release: Release) -> Release:
        """The release as the manifest names it; a changed one is no longer what was built."""
        same = [held for held in self.manifest.releases if held.key == release.key]
        if same and not same[0].fingerprint:
            return same[0]
        unlike = [held for held in self.manifest.releases if held.key != release.key]
        changed = (same[0] if same else release).model_copy(update={"fingerprint": ""})
        releases = tuple(sorted((*unlike, changed), key=lambda one: one.key))
        self._announce(self.manifest.model_copy(update={"releases": releases}))
        return changed

    def _announce(self, manifest: Manifest) -> None:
        stage = self.directory / f".building-{secrets.token_hex(6)}"
        stage.mkdir()
        try:
            write_manifest(stage, self.directory, manifest)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        self.manifest = manifest

    def _add_rows(self, database: sqlite3.Connection, vectors: Vectors) -> int:
        """Put vectors after the last one that counts and return their first position."""
        base, before = state_value(database, "base_rows"), state_value(database, "tail_rows")
        left = memoryview(np.ascontiguousarray(vectors, dtype="<f4")).cast("B")
        place = before * 4 * self.manifest.dimension
        while left:
            written = os.pwrite(self._tail, left, place)
            left, place = left[written:], place + written
        os.fdatasync(self._tail)
        return int(base + before)

    @contextmanager
    def _change(self, database: sqlite3.Connection) -> Iterator[None]:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
            _add_to(database, "generation", 1)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    @contextmanager
    def _told_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as fault:
            reason = getattr(fault, "strerror", None) or fault
            raise UnavailableError(
                f"Index '{self.directory}' could not be changed ({reason}); it is as it was."
            ) from fault


def _make_live(path: Path, tail_name: str, rows: int) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        facts = {"base_rows": rows, "tail_rows": 0, "tail_file": tail_name, "generation": 0}
        database.execute("BEGIN")
        database.executemany("INSERT INTO state VALUES (?, ?)", facts.items())
        database.execute("COMMIT")
    finally:
        database.close()  # the last one to close moves the log into the file
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _add_to(database: sqlite3.Connection, name: str, number: int) -> None:
    database.execute("UPDATE state SET value = value + ? WHERE name = ?", (number, name))


def _refuse(texts: Sequence[str]) -> Vectors:
    raise ConfigurationError(
        f"{len(texts)} or more texts of the index have no vector: build the index again."
    )
