"""Changes an index in place: only the documents that differ are written, milliseconds each."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.progress import Report
from lightspeed_providers.product_rag.index.assemble import documents_of
from lightspeed_providers.product_rag.index.content import Document, embedded_text
from lightspeed_providers.product_rag.index.live import LiveWriter
from lightspeed_providers.product_rag.index.manifest import Release, read_manifest
from lightspeed_providers.product_rag.index.open import open_index
from lightspeed_providers.product_rag.ingest.build import (
    BuildResult,
    Encoder,
    checked_sources,
    release_of,
)
from lightspeed_providers.product_rag.ingest.reading import (
    Documentation,
    Told,
    check_read,
    documents,
)


def update_index(
    documentation: Documentation,
    directory: Path,
    *,
    model: str,
    encoder: Callable[[], Encoder],
    report: Report,
    strict: bool = False,
    skipped: Sequence[tuple[str, str]] = (),
) -> BuildResult:
    """Return what changed: documents that are new or differ are written, missing ones removed.

    Each change is seen by servers as soon as it is on disk. The index is live afterwards, until it
    is sealed or built again.
    """
    started = time.perf_counter()
    sources = checked_sources(documentation)
    release = release_of(documentation, sources, model)
    held = _held(directory, release, model)
    told = Told(skipped=list(skipped))
    found = {
        document.document_id: document
        for document in documents(sources, documentation, model, told, report)
    }
    check_read(told, documentation, strict=strict)
    changed = [document for key, document in found.items() if held.get(key) != document]
    gone = sorted(held.keys() - found.keys())
    if changed or gone:
        _write(directory, release, changed, gone, encoder, report)
    manifest = read_manifest(directory)
    index = open_index(directory, model)
    try:
        with index.snapshot() as snapshot:
            count = "SELECT count(DISTINCT document_no), count(*) FROM places"
            pages, passages = snapshot.connection.execute(count).fetchone()
    finally:
        index.close()
    return BuildResult(
        directory,
        pages,
        passages,
        time.perf_counter() - started,
        unchanged=not (changed or gone),
        tokens=sum(place.tokens for document in changed for place in document.places),
        embedded=sum(len(document.places) for document in changed),
        empty=told.empty,
        skipped=tuple(told.skipped),
        problems=tuple(told.problems),
        left_out=tuple(sources.left_out.items()),
        is_live=manifest.live,
    )


def _held(directory: Path, release: Release, model: str) -> dict[str, Document]:
    """The documents of a release as the index has them."""
    index = open_index(directory, model)
    try:
        known = [held for held in index.manifest.releases if held.key == release.key]
        if known and known[0].url_template != release.url_template:
            raise ConfigurationError(
                f"Index '{directory}' has {release.name} with the URL template "
                f"'{known[0].url_template}': name the same, or build it again."
            )
        return {
            document.document_id: document
            for held in known
            for document in documents_of(index, held)
        }
    finally:
        index.close()


def _write(
    directory: Path,
    release: Release,
    changed: Sequence[Document],
    gone: Iterable[str],
    encoder: Callable[[], Encoder],
    report: Report,
) -> None:
    for done, document in enumerate(changed, start=1):
        texts = [embedded_text(document.title, p.heading_path, p.content) for p in document.places]
        vectors = encoder().encode(texts)
        with LiveWriter(directory) as writer:  # one document at a time, so that others get a turn
            writer.replace(release, document, vectors)
        report("Changing documents", done, len(changed))
    with LiveWriter(directory) as writer:
        for document_id in gone:
            writer.remove(document_id)
