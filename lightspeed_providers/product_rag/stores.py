"""Vector stores of this Llama Stack, searched beside the indexes."""

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from llama_stack_api import EmbeddedChunk, QueryChunksRequest

from lightspeed_providers.core.errors import ConfigurationError, UnavailableError
from lightspeed_providers.core.turns import Passage

from .choice import Hit
from .config import SearchedStore
from .documents import store_id
from .filters import ALL, LATEST, Wanted, holds
from .index.versions import matching_version
from .library import Question
from .retrieval import Reranker, SearchResult

_CHARACTERS_A_TOKEN = 4
_ADDRESSES = ("doc_url", "url", "source")
_TITLES = ("title", "filename", "file_name")
_KNOWN = {*_ADDRESSES, *_TITLES, "document_id", "product", "version", "language"}


class StoreSource:
    """One store as a source."""

    def __init__(
        self,
        store: SearchedStore,
        vector_io: Any,  # Any: the host's router
        reranker: Reranker | None = None,
    ) -> None:
        self._store = store
        self._vector_io = vector_io
        self._reranker = reranker

    @property
    def name(self) -> str:
        """What results call this store."""
        return self._store.name or self._store.vector_store_id

    async def find(self, question: Question) -> SearchResult:
        """Return the store's best chunks as passages."""
        count = question.settings.k
        # The host's OpenAI-shaped search turns every error into an empty answer; this one does not.
        request = QueryChunksRequest(
            vector_store_id=self._store.vector_store_id,
            query=question.query,
            params={
                "max_chunks": count,
                "max_num_results": count,
                "mode": self._store.search_mode,
            },
        )
        try:
            async with asyncio.timeout(self._store.timeout_s):
                answer = await self._vector_io.query_chunks(request)
        except ValueError as fault:  # what the host raises for a store that it does not have
            raise UnavailableError(
                f"Vector store '{self._store.vector_store_id}' can't be searched: check that it "
                "exists and knows this search mode."
            ) from fault
        found = [(chunk, _facts(chunk)) for chunk in answer.chunks]
        kept = [(chunk, facts) for chunk, facts in found if fits(question.wanted, facts)]
        scores, errors = await self._scores(question.query, [_text(chunk) for chunk, _ in kept])
        hits = [
            self._hit(chunk, facts, score)
            for (chunk, facts), score in zip(kept, scores, strict=True)
        ]
        hits.sort(key=lambda hit: -hit.passage.score)
        return SearchResult(tuple(hits), 0.0, 0.0, errors)

    async def _scores(self, query: str, texts: list[str]) -> tuple[list[float], tuple[str, ...]]:
        """What a reranker says of the chunks, else what their order does."""
        by_rank = ranked_scores(len(texts), self._store.weight)
        if self._reranker is None:
            return by_rank, ()
        try:
            judged = await asyncio.to_thread(self._reranker.scores, query, texts)
        except Exception as fault:  # whatever a model raises, the order before it is usable
            return by_rank, (f"Reranking failed ({type(fault).__name__}).",)
        return [self._store.weight * score for score in judged], ()

    def _hit(self, chunk: EmbeddedChunk, facts: Mapping[str, str], score: float) -> Hit:
        content = _text(chunk)
        document_id = chunk.document_id or chunk.chunk_id
        address = _first(facts, (*_ADDRESSES, *_TITLES)) or document_id
        passage = Passage(
            passage_id=sha256(f"{document_id}\0{content}".encode()).hexdigest()[:24],
            document_id=document_id,
            title=_first(facts, _TITLES) or document_id,
            doc_url=address,
            content=content,
            score=round(score, 4),
            source=self.name,
            product=facts.get("product", ""),
            version=facts.get("version", ""),
            language=facts.get("language", ""),
            attributes={name: value for name, value in facts.items() if name not in _KNOWN},
        )
        return Hit(passage, max(1, len(content) // _CHARACTERS_A_TOKEN))


def ranked_scores(count: int, weight: float) -> list[float]:
    """Return the scores of a store's hits: the weight, less an equal step for each rank.

    Scores of stores have scales that nobody knows (distances, cosines, BM25), so only the order is
    taken: of n hits the first scores the weight, the last the weight divided by n.
    """
    return [weight * (1 - rank / count) for rank in range(count)]


def fits(wanted: Wanted, facts: Mapping[str, str]) -> bool:
    """Whether a chunk is within what is wanted.

    A chunk that says nothing of its product, version or language is of any; a filter must hold.
    """
    for named, name in ((wanted.product, "product"), (wanted.language, "language")):
        if named is not None and facts.get(name, named).casefold() != named.casefold():
            return False
    version = facts.get("version")
    asked = wanted.version if wanted.version not in (ALL, LATEST) else None
    if asked and version is not None and matching_version(asked, [version]) is None:
        return False
    return wanted.where is None or holds(wanted.where, facts)


def check_stores(stores: Sequence[SearchedStore], indexes: Sequence[str], vector_io: Any) -> None:
    """Refuse stores that can't be searched."""
    if stores and vector_io is None:
        raise ConfigurationError(
            f"Vector store '{stores[0].vector_store_id}' is configured to be searched and there is "
            "no vector_io API: add one, or remove `stores`."
        )
    ours = {store_id(index) for index in indexes}
    for store in stores:
        if store.vector_store_id in ours:
            raise ConfigurationError(
                f"Vector store '{store.vector_store_id}' is an index that is searched already: "
                "remove it from `stores`."
            )


def _facts(chunk: EmbeddedChunk) -> dict[str, str]:
    plain = {n: v for n, v in chunk.metadata.items() if isinstance(v, str | int | float | bool)}
    return {name: str(value) for name, value in plain.items()}


def _text(chunk: EmbeddedChunk) -> str:
    items = chunk.content if isinstance(chunk.content, list) else [chunk.content]
    return "\n".join(i if isinstance(i, str) else getattr(i, "text", "") for i in items)


def _first(facts: Mapping[str, str], names: Sequence[str]) -> str:
    return next((facts[name] for name in names if facts.get(name)), "")
