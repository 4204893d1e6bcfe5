"""A documentation's files as documents with passages, read on all cores."""

import functools
import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.progress import Report
from lightspeed_providers.product_rag.index.content import Document, Place
from lightspeed_providers.product_rag.ingest.address import doc_url
from lightspeed_providers.product_rag.ingest.chunk import Measure, Piece, pieces_of
from lightspeed_providers.product_rag.ingest.parse import (
    NothingToCiteError,
    UnreadableError,
    parse_file,
)
from lightspeed_providers.product_rag.ingest.sources import Sources
from lightspeed_providers.product_rag.ingest.tokens import token_counter, token_limit

_LONGEST_VALUE = 100
"""Characters of an attribute; what is longer is prose, and nobody filters on it."""
_FEW_FILES = 24
"""Up to so many files are parsed faster here than in processes of their own."""


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


@dataclass(slots=True)
class Told:
    """What the documents' authors should know, collected while they are read."""

    skipped: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    empty: int = 0
    read: int = 0

    def note(self, cut: "_Cut") -> None:
        """Add what became of a file."""
        self.read += 1
        if cut.is_empty:
            self.empty += 1
        elif cut.skipped:
            self.skipped.append((cut.name, cut.skipped))
        self.problems.extend((cut.name, problem) for problem in cut.problems)


def documents(
    sources: Sources, documentation: Documentation, model: str, told: Told, report: Report
) -> Iterator[Document]:
    """Yield every page that has text, in the order of its name; the rest is told."""
    cuts = _cut_all(sources, documentation.txt_is_rst, model, report)
    yield from _documents(cuts, documentation, told)


def check_read(told: Told, documentation: Documentation, *, strict: bool) -> None:
    """Refuse a documentation of which nothing, or with `strict` not everything, could be read."""
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


def _cut_all(sources: Sources, txt_is_rst: bool, model: str, report: Report) -> Iterator[_Cut]:
    """Parse and cut every file, in processes where there are many; the order is of their names."""
    cut = functools.partial(_cut, txt_is_rst=txt_is_rst, model=model)
    files = sorted(sources.files, key=sources.name_of)
    names = [sources.name_of(file) for file in files]
    inside = [file.relative_to(sources.root).as_posix() for file in files]
    for done, result in enumerate(_results(cut, (files, names, inside)), start=1):
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
    cuts: Iterator[_Cut], documentation: Documentation, told: Told
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
