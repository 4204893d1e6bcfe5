"""From a directory of documentation to an index, on all cores."""

import functools
import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.index.manifest import (
    FORMAT_VERSION,
    IndexFile,
    Manifest,
    read_manifest,
)
from lightspeed_providers.product_rag.index.write import (
    put_in_place,
    staging,
    write_texts,
    write_vectors,
)
from lightspeed_providers.product_rag.ingest.address import check_template, doc_url
from lightspeed_providers.product_rag.ingest.chunk import (
    Measure,
    Piece,
    embedded_text,
    pieces_of,
)
from lightspeed_providers.product_rag.ingest.parse import (
    SUFFIXES,
    UnreadableError,
    parse_file,
)
from lightspeed_providers.product_rag.ingest.sources import Sources, find_sources
from lightspeed_providers.product_rag.ingest.tokens import token_counter, token_limit

_MAKING = 1
"""Counts changes of parsing and cutting, after which an index is built again."""
_FEW_FILES = 24
"""Up to so many files are parsed faster here than in processes of their own."""
_BATCH = 256

Report = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much there is."""


class Encoder(Protocol):
    """An embedding model; `core.embedder.Embedder` is one."""

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
    url_template: str = "{path}#{anchor}"
    txt_is_rst: bool = False
    exclude: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build did."""

    directory: Path
    pages: int
    passages: int
    seconds: float
    unchanged: bool
    skipped: tuple[tuple[str, str], ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Cut:
    """What became of a file: its pieces with their tokens, or why there are none."""

    name: str
    title: str = ""
    pieces: tuple[tuple[Piece, int], ...] = ()
    problems: tuple[str, ...] = ()
    skipped: str = ""


def build_index(
    documentation: Documentation,
    directory: Path,
    *,
    model: str,
    encoder: Callable[[], Encoder],
    report: Report,
    force: bool = False,
) -> BuildResult:
    """Return what was built; nothing is where the same was built before.

    An index that is there stays as it is until the new one is whole.
    """
    started = time.perf_counter()
    check_template(documentation.url_template)
    sources = find_sources(documentation.source, documentation.exclude)
    if not sources.files:
        raise ConfigurationError(
            f"Source '{documentation.source}' has no files that end in {', '.join(SUFFIXES)}."
        )
    fingerprint = _fingerprint(documentation, sources, model)
    left_out = tuple(sources.left_out.items())
    same = None if force else _same(directory, fingerprint)
    if same is not None:
        seconds = time.perf_counter() - started
        return BuildResult(directory, same.pages, same.passages, seconds, True, left_out=left_out)
    with staging(directory) as stage:
        embedder = encoder()
        embedder.start_loading()
        cuts = _cut_all(sources, documentation.txt_is_rst, model, report)
        passages, tokens = _passages(cuts, documentation)
        if not passages:
            raise ConfigurationError(
                f"Source '{documentation.source}' gives no text: {_first_reason(cuts)}"
            )
        vectors = _embedded(passages, embedder, report)
        seconds = time.perf_counter() - started
        manifest = Manifest(
            product=documentation.product,
            version=documentation.version,
            title=documentation.title,
            url_template=documentation.url_template,
            embedding_model=model,
            dimension=vectors.shape[1],
            pages=sum(1 for cut in cuts if cut.pieces),
            passages=len(passages),
            fingerprint=fingerprint,
            vectors=write_vectors(stage, vectors),
            texts=write_texts(stage, passages, tokens),
            built_seconds=round(seconds, 1),
            built_with={
                name: installed_version(name) for name in ("lightspeed-providers", "faiss-cpu")
            },
        )
        put_in_place(stage, directory, manifest)
    return BuildResult(
        directory,
        manifest.pages,
        manifest.passages,
        time.perf_counter() - started,
        False,
        skipped=tuple((cut.name, cut.skipped) for cut in cuts if cut.skipped),
        problems=tuple((cut.name, problem) for cut in cuts for problem in cut.problems),
        left_out=left_out,
    )


def _fingerprint(documentation: Documentation, sources: Sources, model: str) -> str:
    """One hash over everything that decides what is in the index."""
    parts = [
        str(FORMAT_VERSION),
        str(_MAKING),
        model,
        documentation.product,
        documentation.version,
        documentation.title,
        documentation.url_template,
        str(documentation.txt_is_rst),
        sources.digest(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _same(directory: Path, fingerprint: str) -> Manifest | None:
    """The manifest of an index built from the same, if its files are there in full."""
    try:
        manifest = read_manifest(directory)
    except ConfigurationError:
        return None
    whole = all(_is_there(directory, file) for file in (manifest.vectors, manifest.texts))
    return manifest if whole and manifest.fingerprint == fingerprint else None


def _is_there(directory: Path, file: IndexFile) -> bool:
    with suppress(OSError):
        return (directory / file.name).stat().st_size == file.size
    return False


def _cut_all(sources: Sources, txt_is_rst: bool, model: str, report: Report) -> list[_Cut]:
    """Parse and cut every file, in processes where there are many; the order is the files'."""
    cut = functools.partial(_cut, txt_is_rst=txt_is_rst, model=model)
    jobs = [(file, sources.name_of(file)) for file in sources.files]
    cuts: dict[str, _Cut] = {}
    for result in _results(cut, jobs):
        cuts[result.name] = result
        report("Reading pages", len(cuts), len(jobs))
    return [cuts[name] for _, name in jobs]


def _results(cut: Callable[[Path, str], _Cut], jobs: list[tuple[Path, str]]) -> Iterator[_Cut]:
    workers = min(os.cpu_count() or 1, 8)
    if len(jobs) <= _FEW_FILES or workers == 1:
        yield from (cut(file, name) for file, name in jobs)
        return
    pool = ProcessPoolExecutor(
        workers,
        # Forking a process whose threads load a model can deadlock.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),  # Ctrl-C is the parent's to handle
    )
    try:
        for future in as_completed([pool.submit(cut, file, name) for file, name in jobs]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _cut(file: Path, name: str, *, txt_is_rst: bool, model: str) -> _Cut:
    try:
        page = parse_file(file, name, txt_is_rst=txt_is_rst)
    except UnreadableError as fault:
        return _Cut(name, skipped=str(fault))
    count = token_counter(model)
    pieces = pieces_of(page, Measure(token_limit(model), count))
    sized = tuple((piece, count(piece.content)) for piece in pieces)
    return _Cut(name, page.title, sized, page.problems)


def _passages(cuts: list[_Cut], documentation: Documentation) -> tuple[list[Passage], list[int]]:
    passages: dict[str, Passage] = {}
    tokens: list[int] = []
    product, version = documentation.product, documentation.version
    for cut in cuts:
        document_id = f"{product.lower().replace(' ', '-')}/{version}/{cut.name}"
        for piece, size in cut.pieces:
            passage_id = _passage_id(document_id, piece)
            if passage_id in passages:  # the same text twice under one heading
                continue
            passages[passage_id] = Passage(
                passage_id=passage_id,
                document_id=document_id,
                title=cut.title,
                heading_path=piece.heading_path,
                doc_url=doc_url(
                    documentation.url_template,
                    path=cut.name,
                    anchor=piece.anchor,
                    version=version,
                    product=product,
                ),
                content=piece.content,
            )
            tokens.append(size)
    return list(passages.values()), tokens


def _passage_id(document_id: str, piece: Piece) -> str:
    whole = "\0".join((document_id, piece.anchor, piece.content))
    return hashlib.sha256(whole.encode()).hexdigest()[:24]


def _embedded(passages: list[Passage], encoder: Encoder, report: Report) -> NDArray[np.float32]:
    """Embed every passage, those of one length together, and return them in order."""
    texts = [embedded_text(p.title, p.heading_path, p.content) for p in passages]
    # The longest first: memory runs out at once or never, and the estimate only gets better.
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]), reverse=True)
    parts = []
    for start in range(0, len(order), _BATCH):
        parts.append(encoder.encode([texts[n] for n in order[start : start + _BATCH]]))
        report("Embedding passages", min(start + _BATCH, len(order)), len(order))
    ordered = np.concatenate(parts)
    vectors = np.empty_like(ordered)
    vectors[order] = ordered
    return vectors


def _first_reason(cuts: list[_Cut]) -> str:
    first = next((cut for cut in cuts if cut.skipped), None)
    return f"'{first.name}' is {first.skipped}." if first else "every page is empty."
