"""The documentation indexes as read-only vector stores."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from llama_stack.core.datatypes import VectorStoreWithOwner
from llama_stack.log import get_logger
from llama_stack_api import (
    Api,
    HealthResponse,
    HealthStatus,
    Inference,
    OpenAISearchVectorStoreRequest,
    QueryChunksRequest,
    QueryChunksResponse,
    VectorStoreChunkingStrategyAuto,
    VectorStoreContent,
    VectorStoreFileContentResponse,
    VectorStoreFileCounts,
    VectorStoreFileObject,
    VectorStoreFileStatus,
    VectorStoreListFilesResponse,
    VectorStoreListResponse,
    VectorStoreObject,
    VectorStoreSearchResponsePage,
)

from lightspeed_providers.core.errors import (
    NotFoundError,
    UnavailableError,
)
from lightspeed_providers.core.turns import Passage

from .current import CurrentIndex
from .documents import (
    Page,
    count_of,
    page_of,
    pages_of,
    passages_of,
    store_id,
)
from .filters import Wanted, Where
from .index.manifest import MANIFEST
from .index.snapshot import Snapshot
from .library import Found, IndexSource, Library
from .opened import OpenIndexes
from .question_vectors import question_embedder
from .read_only import ReadOnlyStores
from .retrieval import Mode, SearchSettings
from .store.config import LightspeedIndexConfig
from .store_answers import chunks_of, cut_to_page, query_of, result_of
from .store_requests import count_of_results, mode_of, threshold_of, where_of

log = get_logger(name=__name__, category="vector_io")


class LightspeedIndexImpl(ReadOnlyStores):
    """One vector store an index. Releases within it are told apart by filters."""

    __provider_id__: str = "lightspeed-index"

    def __init__(self, config: LightspeedIndexConfig, deps: dict[Api, Any]) -> None:
        self.config = config
        self._inference: Inference = deps[Api.inference]
        self._opened: OpenIndexes | None = None
        self._stores: dict[str, tuple[CurrentIndex, Library]] = {}
        self._table: Any = None  # Any: the host's routing table

    async def initialize(self) -> None:
        """Open the indexes; a missing or wrong one stops the start."""
        config = self.config
        opened = await asyncio.to_thread(OpenIndexes, config.index_names(), config.embedding_model)
        embed = question_embedder(self._inference, config.embedding_model)
        for index in opened.indexes:
            source = IndexSource(index, opened.executor, config.timeout_s)
            self._stores[store_id(index.name)] = (index, Library([source], embed))
        self._opened = opened

    async def shutdown(self) -> None:
        """Close the indexes."""
        opened, self._opened, self._stores = self._opened, None, {}
        if opened is not None:
            await asyncio.to_thread(opened.close)

    async def health(self) -> HealthResponse:
        """Say whether the indexes are open, and what keeps newer ones from being used."""
        problems = self._opened.problems if self._opened else ["The indexes are not open."]
        if problems:
            return HealthResponse(status=HealthStatus.ERROR, message=" ".join(problems))
        return HealthResponse(status=HealthStatus.OK)

    @property
    def vector_store_store(self) -> Any:  # Any: the host's routing table
        """The host's table of vector stores."""
        return self._table

    @vector_store_store.setter
    def vector_store_store(self, table: Any) -> None:  # Any: the host's routing table
        """Show the stores, for as long as this process runs.

        They go into the memory of the host's registry, never onto its disk: a store whose index is
        no longer configured is gone with the next start, and one whose model changed conflicts
        with nothing.
        """
        self._table = table
        for name, (index, _) in self._stores.items():
            table.dist_registry.cache[("vector_store", name)] = VectorStoreWithOwner(
                identifier=name,
                provider_id=self.__provider_id__,
                provider_resource_id=name,
                embedding_model=self.config.embedding_model,
                embedding_dimension=index.manifest.dimension,
                vector_store_name=index.manifest.name,
            )
        log.info("Documentation indexes are vector stores", stores=list(self._stores))

    async def openai_list_vector_stores(
        self,
        limit: int | None = 20,
        order: str | None = "desc",
        after: str | None = None,
        before: str | None = None,
    ) -> VectorStoreListResponse:
        """Return every index as a store."""
        stores = [await self.openai_retrieve_vector_store(name) for name in self._stores]
        part, has_more = cut_to_page(stores, lambda s: s.id, limit, after, before)
        return VectorStoreListResponse(
            data=part,
            has_more=has_more,
            first_id=part[0].id if part else None,
            last_id=part[-1].id if part else None,
        )

    async def openai_retrieve_vector_store(self, vector_store_id: str) -> VectorStoreObject:
        """Return one index as a store."""
        index, _ = self._store(vector_store_id)
        pages = await self._read(index, count_of)
        facts = index.manifest
        return VectorStoreObject(
            id=vector_store_id,
            created_at=_built_at(index),
            name=facts.name,
            usage_bytes=facts.vectors.size + facts.passages_file.size,
            file_counts=VectorStoreFileCounts(
                completed=pages, cancelled=0, failed=0, in_progress=0, total=pages
            ),
            metadata={
                "provider_id": self.__provider_id__,
                "provider_vector_store_id": vector_store_id,
                "read_only": "true",
                "embedding_model": self.config.embedding_model,
                "releases": ", ".join(release.name for release in facts.releases),
            },
        )

    async def openai_search_vector_store(
        self, vector_store_id: str, request: OpenAISearchVectorStoreRequest
    ) -> VectorStoreSearchResponsePage:
        """Return the passages that answer best; hybrid, unless the client names another mode."""
        queries = [request.query] if isinstance(request.query, str) else request.query
        named = request.search_mode if "search_mode" in request.model_fields_set else None
        least = threshold_of(request.ranking_options)
        found = await self._search(
            vector_store_id,
            " ".join(queries),
            count_of_results(request.max_num_results),
            mode_of(named),
            where_of(request.filters),
        )
        return VectorStoreSearchResponsePage(
            search_query=queries,
            data=[result_of(passage) for passage in found.passages if passage.score >= least],
        )

    async def query_chunks(self, request: QueryChunksRequest) -> QueryChunksResponse:
        """Return the passages that answer best, each with its vector."""
        params = request.params or {}
        index, _ = self._store(request.vector_store_id)
        found = await self._search(
            request.vector_store_id,
            query_of(request.query),
            count_of_results(params.get("max_chunks", params.get("k"))),
            mode_of(params.get("mode")),
            where_of(params.get("filters")),
        )
        least = float(params.get("score_threshold") or 0.0)
        hits = [hit for hit in found.hits if hit.passage.score >= least]
        chunks = await self._read(index, partial(chunks_of, hits, self.config.embedding_model))
        scores = {hit.passage.passage_id: hit.passage.score for hit in hits}
        return QueryChunksResponse(chunks=chunks, scores=[scores[c.chunk_id] for c in chunks])

    async def openai_list_files_in_vector_store(
        self,
        vector_store_id: str,
        limit: int | None = 20,
        order: str | None = "desc",
        after: str | None = None,
        before: str | None = None,
        filter: VectorStoreFileStatus | None = None,
    ) -> VectorStoreListFilesResponse:
        """Return the pages as files; all have the time of the build, so order is theirs in it."""
        index, _ = self._store(vector_store_id)
        pages = await self._read(index, pages_of) if filter in (None, "completed") else []
        if order != "asc":
            pages.reverse()
        part, has_more = cut_to_page(pages, lambda page: page.file_id, limit, after, before)
        return VectorStoreListFilesResponse(
            data=[self._file(index, vector_store_id, page) for page in part],
            has_more=has_more,
            first_id=part[0].file_id if part else None,
            last_id=part[-1].file_id if part else None,
        )

    async def openai_retrieve_vector_store_file(
        self, vector_store_id: str, file_id: str
    ) -> VectorStoreFileObject:
        """Return one page as a file."""
        index, _ = self._store(vector_store_id)
        page = await self._read(index, partial(page_of, wanted=file_id))
        return self._file(index, vector_store_id, _found(page, vector_store_id, file_id))

    async def openai_retrieve_vector_store_file_contents(
        self,
        vector_store_id: str,
        file_id: str,
        include_embeddings: bool | None = False,
        include_metadata: bool | None = False,
    ) -> VectorStoreFileContentResponse:
        """Return a page's passages in order."""
        index, _ = self._store(vector_store_id)
        passages = await self._read(index, partial(_passages, wanted=file_id))
        return VectorStoreFileContentResponse(
            data=[
                VectorStoreContent(
                    type="text",
                    text=passage.content,
                    metadata=dict(passage.told) if include_metadata else None,
                )
                for passage in _found(passages, vector_store_id, file_id)
            ]
        )

    def _store(self, vector_store_id: str) -> tuple[CurrentIndex, Library]:
        if self._opened is None:
            raise UnavailableError("The documentation indexes are closed: the server is stopping.")
        if vector_store_id not in self._stores:
            raise NotFoundError(
                f"No index is shown as vector store '{vector_store_id[:80]}': there is "
                f"{', '.join(self._stores)}."
            )
        return self._stores[vector_store_id]

    async def _search(
        self, store: str, query: str, count: int, mode: Mode, where: Where | None
    ) -> Found:
        _, library = self._store(store)
        settings = SearchSettings(
            k=count,
            max_tokens=self.config.max_tokens,
            mode=mode,
            default_version=self.config.default_version,
        )
        return await library.search(query, settings, Wanted(where=where))

    async def _read[T](self, index: CurrentIndex, read: Callable[[Snapshot], T]) -> T:
        if self._opened is None:
            raise UnavailableError("The documentation indexes are closed: the server is stopping.")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._opened.executor, _read, index, read)

    def _file(self, index: CurrentIndex, store: str, page: Page) -> VectorStoreFileObject:
        return VectorStoreFileObject(
            id=page.file_id,
            attributes={
                "document_id": page.document_id,
                "title": page.title,
                "filename": page.source_file,
                **page.facts,
            },
            chunking_strategy=VectorStoreChunkingStrategyAuto(),
            created_at=_built_at(index),
            status="completed",
            vector_store_id=store,
        )


def _read[T](index: CurrentIndex, read: Callable[[Snapshot], T]) -> T:
    with index.in_use() as opened, opened.snapshot() as snapshot:
        return read(snapshot)


def _passages(snapshot: Snapshot, wanted: str) -> list[Passage] | None:
    page = page_of(snapshot, wanted)
    return None if page is None else passages_of(snapshot, page)


def _found[T](value: T | None, store: str, wanted: str) -> T:
    if value is None:
        raise NotFoundError(f"No file '{wanted[:80]}' in vector store '{store[:80]}'.")
    return value


def _built_at(index: CurrentIndex) -> int:
    try:
        return int((index.directory / MANIFEST).stat().st_mtime)
    except OSError:
        return 0
