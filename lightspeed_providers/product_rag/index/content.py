"""What goes into an index, and what comes out of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lightspeed_providers.core.turns import Passage


@dataclass(frozen=True, slots=True)
class Place:
    """A passage of a document, as it is written into an index."""

    passage_id: str
    heading_path: tuple[str, ...]
    doc_url: str
    content: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Document:
    """A page with its passages in order."""

    document_id: str
    title: str
    source_file: str
    language: str
    attributes: tuple[tuple[str, str], ...]
    places: tuple[Place, ...]


class Group(NamedTuple):
    """What all passages of a group have in common: what filters can ask for."""

    number: int
    product: str
    version: str
    language: str
    attributes: tuple[tuple[str, str], ...]

    def facts(self) -> dict[str, str]:
        """Return it by field name; a page's own attributes never hide the index's."""
        return dict(self.attributes) | {
            "product": self.product,
            "version": self.version,
            "language": self.language,
        }


class Stored(NamedTuple):
    """A passage as the index holds it, with its place in its document."""

    passage: Passage
    tokens: int
    position: int
    document: int
    ordinal: int


def embedded_text(title: str, heading_path: Sequence[str], content: str) -> str:
    """Return what the model reads of a passage: its content with its place in front."""
    return f"{' › '.join((title, *heading_path))}\n{content}"


def text_key(embedded: str) -> bytes:
    """Return 16 bytes that tell a text from every other."""
    return hashlib.sha256(embedded.encode()).digest()[:16]
