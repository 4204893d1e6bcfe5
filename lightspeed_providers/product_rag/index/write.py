"""Puts a new index in place.

Files are named by their content and the manifest is replaced last, in one rename: at any moment,
also after a `kill -9`, a reader finds either the old index or the new one, whole.
"""

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.index.manifest import (
    MANIFEST,
    IndexFile,
    Manifest,
    read_manifest,
    sha256_of,
)

_SCHEMA = """
CREATE TABLE passages (
    position INTEGER PRIMARY KEY,
    passage_id TEXT NOT NULL UNIQUE,
    document_id TEXT NOT NULL,
    title TEXT NOT NULL,
    heading_path TEXT NOT NULL,
    doc_url TEXT NOT NULL,
    content TEXT NOT NULL,
    tokens INTEGER NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5(
    title, headings, content,
    content = '', tokenize = 'porter unicode61 remove_diacritics 2'
);
"""
_PREFIX = ".building-"


@contextmanager
def staging(directory: Path) -> Iterator[Path]:
    """Give a temporary directory on the same file system, gone afterwards whatever happens."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for left_over in directory.glob(f"{_PREFIX}*"):
            if not _is_running(left_over):
                shutil.rmtree(left_over, ignore_errors=True)
        stage = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=directory))
    except OSError as fault:
        raise ConfigurationError(
            f"Index directory '{directory}' can't be written ({fault.strerror}): "
            "make it writable or choose another one."
        ) from fault
    try:
        yield stage
    except OSError as fault:
        raise ConfigurationError(
            f"Index can't be written to '{directory}' ({fault.strerror}); the old one is intact."
        ) from fault
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def write_vectors(stage: Path, vectors: NDArray[np.float32]) -> IndexFile:
    """Write the vectors, searched exactly, and return what the manifest says of them."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    path = stage / "vectors"
    faiss.write_index(index, str(path))
    return _named_by_content(path, "faiss")


def write_texts(stage: Path, passages: Sequence[Passage], tokens: Sequence[int]) -> IndexFile:
    """Write passages and their words, in the order of the vectors."""
    path = stage / "passages"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.executescript(_SCHEMA)
        database.executemany(
            "INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (n, p.passage_id, p.document_id, p.title, _json(p), p.doc_url, p.content, size)
                for n, (p, size) in enumerate(zip(passages, tokens, strict=True))
            ),
        )
        database.executemany(
            "INSERT INTO words (rowid, title, headings, content) VALUES (?, ?, ?, ?)",
            ((n, p.title, " ".join(p.heading_path), p.content) for n, p in enumerate(passages)),
        )
        database.execute("INSERT INTO words (words) VALUES ('optimize')")
        database.commit()
    return _named_by_content(path, "sqlite")


def put_in_place(stage: Path, directory: Path, manifest: Manifest) -> None:
    """Make the staged files the index of the directory, and remove those of the one before."""
    before = _files_of(directory)
    kept = {manifest.vectors.name, manifest.texts.name}
    for name in kept:
        (stage / name).replace(directory / name)
    staged = stage / MANIFEST
    staged.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    staged.replace(directory / MANIFEST)
    for name in before - kept:
        (directory / name).unlink(missing_ok=True)


def _files_of(directory: Path) -> set[str]:
    try:
        old = read_manifest(directory)
    except ConfigurationError:
        return set()
    return {old.vectors.name, old.texts.name}


def _named_by_content(path: Path, suffix: str) -> IndexFile:
    digest = sha256_of(path)
    named = path.rename(path.with_name(f"{path.name}-{digest[:16]}.{suffix}"))
    return IndexFile(name=named.name, sha256=digest, size=named.stat().st_size)


def _json(passage: Passage) -> str:
    return json.dumps(passage.heading_path, ensure_ascii=False)


def _is_running(stage: Path) -> bool:
    """Whether the build that made this directory may still be at work."""
    owner = stage.name.removeprefix(_PREFIX).partition("-")[0]
    try:
        os.kill(int(owner), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
