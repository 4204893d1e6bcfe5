"""The indexes and stores of a server, searched together."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import (
    InvalidRequestError,
    LightspeedError,
    UnavailableError,
)
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag import metrics
from lightspeed_providers.product_rag.choice import Hit, chosen
from lightspeed_providers.product_rag.current import CurrentIndex
from lightspeed_providers.product_rag.filters import Wanted
from lightspeed_providers.product_rag.index.content import Stored
from lightspeed_providers.product_rag.index.open import Index
from lightspeed_providers.product_rag.retrieval import (
    Reranker,
    Retriever,
    SearchResult,
    SearchSettings,
    checked_query,
)

logger = logging.getLogger(__name__)

_MOST_EMBEDDED = 2000

Vector = NDArray[np.float32]
Embed = Callable[[str], Awaitable[Vector]]


class Question:
    """What every source is asked; a text is embedded once, however many sources need it."""

    def __init__(self, query: str, settings: SearchSettings, wanted: Wanted, embed: Embed) -> None:
        self.query = query
        self.settings = settings
        self.wanted = wanted
        self._embed = embed
        self._vectors: dict[str, asyncio.Future[Vector]] = {}

    async def vector(self, text: str) -> Vector:
        """Return the vector of the query as a source understands it."""
        text = text[:_MOST_EMBEDDED]
        if text not in self._vectors:
            self._vectors[text] = asyncio.ensure_future(self._embed(text))
        return await asyncio.shield(self._vectors[text])

    def close(self) -> None:
        """Give up what nobody waits for any more."""
        for vector in self._vectors.values():
            vector.cancel()


class Source(Protocol):
    """An index or a store."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    async def find(self, question: Question) -> SearchResult:
        """Return its best passages, or raise a LightspeedError that says why there are none."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What all sources found together, which were asked, and what failed."""

    hits: tuple[Hit, ...]
    best_score: float
    took_ms: float
    errors: tuple[str, ...]
    asked: tuple[str, ...]

    @property
    def passages(self) -> tuple[Passage, ...]:
        """The passages alone."""
        return tuple(hit.passage for hit in self.hits)


class IndexSource:
    """One index as a source; searches run in threads."""

    def __init__(
        self,
        current: CurrentIndex,
        executor: ThreadPoolExecutor,
        timeout_s: float,
        reranker: Reranker | None = None,
    ) -> None:
        self.current = current
        self._executor = executor
        self._timeout_s = timeout_s
        self._reranker = reranker
        self._known: tuple[Index, Retriever] | None = None

    @property
    def name(self) -> str:
        """What results call this index."""
        return self.current.name

    async def find(self, question: Question) -> SearchResult:
        """Return the index's best passages."""
        query = await self._in_thread(lambda retriever: retriever.understood(question.query))
        vector = await question.vector(query)
        return await self._in_thread(
            lambda retriever: retriever.search(query, vector, question.settings, question.wanted)
        )

    async def _in_thread[T](self, ask: Callable[[Retriever], T]) -> T:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout_s):
            return await loop.run_in_executor(self._executor, self._asked, ask)

    def _asked[T](self, ask: Callable[[Retriever], T]) -> T:
        with self.current.in_use() as index:
            known = self._known
            if known is None or known[0] is not index:
                known = self._known = (index, Retriever(index, self._reranker))
            return ask(known[1])


class Library:
    """All sources of a server; any of them may fail, and the others still answer."""

    def __init__(self, sources: Sequence[Source], embed: Embed) -> None:
        self._sources = tuple(sources)
        self._embed = embed

    async def search(
        self, query: str, settings: SearchSettings, wanted: Wanted | None = None
    ) -> Found:
        """Return one ranking from all sources.

        Raises UnavailableError where every source failed, and InvalidRequestError where no source
        can follow the request.
        """
        started = time.perf_counter()
        outcome = "failed"
        try:
            found = await self._search(query, settings, wanted or Wanted())
            outcome = "found" if found.hits else "nothing"
        except InvalidRequestError:
            outcome = "refused"
            raise
        finally:
            took_ms = (time.perf_counter() - started) * 1000
            metrics.searches.add(1, {"outcome": outcome})
            metrics.duration.record(took_ms, {"outcome": outcome})
        metrics.passages.record(len(found.hits))
        return replace(found, took_ms=round(took_ms, 3))

    async def _search(self, query: str, settings: SearchSettings, wanted: Wanted) -> Found:
        query = checked_query(query)
        question = Question(query, settings, wanted, self._embed)
        try:
            answers = await asyncio.gather(
                *(self._asked(source, question) for source in self._sources)
            )
        finally:
            question.close()
        results = [answer for answer in answers if isinstance(answer, SearchResult)]
        faults = [answer for answer in answers if isinstance(answer, LightspeedError)]
        if not results:
            raise _together(faults)
        failed = [fault for fault in faults if not isinstance(fault, InvalidRequestError)]
        said = (*(str(fault) for fault in failed), *(e for r in results for e in r.errors))
        hits = merged(results, settings)
        best_score = max(result.best_score for result in results)
        asked = tuple(source.name for source in self._sources)
        return Found(hits, best_score, 0.0, tuple(dict.fromkeys(said)), asked)

    async def _asked(self, source: Source, question: Question) -> SearchResult | LightspeedError:
        """Ask one source; what goes wrong is an answer too."""
        try:
            return await source.find(question)
        except InvalidRequestError as refusal:
            return refusal  # another index may know the version that this one does not
        except TimeoutError:
            fault: LightspeedError = UnavailableError(
                f"'{source.name}' did not answer in time: it was left out."
            )
            reason = "timeout"
        except LightspeedError as known:
            fault, reason = known, "error"
        except Exception as unknown:  # one source's fault must not take the others' answers
            fault = UnavailableError(f"'{source.name}' failed ({type(unknown).__name__}).")
            reason = "error"
        metrics.source_failures.add(1, {"source": source.name, "reason": reason})
        logger.warning("Search without '%s': %s", source.name, type(fault).__name__)
        return fault


def merged(results: Sequence[SearchResult], settings: SearchSettings) -> tuple[Hit, ...]:
    """Return one ranking of all hits, without near-duplicates, cut to number and tokens.

    Scores of indexes are comparable as they are, and those of stores are made so.
    """
    if len(results) == 1:
        return results[0].hits[: settings.k]
    ranked = [
        (Stored(hit.passage, hit.tokens, rank, hit.document, hit.ordinal), hit.passage.score)
        for result in results
        for rank, hit in enumerate(result.hits)
    ]
    ranked.sort(key=lambda item: (-item[1], item[0].passage.source, item[0].position))
    return chosen(ranked, settings.k, settings.max_tokens)


def _together(faults: Sequence[LightspeedError]) -> LightspeedError:
    """Return the one error that says why nothing could be searched."""
    broken = [fault for fault in faults if not isinstance(fault, InvalidRequestError)]
    lines = list(dict.fromkeys(str(fault) for fault in broken or faults))
    if len(lines) == 1 or not broken:
        return (broken or list(faults))[0]
    return UnavailableError(f"No documentation could be searched: {' '.join(lines)}")
