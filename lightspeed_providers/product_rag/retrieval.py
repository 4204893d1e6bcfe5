"""From a question to the passages that answer it."""

import logging
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnavailableError,
)
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.fusion import fuse
from lightspeed_providers.product_rag.index.manifest import Manifest
from lightspeed_providers.product_rag.index.open import Index, Stored
from lightspeed_providers.product_rag.keywords import match_expression, names_identifier

logger = logging.getLogger(__name__)

_CANDIDATES = 50
"""Hits of each side that are fused."""
_SAME_TEXT = 0.9
"""Share of common words from which two passages say the same."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found, and how sure one can be of it."""

    passages: tuple[Passage, ...]
    best_cosine: float
    took_ms: float
    errors: tuple[str, ...] = ()


class Retriever:
    """Dense and keyword search over one index. Blocks, and may be called from many threads."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def search(
        self,
        query: str,
        vector: NDArray[np.float32],
        *,
        k: int,
        max_tokens: int,
        min_cosine: float = 0.0,
    ) -> SearchResult:
        """Return at most k passages within the token budget, best first; the best always comes.

        Nothing is found where no passage is at least `min_cosine` similar to the query.
        """
        started = time.perf_counter()
        query = checked_query(query)
        vector = self._unit(vector)
        errors: list[str] = []
        try:
            dense = self._index.nearest(vector, max(_CANDIDATES, k))
            best_cosine = max(dense.values(), default=0.0)
            chosen: tuple[Passage, ...] = ()
            if dense and best_cosine >= min_cosine:
                keyword = self._keyword_hits(query, max(_CANDIDATES, k), errors)
                dense |= self._index.cosines(vector, [p for p in keyword if p not in dense])
                fused = fuse(dense, keyword, exact=names_identifier(query))
                chosen = tuple(self._choose(fused, k, max_tokens))
        except sqlite3.Error as fault:
            raise UnavailableError(
                f"Index '{self._index.directory.name}' can't be read ({type(fault).__name__}): "
                "restart the server, or build the index again."
            ) from fault
        took_ms = (time.perf_counter() - started) * 1000
        return SearchResult(chosen, round(best_cosine, 4), round(took_ms, 3), tuple(errors))

    def _keyword_hits(self, query: str, k: int, errors: list[str]) -> dict[int, float]:
        expression = match_expression(query)
        if expression is None:
            return {}
        try:
            return self._index.matching(expression, k)
        except sqlite3.Error as fault:
            logger.warning("Keyword search failed: %s", fault)
            errors.append(f"Keyword search failed ({type(fault).__name__}).")
            return {}

    def _choose(self, fused: dict[int, float], k: int, max_tokens: int) -> Iterator[Passage]:
        """Yield the best passages that differ from each other and fit."""
        stored = self._index.stored(list(fused)[: 4 * k])
        taken: list[frozenset[str]] = []
        left = max_tokens
        for position, score in fused.items():
            if len(taken) == k or position not in stored:
                return
            found: Stored = stored[position]
            words = frozenset(_WORD.findall(found.passage.content.lower()))
            fits = found.tokens <= left or not taken
            if not fits or any(_overlap(words, other) >= _SAME_TEXT for other in taken):
                continue
            taken.append(words)
            left -= found.tokens
            yield found.passage.model_copy(update={"score": round(score, 4)})

    def _unit(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        dimension = self._index.manifest.dimension
        if vector.shape != (dimension,):
            raise ConfigurationError(
                f"The embedding model answers with {vector.size} dimensions and the index has "
                f"{dimension}: configure the model '{self._index.manifest.embedding_model}'."
            )
        norm = float(np.linalg.norm(vector))
        return (vector / norm if norm else vector).astype(np.float32)


def checked_query(query: str) -> str:
    """Return the query without what no database takes, or refuse an empty one."""
    cleaned = query.encode("utf-8", "replace").decode("utf-8").replace("\x00", " ").strip()
    if not cleaned:
        raise InvalidRequestError("The search query is empty: say what to look for.")
    return cleaned


def check_filters(manifest: Manifest, product: str | None, version: str | None) -> None:
    """Refuse a product or version that the index does not hold."""
    has_product = product is None or product.casefold() == manifest.product.casefold()
    if not has_product or not _is_within(version, manifest.version):
        wanted = " ".join(part for part in (product, version) if part)
        raise InvalidRequestError(
            f"No documentation of '{wanted}': this index holds {manifest.product} "
            f"{manifest.version}."
        )


def _is_within(wanted: str | None, held: str) -> bool:
    """Whether one version is the other, or a release of it: 5.2.19 is within 5.2."""
    if wanted is None:
        return True
    pairs = zip(
        wanted.removeprefix("v").split("."), held.removeprefix("v").split("."), strict=False
    )
    return all(one == other for one, other in pairs)


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    together = len(one | other)
    return len(one & other) / together if together else 1.0
