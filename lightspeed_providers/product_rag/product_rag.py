"""The tool `search_product_docs`: cited passages of the product's documentation."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llama_stack.log import get_logger
from llama_stack_api import (
    URL,
    Api,
    HealthResponse,
    HealthStatus,
    Inference,
    ListToolDefsResponse,
    ToolDef,
    ToolGroup,
    ToolGroupsProtocolPrivate,
    ToolInvocationResult,
    ToolRuntime,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lightspeed_providers.core.errors import (
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from lightspeed_providers.core.turns import Passage

from .config import LightspeedRagConfig
from .filters import Condition, Together, Value, Wanted
from .library import IndexSource, Library, Source
from .opened import OpenIndexes
from .question_vectors import question_embedder
from .rerank import CrossEncoderReranker
from .retrieval import SearchSettings
from .stores import StoreSource, check_stores

log = get_logger(name=__name__, category="tool_runtime")

TOOL = "search_product_docs"
TOOLGROUP = "lightspeed"


class SearchArguments(BaseModel):
    """What the tool is called with."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str = Field(description="What to look for: a question or keywords.")
    max_results: int | None = Field(
        default=None, ge=1, le=50, description="At most this many passages."
    )
    product: str | None = Field(default=None, description="Only documentation of this product.")
    version: str | None = Field(default=None, description="Only documentation of this version.")
    language: str | None = Field(default=None, description="Only documentation in this language.")
    filters: dict[str, Value | list[Value]] | None = Field(
        default=None,
        description="Only pages with these attributes; a list means any of its values.",
    )

    def wanted(self) -> Wanted:
        """Return what the search is limited to."""
        conditions = tuple(
            Condition(field, "in", tuple(value))
            if isinstance(value, list)
            else Condition(field, "eq", value)
            for field, value in (self.filters or {}).items()
        )
        where = Together("all", conditions) if conditions else None
        return Wanted(self.product, self.version, self.language, where)


class LightspeedRagImpl(ToolGroupsProtocolPrivate, ToolRuntime):
    """Tool runtime over the configured indexes and stores."""

    def __init__(self, config: LightspeedRagConfig, deps: dict[Api, Any]) -> None:
        self.config = config
        self._inference: Inference = deps[Api.inference]
        self._vector_io: Any = deps.get(Api.vector_io)  # Any: the host's router
        self._opened: OpenIndexes | None = None
        self._library: Library | None = None
        self._reranker: CrossEncoderReranker | None = None

    async def initialize(self) -> None:
        """Open the indexes; a missing or wrong one stops the start."""
        config = self.config
        opened = await asyncio.to_thread(OpenIndexes, config.index_names(), config.embedding_model)
        check_stores(config.stores, [index.name for index in opened.indexes], self._vector_io)
        if config.reranker is not None:
            self._reranker = CrossEncoderReranker(config.reranker)
            self._reranker.start_loading()
        sources: list[Source] = [
            IndexSource(index, opened.executor, config.timeout_s, self._reranker)
            for index in opened.indexes
        ]
        sources += [StoreSource(store, self._vector_io, self._reranker) for store in config.stores]
        self._opened = opened
        self._library = Library(
            sources,
            question_embedder(self._inference, config.embedding_model),
        )
        for index in opened.indexes:
            log.info(
                "Opened documentation index",
                directory=str(index.directory),
                holds=index.manifest.name,
                passages=index.manifest.passages,
            )

    async def shutdown(self) -> None:
        """Close the indexes."""
        opened, self._opened, self._library = self._opened, None, None
        if opened is not None:
            await asyncio.to_thread(opened.close)
        if self._reranker is not None:
            self._reranker.close()

    async def health(self) -> HealthResponse:
        """Say whether the indexes are open, and what keeps newer ones from being used."""
        if self._opened is None:
            return HealthResponse(status=HealthStatus.ERROR, message="The indexes are not open.")
        if self._opened.problems:
            message = " ".join(self._opened.problems)
            return HealthResponse(status=HealthStatus.ERROR, message=message)
        return HealthResponse(status=HealthStatus.OK)

    async def register_toolgroup(self, toolgroup: ToolGroup) -> None:
        """Accept our own tool group."""

    async def unregister_toolgroup(self, toolgroup_id: str) -> None:
        """Nothing is kept per tool group."""

    async def list_runtime_tools(
        self,
        tool_group_id: str | None = None,
        mcp_endpoint: URL | None = None,
        authorization: str | None = None,
    ) -> ListToolDefsResponse:
        """Return the one tool."""
        opened, _ = self._in_use()
        held = ", ".join(index.manifest.name for index in opened.indexes)
        tool = ToolDef(
            toolgroup_id=TOOLGROUP,
            name=TOOL,
            description=f"Search the documentation of {held} and return passages with their "
            "addresses.",
            input_schema=SearchArguments.model_json_schema(),
        )
        return ListToolDefsResponse(data=[tool])

    async def invoke_tool(
        self, tool_name: str, kwargs: dict[str, Any], authorization: str | None = None
    ) -> ToolInvocationResult:
        """Return passages as text for a model and as data for code."""
        if tool_name.removeprefix(f"{TOOLGROUP}/") != TOOL:
            raise NotFoundError(f"Unknown tool '{tool_name}': this provider has {TOOL}.")
        arguments = _arguments(kwargs)
        _, library = self._in_use()
        found = await library.search(
            arguments.query, self._settings(arguments.max_results), arguments.wanted()
        )
        return ToolInvocationResult(
            content=as_text(found.passages),
            metadata={
                "passages": [passage.model_dump(mode="json") for passage in found.passages],
                "best_score": found.best_score,
                "took_ms": found.took_ms,
                "errors": list(found.errors),
                "searched": list(found.asked),
            },
        )

    def _settings(self, max_results: int | None) -> SearchSettings:
        config = self.config
        settings = SearchSettings(
            k=max_results or config.max_results,
            max_tokens=config.max_tokens,
            neighbour_tokens=config.neighbour_tokens,
            min_score=config.min_score,
            default_version=config.default_version,
        )
        if config.reranker is None:
            return settings
        return replace(settings, rerank_top=config.reranker.top)

    def _in_use(self) -> tuple[OpenIndexes, Library]:
        if self._opened is None or self._library is None:
            raise UnavailableError("The documentation indexes are closed: the server is stopping.")
        return self._opened, self._library


def as_text(passages: Sequence[Passage]) -> str:
    """Return passages as a model reads them, or that there are none."""
    if not passages:
        return "Nothing in the documentation matches."
    return "\n\n".join(
        f"[{n}] {' › '.join((p.title, *p.heading_path))}\n{p.content}"
        for n, p in enumerate(passages, start=1)
    )


def _arguments(kwargs: dict[str, Any]) -> SearchArguments:
    try:
        return SearchArguments.model_validate(kwargs)
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidRequestError(f"Argument '{place}' of {TOOL}: {first['msg']}.") from fault
