"""From a question to the passages that answer it."""

import logging
import sqlite3
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnavailableError,
)
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.choice import Hit, chosen, joined_with_neighbours
from lightspeed_providers.product_rag.filters import LATEST, Wanted
from lightspeed_providers.product_rag.fusion import fuse, supported
from lightspeed_providers.product_rag.index.allowed import Allowed
from lightspeed_providers.product_rag.index.content import Group, Stored
from lightspeed_providers.product_rag.index.open import Index
from lightspeed_providers.product_rag.index.snapshot import Snapshot
from lightspeed_providers.product_rag.index.stems import Stemmer
from lightspeed_providers.product_rag.keywords import asked, telling_terms
from lightspeed_providers.product_rag.naming import named_products
from lightspeed_providers.product_rag.scopes import Scopes
from lightspeed_providers.product_rag.spelling import Speller

logger = logging.getLogger(__name__)

_CANDIDATES = 60
"""Hits of each side that are fused."""
_MOST_CHARACTERS = 4000
"""Of a query; no keyword search and no embedding model here reads more."""
_LOOKED_AT = 40
"""Of the fused candidates, those whose passages are read and whose pages support each other."""
_FEEDBACK = 5
"""Nearest texts that a question's vector leans to, and how far."""
_LEAN = 0.3
_NAMED = 1.3
"""How much more a passage counts whose product the question names, where there are several."""

Mode = Literal["hybrid", "dense", "keyword"]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How a search is done. Token budgets are those of the embedding model."""

    k: int = 5
    max_tokens: int = 2000
    neighbour_tokens: int = 0
    """For text of the same section beside a passage, in all."""
    min_score: float = 0.0
    """Nothing is found where no passage scores this much, from 0 to 1; 0 finds the nearest."""
    mode: Mode = "hybrid"
    default_version: str = LATEST
    """Where neither filter nor question names a version: `latest`, `all` or a version."""
    rerank_top: int = 20
    """Passages that a reranker judges, where there is one."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found, best first, and how sure one can be of it."""

    hits: tuple[Hit, ...]
    best_score: float
    took_ms: float
    errors: tuple[str, ...] = ()

    @property
    def passages(self) -> tuple[Passage, ...]:
        """The passages alone."""
        return tuple(hit.passage for hit in self.hits)


class Reranker(Protocol):
    """Judges how well texts answer a question. Blocks."""

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return a score a text; higher is better."""
        ...


class Retriever:
    """Dense and keyword search over one index. Blocks, and may be called from many threads."""

    def __init__(self, index: Index, reranker: Reranker | None = None) -> None:
        self._index = index
        self._reranker = reranker
        self._stems = Stemmer().stems
        self._scopes = Scopes(())
        is_english = all(release.language == "en" for release in index.manifest.releases)
        self._speller = Speller(index.vocabulary if is_english else {})

    def understood(self, query: str) -> str:
        """Return the query as it was meant, its slips set right: embed and search this one.

        Raises InvalidRequestError for an empty query.
        """
        query = checked_query(query)
        with self._reading(), self._index.snapshot() as snapshot:
            return self._speller.corrected(query, snapshot.has_word)

    def search(
        self,
        query: str,
        vector: NDArray[np.float32],
        settings: SearchSettings,
        wanted: Wanted | None = None,
    ) -> SearchResult:
        """Return at most k passages within the token budget, best first; the best always comes.

        Raises InvalidRequestError for an empty query and for filters that nothing can match.
        """
        started = time.perf_counter()
        query = checked_query(query)
        vector = self._unit(vector)
        errors: list[str] = []
        with self._reading(), self._index.snapshot() as snapshot:
            scopes = self._scopes_of(snapshot.groups)
            groups = scopes.of(query, wanted or Wanted(), settings.default_version)
            named = named_products(query, scopes.products) if len(scopes.products) > 1 else ()
            search = _Search(
                snapshot,
                query,
                vector,
                settings,
                snapshot.allow(groups),
                frozenset(named),
                self._stems,
                errors,
            )
            ranked = search.ranked()
            hits: tuple[Hit, ...] = ()
            if settings.min_score <= 0 or ranked.best_score >= settings.min_score:
                hits = self._hits(search, ranked.scores, groups)
        took_ms = (time.perf_counter() - started) * 1000
        return SearchResult(hits, round(ranked.best_score, 4), round(took_ms, 3), tuple(errors))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as fault:
            raise UnavailableError(
                f"Index '{self._index.name}' can't be read ({type(fault).__name__}): "
                "restart the server, or build the index again."
            ) from fault

    def _scopes_of(self, groups: Sequence[Group]) -> Scopes:
        """What is known of these groups; those of a live index only grow."""
        if len(self._scopes) != len(groups):
            self._scopes = Scopes(groups)
        return self._scopes

    def _hits(
        self, search: "_Search", fused: dict[int, float], groups: frozenset[int]
    ) -> tuple[Hit, ...]:
        snapshot, settings = search.snapshot, search.settings
        first = list(fused)[: max(4 * settings.k, settings.rerank_top, _LOOKED_AT)]
        stored = snapshot.stored(first, groups)
        # A text that several products have is cited from the one that the question names.
        if search.named:
            at_home = {g.number for g in snapshot.groups if g.product in search.named}
            stored |= snapshot.stored(first, groups & at_home)
        scores = {position: fused[position] for position in first if position in stored}
        if settings.mode == "hybrid":
            scores = supported(scores, {p: s.document for p, s in stored.items()})
            scores = _favoured(scores, stored, search.named)
        if self._reranker is not None:
            scores = _reranked(self._reranker, scores, stored, search)
        ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        hits = chosen([(stored[p], score) for p, score in ranked], settings.k, settings.max_tokens)
        left = min(settings.max_tokens - sum(h.tokens for h in hits), settings.neighbour_tokens)
        return joined_with_neighbours(hits, left, snapshot.neighbours) if left > 0 else hits

    def _unit(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        dimension = self._index.manifest.dimension
        if vector.shape != (dimension,):
            raise ConfigurationError(
                f"The embedding model answers with {vector.size} dimensions and the index has "
                f"{dimension}: configure the model '{self._index.manifest.embedding_model}'."
            )
        return _unit(vector)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Candidates with their scores, best first, and how good the best is, from 0 to 1."""

    scores: dict[int, float]
    best_score: float


@dataclass(frozen=True, slots=True)
class _Search:
    """One question to one state of an index."""

    snapshot: Snapshot
    query: str
    vector: NDArray[np.float32]
    settings: SearchSettings
    allowed: Allowed | None
    named: frozenset[str]
    """Products that the question names, of several."""
    stems: Callable[[str], list[str]]
    errors: list[str]

    def ranked(self) -> _Ranked:
        """Return what both sides find, in one ranking."""
        count = max(_CANDIDATES, self.settings.k)
        nearest = self.snapshot.nearest(self.vector, count, self.allowed)
        if self.settings.mode == "dense":
            return _Ranked(nearest, max(nearest.values(), default=0.0))
        found, ideal = self._matching(count)
        if self.settings.mode == "keyword":
            return _Ranked(found, max(found.values(), default=0.0) / ideal if ideal else 0.0)
        leaning = self._leaning(list(nearest))
        cosines = self.snapshot.nearest(leaning, count, self.allowed)
        others = [position for position in (nearest | found) if position not in cosines]
        cosines |= self.snapshot.cosines(leaning, others)
        fused = fuse(cosines, found, ideal)
        return _Ranked(fused, max(fused.values(), default=0.0))

    def _leaning(self, nearest: list[int]) -> NDArray[np.float32]:
        """The question's vector, leaning to the texts nearest to it (Rocchio's feedback)."""
        if not nearest:
            return self.vector
        around = self.snapshot.vectors_at(nearest[:_FEEDBACK]).mean(axis=0)
        return _unit(self.vector + _LEAN * around)

    def _matching(self, count: int) -> tuple[dict[int, float], float]:
        try:
            terms = telling_terms(self.query)
            wanted = asked(terms, self.snapshot.count(), self.stems, self.snapshot.listed)
            parts = [(part.start, part.texts, part.rarity) for part in wanted.words]
            found = self.snapshot.matching(
                parts, wanted.names, wanted.everything, count, self.allowed
            )
            return found, wanted.ideal
        except sqlite3.Error as fault:
            logger.warning("Keyword search failed: %s", type(fault).__name__)
            self.errors.append(f"Keyword search failed ({type(fault).__name__}).")
            return {}, 0.0


def checked_query(query: str) -> str:
    """Return the query without what no database takes, cut where no search reads on.

    Raises InvalidRequestError for an empty one.
    """
    readable = query[:_MOST_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    cleaned = readable.replace("\x00", " ").strip()
    if not cleaned:
        raise InvalidRequestError("The search query is empty: say what to look for.")
    return cleaned


def _favoured(
    scores: dict[int, float], stored: Mapping[int, Stored], named: Container[str]
) -> dict[int, float]:
    """Count passages of a product that the question names for more."""
    return {
        position: min(score * (_NAMED if stored[position].passage.product in named else 1.0), 1.0)
        for position, score in scores.items()
    }


def _reranked(
    reranker: Reranker, scores: dict[int, float], stored: Mapping[int, Stored], search: _Search
) -> dict[int, float]:
    count = max(search.settings.rerank_top, search.settings.k)
    top = sorted(scores, key=lambda position: -scores[position])[:count]
    texts = [stored[position].passage.content for position in top]
    try:
        return dict(zip(top, reranker.scores(search.query, texts), strict=True))
    except Exception as fault:  # whatever a model raises, the order before it is usable
        logger.warning("Reranking failed: %s", type(fault).__name__)
        search.errors.append(f"Reranking failed ({type(fault).__name__}).")
        return scores


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    norm = float(np.linalg.norm(vector))
    return (vector / norm if norm else vector).astype(np.float32)
