"""The documents behind the passages that an answer was given."""

import json
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from lightspeed_providers.core.turns import Passage

METADATA_KEY = "referenced_documents"


class ReferencedDocument(BaseModel):
    """One document in the shape that Lightspeed clients read."""

    model_config = ConfigDict(frozen=True)

    doc_url: str
    doc_title: str
    source: str
    document_id: str


def referenced_documents(passages: Iterable[Passage]) -> tuple[ReferencedDocument, ...]:
    """Return each document once, by address and title, in the order of the passages."""
    documents: dict[tuple[str, str], ReferencedDocument] = {}
    for passage in passages:
        key = (passage.doc_url, passage.title)
        documents.setdefault(
            key,
            ReferencedDocument(
                doc_url=passage.doc_url,
                doc_title=passage.title,
                source=passage.source,
                document_id=passage.document_id,
            ),
        )
    return tuple(documents.values())


def as_metadata(documents: Sequence[ReferencedDocument]) -> str:
    """Return documents as the JSON text that a response's metadata carries."""
    return json.dumps([d.model_dump() for d in documents], ensure_ascii=False)
