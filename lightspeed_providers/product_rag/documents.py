"""The pages of an index, as vector stores show them: as files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.choice import Hit
from lightspeed_providers.product_rag.index.snapshot import Snapshot

_LAST = 1 << 31


@dataclass(frozen=True, slots=True)
class Page:
    """One page of documentation."""

    number: int
    document_id: str
    title: str
    source_file: str
    facts: dict[str, str]

    @property
    def file_id(self) -> str:
        """What clients call it."""
        return file_id(self.document_id)


def store_id(index: str) -> str:
    """Return the id of an index's vector store."""
    return f"vs_{index}"


def file_id(document_id: str) -> str:
    """Return the id of a page's file: short, and one that a model can repeat."""
    return f"file-{hashlib.sha256(document_id.encode()).hexdigest()[:24]}"


def pages_of(snapshot: Snapshot) -> list[Page]:
    """Return every page, in the order in which they were added."""
    rows = snapshot.connection.execute(
        "SELECT document_no, document_id, title, source_file, group_no FROM documents ORDER BY 1"
    )
    facts = {group.number: group.facts() for group in snapshot.groups}
    return [Page(no, name, title, file, facts[group]) for no, name, title, file, group in rows]


def page_of(snapshot: Snapshot, wanted: str) -> Page | None:
    """Return the page of a file id, if this index has it."""
    return next((page for page in pages_of(snapshot) if page.file_id == wanted), None)


def count_of(snapshot: Snapshot) -> int:
    """Return how many pages there are."""
    return int(snapshot.connection.execute("SELECT count(*) FROM documents").fetchone()[0])


def passages_of(snapshot: Snapshot, page: Page) -> list[Passage]:
    """Return a page's passages in order."""
    return [stored.passage for stored in snapshot.neighbours(page.number, 0, _LAST)]


def vectors_of(snapshot: Snapshot, hits: Sequence[Hit]) -> dict[str, list[float]]:
    """Return the vectors of these hits by passage id; one that moved meanwhile has none."""
    positions: dict[str, int] = {}
    for hit in hits:
        row = snapshot.connection.execute(
            "SELECT position FROM places WHERE document_no = ? AND ordinal = ? AND passage_id = ?",
            (hit.document, hit.ordinal, hit.passage.passage_id),
        ).fetchone()
        if row is not None:
            positions[hit.passage.passage_id] = row[0]
    rows = snapshot.vectors_at(list(positions.values()))
    return dict(zip(positions, rows.tolist(), strict=True))
