"""What a vector store answers with."""

from collections.abc import Callable, Sequence
from typing import Any

from llama_stack_api import (
    ChunkMetadata,
    EmbeddedChunk,
    VectorStoreContent,
    VectorStoreSearchResponse,
)

from lightspeed_providers.core.errors import InvalidRequestError
from lightspeed_providers.core.turns import Passage

from .choice import Hit
from .documents import file_id, vectors_of
from .index.snapshot import Snapshot

_PAGE_OF_FILES = 20


def cut_to_page[T](
    items: list[T],
    id_of: Callable[[T], str],
    limit: int | None,
    after: str | None,
    before: str | None,
) -> tuple[list[T], bool]:
    """Return one page of a list, and whether more follows; an unknown cursor is refused."""
    ids = [id_of(item) for item in items] if after or before else []
    for cursor in (after, before):
        if cursor and cursor not in ids:
            raise InvalidRequestError(
                f"No '{cursor[:80]}' to go on from: start from the beginning."
            )
    end = ids.index(before) if before else len(items)
    part = items[ids.index(after) + 1 if after else 0 : end]
    count = _PAGE_OF_FILES if limit is None else limit
    return part[:count], len(part) > count


def result_of(passage: Passage) -> VectorStoreSearchResponse:
    """Return a passage as a search result; its title is what citations show."""
    return VectorStoreSearchResponse(
        file_id=file_id(passage.document_id),
        filename=passage.title or passage.doc_url,
        score=passage.score,
        attributes=dict(passage.told),
        content=[VectorStoreContent(type="text", text=passage.content)],
    )


def query_of(content: Any) -> str:  # Any: text, or the host's content items
    """Return the text that is searched for."""
    items = content if isinstance(content, list) else [content]
    texts = [item if isinstance(item, str) else getattr(item, "text", None) for item in items]
    if any(text is None for text in texts):
        raise InvalidRequestError("Only text can be searched for: send a text as the query.")
    return " ".join(text for text in texts if text)


def chunks_of(hits: Sequence[Hit], model: str, snapshot: Snapshot) -> list[EmbeddedChunk]:
    """Return hits as chunks with their vectors; one that moved meanwhile is left out."""
    vectors = vectors_of(snapshot, hits)
    return [
        EmbeddedChunk(
            content=passage.content,
            chunk_id=passage.passage_id,
            metadata=dict(passage.told),
            chunk_metadata=ChunkMetadata(
                chunk_id=passage.passage_id,
                document_id=passage.document_id,
                source=passage.doc_url,
            ),
            embedding=vectors[passage.passage_id],
            embedding_model=model,
            embedding_dimension=snapshot.dimension,
        )
        for passage in (hit.passage for hit in hits)
        if passage.passage_id in vectors
    ]
