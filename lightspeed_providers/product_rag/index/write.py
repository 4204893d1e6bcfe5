"""Puts a new index in place.

Files are named by their content and the manifest is replaced last, in one rename: at any moment,
also after a `kill -9`, a reader finds either the old index or the new one, whole.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from lightspeed_providers.core.durable import sync
from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.index.lock import sole_writer
from lightspeed_providers.product_rag.index.manifest import (
    MANIFEST,
    IndexFile,
    Manifest,
    sha256_of,
)

_PREFIX = ".building-"
_OURS = ("vectors-*.faiss", "words-*.bin", "passages-*.sqlite", "live-*", "tail-*.f32")


@contextmanager
def staging(directory: Path, *, locked: bool = False) -> Iterator[Path]:
    """Give a temporary directory on the same file system, gone afterwards whatever happens.

    Nobody else writes the index meanwhile; `locked` says that the caller sees to that.
    """
    with _written_alone(directory, locked=locked):
        try:
            for left_over in directory.glob(f"{_PREFIX}*"):
                shutil.rmtree(left_over, ignore_errors=True)
            stage = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))
        except OSError as fault:
            raise _unwritable(directory, fault) from fault
        try:
            yield stage
        except (OSError, sqlite3.OperationalError) as fault:
            reason = getattr(fault, "strerror", None) or fault
            raise ConfigurationError(
                f"Index can't be written to '{directory}' ({reason}); the old one is intact."
            ) from fault
        finally:
            shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _written_alone(directory: Path, *, locked: bool) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise _unwritable(directory, fault) from fault
    with nullcontext() if locked else sole_writer(directory):
        yield


def _unwritable(directory: Path, fault: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"Index directory '{directory}' can't be written ({fault.strerror}): "
        "make it writable or choose another one."
    )


def named_by_content(path: Path, suffix: str) -> IndexFile:
    """Rename a finished file by its hash and return what the manifest says of it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    digest = sha256_of(path)
    named = path.rename(path.with_name(f"{path.name}-{digest[:16]}{suffix}"))
    return IndexFile(name=named.name, sha256=digest, size=named.stat().st_size)


def put_in_place(stage: Path, directory: Path, manifest: Manifest) -> None:
    """Make the staged files the index of the directory, and remove those of the one before."""
    kept = {MANIFEST, *(file.name for file in manifest.sealed)}
    for name in kept - {MANIFEST}:
        if (stage / name).exists():
            (stage / name).replace(directory / name)
    write_manifest(stage, directory, manifest)
    remove_others(directory, kept)


def remove_others(directory: Path, kept: Container[str]) -> None:
    """Remove the files of earlier indexes; who has them open reads on."""
    for pattern in _OURS:
        for file in directory.glob(pattern):
            if file.name not in kept:
                file.unlink(missing_ok=True)


def write_manifest(stage: Path, directory: Path, manifest: Manifest) -> None:
    """Replace the manifest in one rename; from then on readers find what it names."""
    staged = stage / MANIFEST
    staged.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    sync(directory)  # the files must be there before the manifest that names them
    staged.replace(directory / MANIFEST)
    sync(directory)
