"""From a directory of documentation to an index."""

import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.progress import Report
from lightspeed_providers.product_rag.index.assemble import (
    Embedding,
    Part,
    assemble,
    documents_of,
)
from lightspeed_providers.product_rag.index.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    IndexFile,
    Manifest,
    Release,
    read_manifest,
)
from lightspeed_providers.product_rag.index.open import open_index
from lightspeed_providers.product_rag.ingest.address import check_template
from lightspeed_providers.product_rag.ingest.parse import SUFFIXES
from lightspeed_providers.product_rag.ingest.reading import (
    Documentation,
    Told,
    check_read,
    documents,
)
from lightspeed_providers.product_rag.ingest.sources import Sources, find_sources

_MAKING = 5
"""Counts changes of parsing and cutting, after which an index is built again."""


class Encoder(Protocol):
    """An embedding model; `core.embedder.Embedder` is one."""

    @property
    def dimension(self) -> int:
        """How long a vector is."""
        ...

    def start_loading(self) -> None:
        """Begin to load in the background."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row of length 1 a text."""
        ...


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build did."""

    directory: Path
    pages: int
    passages: int
    seconds: float
    unchanged: bool
    tokens: int = 0
    embedded: int = 0
    empty: int = 0
    """Pages that only lead to others, such as indexes and redirects."""
    skipped: tuple[tuple[str, str], ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    is_live: bool = False
    """Changed in place, and not sealed since."""


def build_index(
    documentation: Documentation,
    directory: Path,
    *,
    model: str,
    encoder: Callable[[], Encoder],
    report: Report,
    force: bool = False,
    add: bool = False,
    strict: bool = False,
    skipped: Sequence[tuple[str, str]] = (),
) -> BuildResult:
    """Return what was built; nothing is where the same was built before.

    An index that is there stays as it is until the new one is whole. With `add`, what it holds of
    other products and versions is kept; with `strict`, a file that can't be read stops the build,
    also one of those `skipped` before.
    """
    started = time.perf_counter()
    sources = checked_sources(documentation)
    release = release_of(documentation, sources, model)
    left_out = tuple(sources.left_out.items())
    old = _whole(directory, model)
    if add and old is None:
        _check_addable(directory, model)
    if old is not None and not force and _has_it(old, release, add=add):
        seconds = time.perf_counter() - started
        return BuildResult(
            directory,
            old.pages,
            old.passages,
            seconds,
            True,
            left_out=left_out,
            skipped=tuple(skipped),
        )
    embedder = encoder()
    embedder.start_loading()
    told = Told(skipped=list(skipped))
    parts = [Part(release, documents(sources, documentation, model, told, report))]
    kept = _kept(old, release) if old is not None and add else ()
    index = open_index(directory, model) if kept else None
    try:
        if index is not None:
            parts += [Part(other, documents_of(index, other)) for other in kept]
        made = assemble(
            parts,
            directory,
            Embedding(model, lambda: embedder.dimension, embedder.encode),
            report=report,
            checked=functools.partial(check_read, told, documentation, strict=strict),
        )
    finally:
        if index is not None:
            index.close()
    return BuildResult(
        directory,
        made.manifest.pages,
        made.manifest.passages,
        time.perf_counter() - started,
        False,
        tokens=made.tokens,
        embedded=made.embedded,
        empty=told.empty,
        skipped=tuple(told.skipped),
        problems=tuple(told.problems),
        left_out=left_out,
    )


def checked_sources(documentation: Documentation) -> Sources:
    """Return the files of a documentation, or say in one line why it can't be read."""
    check_template(documentation.url_template)
    sources = find_sources(documentation.source, documentation.exclude)
    if not sources.files:
        raise ConfigurationError(
            f"Source '{documentation.source}' has no files that end in {', '.join(SUFFIXES)}."
        )
    return sources


def release_of(documentation: Documentation, sources: Sources, model: str) -> Release:
    """Return what is built, with one hash over everything that decides what it holds."""
    parts = [
        str(FORMAT_VERSION),
        str(_MAKING),
        model,
        documentation.product,
        documentation.version,
        documentation.title,
        documentation.language,
        documentation.url_template,
        str(documentation.txt_is_rst),
        json.dumps(documentation.attributes),
        sources.digest(),
    ]
    return Release(
        product=documentation.product,
        version=documentation.version,
        language=documentation.language,
        title=documentation.title,
        url_template=documentation.url_template,
        fingerprint=hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
    )


def _whole(directory: Path, model: str) -> Manifest | None:
    """The manifest of an index of this model, if its files are there in full."""
    try:
        manifest = read_manifest(directory)
    except ConfigurationError:
        return None
    whole = all(_is_there(directory, file) for file in manifest.sealed)
    return manifest if whole and manifest.embedding_model == model else None


def _check_addable(directory: Path, model: str) -> None:
    """Refuse to put one release in the place of all that an index holds."""
    if not (directory / MANIFEST).exists():
        return
    built_with = read_manifest(directory).embedding_model
    reason = "it is damaged" if built_with == model else f"it was built with model '{built_with}'"
    raise ConfigurationError(
        f"Nothing can be added to index '{directory}', {reason}: add with that model to a whole "
        "one, or build it anew without --add."
    )


def _has_it(old: Manifest, release: Release, *, add: bool) -> bool:
    """Whether an index holds exactly this already, others beside it only where they may stay."""
    same = [held for held in old.releases if held.fingerprint == release.fingerprint]
    return bool(same) and not old.live and (add or len(old.releases) == 1)


def _kept(old: Manifest, release: Release) -> tuple[Release, ...]:
    return tuple(other for other in old.releases if other.key != release.key)


def _is_there(directory: Path, file: IndexFile) -> bool:
    with suppress(OSError):
        return (directory / file.name).stat().st_size == file.size
    return False
