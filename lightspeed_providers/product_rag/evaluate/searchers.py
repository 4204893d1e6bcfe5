"""The searches over an index: each side alone, both together, and reranked.

Everything that knows how retrieval is called is here.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lightspeed_providers.core.devices import choose_device
from lightspeed_providers.core.embedder import Embedder, shared_embedder
from lightspeed_providers.core.errors import ConfigurationError, UnavailableError
from lightspeed_providers.product_rag.evaluate.questions import Question
from lightspeed_providers.product_rag.evaluate.ranks import anchor_of, page_of
from lightspeed_providers.product_rag.evaluate.results import IndexFacts
from lightspeed_providers.product_rag.evaluate.searching import Found, Searcher
from lightspeed_providers.product_rag.filters import Wanted
from lightspeed_providers.product_rag.index.open import Index, index_directory, open_index
from lightspeed_providers.product_rag.rerank import judged, open_cross_encoder
from lightspeed_providers.product_rag.retrieval import Mode, Retriever, SearchSettings

DENSE, BM25, HYBRID = "dense", "bm25", "hybrid"
RERANKED = "hybrid + reranker"
_MODES: dict[str, Mode] = {DENSE: "dense", BM25: "keyword", HYBRID: "hybrid"}
_NO_BUDGET = 10**9
_READ_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Opened:
    """An index with its searches; `places` are its pages and their `page#anchor`."""

    facts: IndexFacts
    places: frozenset[str]
    searchers: tuple[Searcher, ...]


@contextmanager
def open_searchers(
    name_or_path: str, *, device: str | None, reranker: str | None, min_score: float
) -> Iterator[Opened]:
    """Give the searches over an index, the product's own last; they close with the context."""
    directory = index_directory(name_or_path)
    index = open_index(directory, None)
    manifest = index.manifest
    try:
        embedder = shared_embedder(manifest.embedding_model, device)
        embedder.encode(["warm up"])  # loading the model is no question's time
        settings = SearchSettings(max_tokens=_NO_BUDGET, min_score=min_score)
        found: list[Searcher] = [
            _Search(name, Retriever(index), embedder, replace(settings, mode=mode))
            for name, mode in _MODES.items()
        ]
        if reranker is not None:
            judge = Retriever(index, _Judge(_cross_encoder(reranker, device)))
            found.append(_Search(RERANKED, judge, embedder, settings))
        facts = IndexFacts(
            name=directory.name,
            holds=manifest.name,
            embedding_model=manifest.embedding_model,
            pages=manifest.pages,
            passages=manifest.passages,
            fingerprint=manifest.passages_file.sha256,
        )
        yield Opened(facts, _places(index), tuple(found))
    finally:
        index.close()


class _Search:
    """One way to search; the time is what a user waits for, embedding the question included.

    Each side alone takes the question as it was typed, as a search without the other one would.
    """

    def __init__(
        self, name: str, retriever: Retriever, embedder: Embedder, settings: SearchSettings
    ) -> None:
        self.name = name
        self._retriever, self._embedder, self._settings = retriever, embedder, settings

    def search(self, question: Question, k: int) -> Found:
        """Return the passages that are found, without a limit on tokens."""
        started = time.perf_counter()
        text = question.question
        if self._settings.mode == "hybrid":
            text = self._retriever.understood(text)
        vector = self._embedder.encode([text])[0]
        embedded_ms = _ms_since(started)
        wanted = Wanted(product=question.product, version=question.version)
        result = self._retriever.search(text, vector, replace(self._settings, k=k), wanted)
        if result.errors:
            raise UnavailableError(f"Question '{question.id}' was not searched: {result.errors[0]}")
        needed_ms = 0.0 if self._settings.mode == "keyword" else embedded_ms
        return Found(result.passages, result.best_score, needed_ms + result.took_ms)


class _Judge:
    """A cross-encoder as retrieval calls it."""

    def __init__(self, model: Any) -> None:  # Any: importing the type is slow
        self._model = model

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return how well each text answers the query."""
        return judged(self._model, query, texts)


def _cross_encoder(name: str, device: str | None) -> Any:  # Any: importing the type is slow
    chosen = choose_device(device)
    try:
        return open_cross_encoder(name, chosen)
    except Exception as fault:  # whatever torch, the hub or the files raise, say it once
        reason = next(iter(str(fault).strip().splitlines()), type(fault).__name__)
        raise ConfigurationError(
            f"Reranker '{name}' can't be loaded ({reason}): name a cross-encoder or its directory."
        ) from fault


def _places(index: Index) -> frozenset[str]:
    places: set[str] = set()
    with index.snapshot() as snapshot:
        for start in range(0, snapshot.count(), _READ_AT_ONCE):
            for stored in snapshot.stored(range(start, start + _READ_AT_ONCE)).values():
                page = page_of(stored.passage)
                places |= {page, f"{page}#{anchor_of(stored.passage)}"}
    return frozenset(places)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
