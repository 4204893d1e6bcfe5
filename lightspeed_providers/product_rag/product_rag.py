"""The tool `search_product_docs`: cited passages of the product's documentation."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_stack.log import get_logger
from llama_stack_api import (
    URL,
    Api,
    HealthResponse,
    HealthStatus,
    Inference,
    ListToolDefsResponse,
    OpenAIEmbeddingsRequestWithExtraBody,
    ToolDef,
    ToolGroup,
    ToolGroupsProtocolPrivate,
    ToolInvocationResult,
    ToolRuntime,
)
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from lightspeed_providers.core.turns import Passage

from .config import LightspeedRagConfig
from .index.open import Index, index_directory, open_index
from .retrieval import Retriever, check_filters, checked_query

log = get_logger(name=__name__, category="tool_runtime")

TOOL = "search_product_docs"
TOOLGROUP = "lightspeed"
_MOST_EMBEDDED = 2000
"""Characters of a query that are embedded: more than any embedding model here reads."""


class SearchArguments(BaseModel):
    """What the tool is called with."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str = Field(description="What to look for: a question or keywords.")
    max_results: int | None = Field(
        default=None, ge=1, le=50, description="At most this many passages."
    )
    product: str | None = Field(default=None, description="Only documentation of this product.")
    version: str | None = Field(default=None, description="Only documentation of this version.")


class LightspeedRagImpl(ToolGroupsProtocolPrivate, ToolRuntime):
    """Tool runtime over one read-only documentation index."""

    def __init__(self, config: LightspeedRagConfig, deps: dict[Api, Any]) -> None:
        self.config = config
        self._inference: Inference = deps[Api.inference]
        self._index: Index | None = None

    async def initialize(self) -> None:
        """Open the index; a missing or wrong one stops the start."""
        directory = index_directory(self.config.index_dir)
        self._index = await asyncio.to_thread(open_index, directory, self.config.embedding_model)
        facts = self._index.manifest
        log.info(
            "Opened documentation index",
            directory=str(directory),
            product=facts.product,
            version=facts.version,
            passages=facts.passages,
        )

    async def shutdown(self) -> None:
        """Close the index."""
        if self._index is not None:
            self._index.close()
            self._index = None

    async def health(self) -> HealthResponse:
        """Say whether the index is open."""
        if self._index is None:
            return HealthResponse(status=HealthStatus.ERROR, message="The index is not open.")
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
        facts = self._opened().manifest
        tool = ToolDef(
            toolgroup_id=TOOLGROUP,
            name=TOOL,
            description=f"Search the documentation of {facts.product} {facts.version} and return "
            "passages with their addresses.",
            input_schema=SearchArguments.model_json_schema(),
        )
        return ListToolDefsResponse(data=[tool])

    async def invoke_tool(
        self, tool_name: str, kwargs: dict[str, Any], authorization: str | None = None
    ) -> ToolInvocationResult:
        """Return passages as text for a model and as data for code."""
        if tool_name.removeprefix(f"{TOOLGROUP}/") != TOOL:
            raise NotFoundError(f"Unknown tool '{tool_name}': this provider has {TOOL}.")
        wanted = _arguments(kwargs)
        index = self._opened()
        check_filters(index.manifest, wanted.product, wanted.version)
        query = checked_query(wanted.query)
        found = await asyncio.to_thread(
            Retriever(index).search,
            query,
            await self._embedded(query[:_MOST_EMBEDDED]),
            k=wanted.max_results or self.config.max_results,
            max_tokens=self.config.max_tokens,
            min_cosine=self.config.min_cosine,
        )
        return ToolInvocationResult(
            content=as_text(found.passages),
            metadata={
                "passages": [passage.model_dump(mode="json") for passage in found.passages],
                "best_cosine": found.best_cosine,
                "took_ms": found.took_ms,
                "errors": list(found.errors),
            },
        )

    async def _embedded(self, query: str) -> NDArray[np.float32]:
        request = OpenAIEmbeddingsRequestWithExtraBody(
            model=self.config.embedding_model, input=query
        )
        answer = await self._inference.openai_embeddings(request)
        vector = answer.data[0].embedding
        if isinstance(vector, str):  # a provider that ignores the asked-for format
            raise ConfigurationError(
                f"Embedding model '{self.config.embedding_model}' answers in base64: "
                "use a provider that answers with numbers."
            )
        return np.asarray(vector, dtype=np.float32)

    def _opened(self) -> Index:
        if self._index is None:
            raise UnavailableError("The documentation index is closed: the server is stopping.")
        return self._index


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
