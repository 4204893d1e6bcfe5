"""The documents behind the passages that an answer was given."""

import json
import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from lightspeed_providers.core.turns import Passage

METADATA_KEY = "referenced_documents"

_ADDRESS = re.compile(r"https?://|/", re.IGNORECASE)


class ReferencedDocument(BaseModel):
    """One document in the shape that Lightspeed clients read."""

    model_config = ConfigDict(frozen=True)

    doc_url: str
    doc_title: str
    source: str
    document_id: str

    @property
    def has_address(self) -> bool:
        """Whether a browser could open it; a customer's file has often only a name."""
        return _ADDRESS.match(self.doc_url) is not None


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
