"""From a directory of documentation to an index, on all cores."""

import functools
import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.index.assemble import (
    Embedding,
    Part,
    Report,
    assemble,
    documents_of,
)
from lightspeed_providers.product_rag.index.content import Document, Place
from lightspeed_providers.product_rag.index.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    IndexFile,
    Manifest,
    Release,
    read_manifest,
)
from lightspeed_providers.product_rag.index.open import open_index
from lightspeed_providers.product_rag.ingest.address import check_template, doc_url
from lightspeed_providers.product_rag.ingest.chunk import Measure, Piece, pieces_of
from lightspeed_providers.product_rag.ingest.parse import (
    SUFFIXES,
    NothingToCiteError,
    UnreadableError,
    parse_file,
)
from lightspeed_providers.product_rag.ingest.sources import Sources, find_sources
from lightspeed_providers.product_rag.ingest.tokens import token_counter, token_limit

_MAKING = 4
"""Counts changes of parsing and cutting, after which an index is built again."""
_LONGEST_VALUE = 100
"""Characters of an attribute; what is longer is prose, and nobody filters on it."""
_FEW_FILES = 24
"""Up to so many files are parsed faster here than in processes of their own."""


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
class Documentation:
    """What is built: where it lies, what it describes, and where readers find it."""

    source: Path
    product: str
    version: str
    title: str
    language: str = "en"
    url_template: str = "{path}#{anchor}"
    txt_is_rst: bool = False
    exclude: frozenset[str] = frozenset()
    attributes: tuple[tuple[str, str], ...] = ()


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


@dataclass(frozen=True, slots=True)
class _Cut:
    """What became of a file: its pieces with their tokens, or why there are none."""

    name: str
    file: str
    title: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    pieces: tuple[tuple[Piece, int], ...] = ()
    problems: tuple[str, ...] = ()
    skipped: str = ""
    is_empty: bool = False
    """Skipped rightly: a page that only leads to others."""


@dataclass(slots=True)
class _Told:
    """What the documents' authors should know, collected while they are read."""

    skipped: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    empty: int = 0
    read: int = 0

    def note(self, cut: _Cut) -> None:
        self.read += 1
        if cut.is_empty:
            self.empty += 1
        elif cut.skipped:
            self.skipped.append((cut.name, cut.skipped))
        self.problems.extend((cut.name, problem) for problem in cut.problems)


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
    check_template(documentation.url_template)
    sources = find_sources(documentation.source, documentation.exclude)
    if not sources.files:
        raise ConfigurationError(
            f"Source '{documentation.source}' has no files that end in {', '.join(SUFFIXES)}."
        )
    release = _release(documentation, sources, model)
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
    told = _Told(skipped=list(skipped))
    cuts = _cut_all(sources, documentation.txt_is_rst, model, report)
    parts = [Part(release, _documents(cuts, documentation, told))]
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
            checked=functools.partial(_check, told, documentation, strict=strict),
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


def _check(told: _Told, documentation: Documentation, *, strict: bool) -> None:
    if strict and told.skipped:
        name, reason = told.skipped[0]
        more = f" and {len(told.skipped) - 1} more" if len(told.skipped) > 1 else ""
        raise ConfigurationError(
            f"'{name}'{more} can't be read ({reason}): correct it, or build without --strict."
        )
    if told.skipped and len(told.skipped) + told.empty == told.read:
        name, reason = told.skipped[0]
        raise ConfigurationError(
            f"Source '{documentation.source}' gives no text: '{name}' is {reason}."
        )


def _release(documentation: Documentation, sources: Sources, model: str) -> Release:
    """What is built, with one hash over everything that decides what it holds."""
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


def _cut_all(sources: Sources, txt_is_rst: bool, model: str, report: Report) -> Iterator[_Cut]:
    """Parse and cut every file, in processes where there are many; the order is the files'."""
    cut = functools.partial(_cut, txt_is_rst=txt_is_rst, model=model)
    names = [sources.name_of(file) for file in sources.files]
    inside = [file.relative_to(sources.root).as_posix() for file in sources.files]
    for done, result in enumerate(_results(cut, (list(sources.files), names, inside)), start=1):
        report("Reading pages", done, len(names))
        yield result


def _results(
    cut: Callable[[Path, str, str], _Cut], jobs: tuple[list[Path], list[str], list[str]]
) -> Iterator[_Cut]:
    workers = min(os.cpu_count() or 1, 8)
    if len(jobs[0]) <= _FEW_FILES or workers == 1:
        yield from map(cut, *jobs)
        return
    pool = ProcessPoolExecutor(
        workers,
        # Forking a process whose threads load a model can deadlock.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),  # Ctrl-C is the parent's to handle
    )
    try:
        yield from pool.map(cut, *jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _cut(file: Path, name: str, inside: str, *, txt_is_rst: bool, model: str) -> _Cut:
    try:
        page = parse_file(file, name, txt_is_rst=txt_is_rst)
    except NothingToCiteError as fault:
        return _Cut(name, inside, skipped=str(fault), is_empty=True)
    except UnreadableError as fault:
        return _Cut(name, inside, skipped=str(fault))
    count = token_counter(model)
    try:
        pieces = pieces_of(page, Measure(token_limit(model), count))
    except Exception as fault:  # one odd page must not cost all the others
        return _Cut(name, inside, skipped=f"too odd to cut ({type(fault).__name__}: {fault})")
    sized = tuple((piece, count(piece.content)) for piece in pieces)
    return _Cut(name, inside, page.title, page.attributes, sized, page.problems)


def _documents(
    cuts: Iterator[_Cut], documentation: Documentation, told: _Told
) -> Iterator[Document]:
    for cut in cuts:
        told.note(cut)
        places = tuple(_places(cut, documentation))
        if places:
            yield Document(
                document_id=_document_id(documentation, cut.name),
                title=cut.title,
                source_file=cut.file,
                language=documentation.language,
                attributes=_attributes(documentation, cut),
                places=places,
            )


def _attributes(documentation: Documentation, cut: _Cut) -> tuple[tuple[str, str], ...]:
    """What a page says of itself goes before what is said of all pages."""
    of_page = {name: value for name, value in cut.attributes if len(value) <= _LONGEST_VALUE}
    return tuple(sorted((dict(documentation.attributes) | of_page).items()))


def _document_id(documentation: Documentation, name: str) -> str:
    product = documentation.product.lower().replace(" ", "-")
    language = "" if documentation.language == "en" else f"{documentation.language}/"
    return f"{product}/{documentation.version}/{language}{name}"


def _places(cut: _Cut, documentation: Documentation) -> Iterator[Place]:
    seen = set()
    for piece, tokens in cut.pieces:
        passage_id = _passage_id(_document_id(documentation, cut.name), piece)
        if passage_id in seen:  # the same text twice under one heading
            continue
        seen.add(passage_id)
        address = doc_url(
            documentation.url_template,
            path=cut.name,
            suffix=PurePosixPath(cut.file).suffix,
            anchor=piece.anchor,
            version=documentation.version,
            product=documentation.product,
        )
        yield Place(passage_id, piece.heading_path, address, piece.content, tokens)


def _passage_id(document_id: str, piece: Piece) -> str:
    whole = "\0".join((document_id, piece.anchor, piece.content))
    return hashlib.sha256(whole.encode()).hexdigest()[:24]
