"""Puts an index together from documents, and from indexes that are there."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.progress import Report
from lightspeed_providers.product_rag.index.content import Document, Place
from lightspeed_providers.product_rag.index.journal import Journal, fill_from_index
from lightspeed_providers.product_rag.index.manifest import Manifest, Release
from lightspeed_providers.product_rag.index.open import Index
from lightspeed_providers.product_rag.index.packing import unpacked
from lightspeed_providers.product_rag.index.texts import TextsWriter, ToEmbed
from lightspeed_providers.product_rag.index.vectors import FLAT_UP_TO, write_vectors
from lightspeed_providers.product_rag.index.write import named_by_content, put_in_place, staging

Vectors = NDArray[np.float32]

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Part:
    """A release with its documents, read once."""

    release: Release
    documents: Iterable[Document]


@dataclass(frozen=True, slots=True)
class Embedding:
    """How texts become vectors; `encode` returns one row of length 1 a text."""

    model: str
    dimension: Callable[[], int]
    encode: Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class Assembled:
    """What an index was made of."""

    manifest: Manifest
    tokens: int
    embedded: int


def assemble(
    parts: Sequence[Part],
    directory: Path,
    embedding: Embedding,
    *,
    reuse: Sequence[Path] = (),
    report: Report,
    flat_up_to: int = FLAT_UP_TO,
    checked: Callable[[], None] = lambda: None,
    locked: bool = False,
) -> Assembled:
    """Write the index of these parts and put it in place; only unknown texts are embedded.

    Releases are written in the order of their names, so that the same parts give the same bytes.
    `checked` is called when all documents are read, and may raise. With `locked` the caller is the
    directory's only writer already.
    """
    with staging(directory, locked=locked) as stage:
        with TextsWriter(stage / "passages") as writer:
            releases = [_written(part, writer) for part in sorted(parts, key=_order)]
            checked()
            if not writer.texts:
                raise ConfigurationError("The documentation gives no text: nothing was built.")
            vectors, embedded = _vectors(writer, directory, stage, embedding, reuse, report)
            tokens = writer.tokens()
            report("Writing the index", 0, 3)
            writer.finish(stage / "words")
            report("Writing the index", 1, 3)
            facts = write_vectors(vectors, stage / "vectors", flat_up_to=flat_up_to)
            report("Writing the index", 2, 3)
            manifest = Manifest(
                embedding_model=embedding.model,
                dimension=vectors.shape[1],
                releases=tuple(releases),
                pages=sum(release.pages for release in releases),
                passages=writer.places,
                texts=len(vectors),
                vector_facts=facts,
                vectors=named_by_content(stage / "vectors", ".faiss"),
                words=named_by_content(stage / "words", ".bin"),
                passages_file=named_by_content(stage / "passages", ".sqlite"),
                built_with={
                    name: installed_version(name) for name in ("lightspeed-providers", "faiss-cpu")
                },
            )
        put_in_place(stage, directory, manifest)
        Journal(directory, embedding.model, vectors.shape[1]).remove()
        report("Writing the index", 3, 3)
    return Assembled(manifest, tokens, embedded)


def documents_of(index: Index, release: Release) -> Iterator[Document]:
    """Return the documents of a release in the order of their ids, as a build writes them."""
    with index.snapshot() as snapshot:
        groups = {
            group.number: group
            for group in snapshot.groups
            if (group.product, group.version) == (release.product, release.version)
            and group.language == release.language
        }
        marks = ", ".join(str(number) for number in groups)
        rows = snapshot.connection.execute(
            "SELECT document_no, document_id, documents.title, source_file, group_no, passage_id, "  # noqa: S608 # numbers
            "heading_path, doc_url, content, tokens FROM documents JOIN places USING (document_no) "
            f"JOIN texts USING (position) WHERE group_no IN ({marks}) ORDER BY document_id, ordinal"
        )
        for _, same in groupby(rows, key=lambda row: row[0]):
            places = list(same)
            _, document_id, title, source_file, group = places[0][:5]
            yield Document(
                document_id=document_id,
                title=title,
                source_file=source_file,
                language=groups[group].language,
                attributes=groups[group].attributes,
                places=tuple(_place(row) for row in places),
            )


def _place(row: Sequence[Any]) -> Place:  # Any: what SQLite answers
    passage_id, heading_path, doc_url, content, tokens = row[5:10]
    return Place(passage_id, tuple(json.loads(heading_path)), doc_url, unpacked(content), tokens)


def _order(part: Part) -> tuple[str, str, str]:
    return part.release.key


def _written(part: Part, writer: TextsWriter) -> Release:
    pages, before = 0, writer.places
    try:
        for document in part.documents:
            writer.add(part.release, document)
            pages += 1
    except sqlite3.IntegrityError as fault:
        raise ConfigurationError(
            f"Two documents of {part.release.name} have one id: give their files other names."
        ) from fault
    return part.release.model_copy(update={"pages": pages, "passages": writer.places - before})


def _vectors(
    writer: TextsWriter,
    directory: Path,
    stage: Path,
    embedding: Embedding,
    reuse: Sequence[Path],
    report: Report,
) -> tuple[Vectors, int]:
    """Every text's vector, in a file, and how many had to be computed."""
    texts = writer.to_embed()
    dimension = embedding.dimension()
    shape = (len(texts), dimension)
    with (stage / "rows").open("wb") as file:
        # A full disk is an error here; met later, in mapped memory, it would end the process.
        os.posix_fallocate(file.fileno(), 0, 4 * len(texts) * dimension)
    vectors = np.memmap(stage / "rows", dtype=np.float32, mode="r+", shape=shape)
    rows = {text.key: text.position for text in texts}
    filled: set[int] = set()
    for known in (directory, *reuse):
        filled |= fill_from_index(known, embedding.model, rows, vectors)
    journal = Journal(directory, embedding.model, dimension)
    filled |= journal.fill(rows, vectors)
    missing = [text for text in texts if text.position not in filled]
    # The longest first: memory runs out at once or never, and the estimate only gets better.
    missing.sort(key=lambda text: (-text.length, text.position))
    for start in range(0, len(missing), _BATCH):
        part = missing[start : start + _BATCH]
        _embed(part, writer, embedding, vectors, journal)
        report("Embedding passages", min(start + _BATCH, len(missing)), len(missing))
    return vectors, len(missing)


def _embed(
    part: list[ToEmbed],
    writer: TextsWriter,
    embedding: Embedding,
    vectors: Vectors,
    journal: Journal,
) -> None:
    positions = [text.position for text in part]
    computed = embedding.encode(writer.embedded_texts(positions))
    vectors[positions] = computed
    journal.append([text.key for text in part], computed)
