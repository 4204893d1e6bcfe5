"""The embedded language model as Llama Stack sees it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
from llama_stack.log import get_logger
from llama_stack.providers.utils.inference.openai_mixin import OpenAIMixin
from llama_stack_api import (
    HealthResponse,
    HealthStatus,
    Model,
    ModelType,
    OpenAIChatCompletion,
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionRequestWithExtraBody,
    OpenAICompletion,
    OpenAICompletionRequestWithExtraBody,
    OpenAIEmbeddingsRequestWithExtraBody,
    OpenAIEmbeddingsResponse,
    RerankResponse,
)
from llama_stack_api.inference import (
    OpenAIChatCompletionChunkWithReasoning,
    OpenAIChatCompletionWithReasoning,
    RerankRequest,
)
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion
from pydantic import PrivateAttr

from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    LightspeedError,
    UnavailableError,
)
from lightspeed_providers.core.model_packages import DEFAULT_LANGUAGE_MODEL, language_model_path
from lightspeed_providers.core.readiness import State, board
from lightspeed_providers.llama_cpp.config import LlamaCppConfig
from lightspeed_providers.llama_cpp.faults import told_to_client
from lightspeed_providers.llama_cpp.sampling import defaults_for
from lightspeed_providers.llama_cpp.server import (
    COMPONENT,
    LlamaServer,
    ServerSettings,
    gpu_layers,
)

logger = get_logger(name=__name__, category="inference")

_FAULTS = (openai.APIError, httpx.HTTPError)

Request = TypeVar(
    "Request", OpenAIChatCompletionRequestWithExtraBody, OpenAICompletionRequestWithExtraBody
)


class LlamaCppImpl(OpenAIMixin):
    """Requests travel as OpenAI HTTP to a llama.cpp server on loopback, or to `url`."""

    config: LlamaCppConfig

    _server: LlamaServer | None = PrivateAttr(default=None)
    _url: str | None = PrivateAttr(default=None)
    _client: openai.AsyncOpenAI | None = PrivateAttr(default=None)
    _client_of: tuple[asyncio.AbstractEventLoop, str] | None = PrivateAttr(default=None)

    async def initialize(self) -> None:
        """Start loading in the background, unless the server is somebody else's."""
        if self.config.url is not None:
            self._url = self.config.url.rstrip("/").removesuffix("/v1")
            board.report(COMPONENT, State.READY, f"at {self._url}")
            return
        if not self._is_base_model:
            language_model_path(self.config.model)  # a wrong path stops the start
        self._server = LlamaServer(self._settings(), self.config.load_timeout_s)
        if self._answers_by_default:
            self._server.start_loading()
            logger.info("Loading the language model", model=self.config.model)

    async def shutdown(self) -> None:
        """End the server that was started."""
        if self._client is not None and self._client_of is not None:
            loop, _ = self._client_of
            if loop is asyncio.get_running_loop():  # a connection is dead outside its own loop
                await self._client.close()
            self._client = None
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    async def health(self) -> HealthResponse:
        """Say whether the model is loaded, and if not, why."""
        state = next((c for c in board.components() if c.name == COMPONENT), None)
        if state is not None and state.state is State.READY:
            return HealthResponse(status=HealthStatus.OK)
        if state is None:
            return HealthResponse(status=HealthStatus.OK, message="loads on its first request")
        message = state.message
        return HealthResponse(status=HealthStatus.ERROR, message=message)

    def get_base_url(self) -> str:
        """Return the server's address; requests wait for it before they ask."""
        return f"{self._url}/v1"

    def get_api_key(self) -> str:
        """Return the started server's own key, or the configured one."""
        if self._server is not None:
            return self._server.api_key
        return super().get_api_key() or "none"

    @property
    def client(self) -> openai.AsyncOpenAI:
        """Return this event loop's client; the mixin would make one a request."""
        wanted = (asyncio.get_running_loop(), self.get_base_url())
        if self._client is None or self._client_of != wanted:
            self._client = openai.AsyncOpenAI(
                api_key=self.get_api_key(),
                base_url=self.get_base_url(),
                timeout=openai.Timeout(self.config.answer_timeout_s, connect=5.0),
                max_retries=0,
                # A proxy from the environment is not for loopback.
                http_client=openai.DefaultAsyncHttpxClient(trust_env=self._server is None),
            )
            self._client_of = wanted
        return self._client

    async def openai_chat_completion(
        self, params: OpenAIChatCompletionRequestWithExtraBody
    ) -> OpenAIChatCompletion | AsyncIterator[OpenAIChatCompletionChunk]:
        """Return the answer, or its chunks; what is wrong with a request is raised before them."""
        asked = self._with_defaults(self._with_forced_tools(params))
        if not params.stream:
            # llama.cpp only notices that the client has gone while it streams to it.
            asked = asked.model_copy(
                update={"stream": True, "stream_options": {"include_usage": True}}
            )
        await self._wait_for_server()
        try:
            chunks = await super().openai_chat_completion(asked)
        except _FAULTS as fault:
            raise self._told(fault) from fault
        if params.stream:
            return chunks
        answer: OpenAIChatCompletion | None = await _whole(chunks)
        if answer is None:
            raise UnavailableError(f"Language model '{self.model_id}' said nothing: try again.")
        return answer

    async def openai_completion(
        self, params: OpenAICompletionRequestWithExtraBody
    ) -> OpenAICompletion | AsyncIterator[OpenAICompletion]:
        """Return the continuation of a text, or its chunks."""
        asked = params
        if params.max_tokens is None:
            asked = params.model_copy(update={"max_tokens": self.config.max_tokens})
        await self._wait_for_server()
        try:
            return await super().openai_completion(asked)
        except _FAULTS as fault:
            raise self._told(fault) from fault

    async def openai_chat_completions_with_reasoning(
        self, params: OpenAIChatCompletionRequestWithExtraBody
    ) -> OpenAIChatCompletionWithReasoning | AsyncIterator[OpenAIChatCompletionChunkWithReasoning]:
        """Refuse: the embedded model does not reason."""
        raise NotImplementedError(
            f"Model '{self.model_id}' does not reason: leave `reasoning` out of the request."
        )

    async def openai_embeddings(
        self, params: OpenAIEmbeddingsRequestWithExtraBody
    ) -> OpenAIEmbeddingsResponse:
        """Refuse: embeddings have their own provider."""
        raise NotImplementedError(
            f"Model '{self.model_id}' does not embed: ask an embedding model."
        )

    async def rerank(self, request: RerankRequest) -> RerankResponse:
        """Refuse: this is no reranking model."""
        raise NotImplementedError(
            f"Model '{self.model_id}' does not rerank: ask a reranking model."
        )

    @property
    def _answers_by_default(self) -> bool:
        wanted = self.config.preload_for
        # An id of Llama Stack's own for this provider is known only after this start.
        return wanted is None or wanted.partition("/")[2] == self.model_id

    @property
    def model_id(self) -> str:
        """The model's name for clients."""
        return "gemma-3-270m" if self._is_base_model else Path(self.config.model).stem

    async def list_provider_model_ids(self) -> Iterable[str]:
        """Return the one model, also while it is loading."""
        return [self.model_id]

    def construct_model_from_identifier(self, identifier: str) -> Model:
        """Describe the model."""
        return Model(
            provider_id=self.__provider_id__,  # type: ignore[attr-defined]  # set by Llama Stack
            provider_resource_id=identifier,
            identifier=identifier,
            model_type=ModelType.llm,
            metadata={
                "context_length": self.config.n_ctx,
                "max_tokens": self.config.max_tokens,
                "tool_calls": not self._is_base_model,
            },
        )

    async def _maybe_overwrite_id(
        self,
        resp: Any,  # Any: as in the mixin, a completion or the SDK's stream of chunks
        stream: bool | None,
    ) -> Any:
        return self._chunks(resp) if stream else resp

    async def _chunks(self, stream: Any) -> AsyncIterator[Any]:  # Any: chat or text chunks
        """Pass chunks on, and hang up at once when nobody reads them: that stops the model."""
        try:
            async for chunk in stream:
                yield chunk
        except _FAULTS as fault:
            raise self._told(fault) from fault
        finally:
            await stream.close()

    @property
    def _is_base_model(self) -> bool:
        return self.config.model == DEFAULT_LANGUAGE_MODEL

    async def _wait_for_server(self) -> None:
        if self._server is not None:
            self._url = await self._server.url()

    def _with_forced_tools(
        self, params: OpenAIChatCompletionRequestWithExtraBody
    ) -> OpenAIChatCompletionRequestWithExtraBody:
        """Leave optional tools out: a base model can't choose, it would always call one."""
        if not self._is_base_model or not params.tools:
            return params
        if params.tool_choice in (None, "auto", "none"):
            return params.model_copy(
                update={"tools": None, "tool_choice": None, "parallel_tool_calls": None}
            )
        # Left to itself it would repeat its call until the answer is full.
        return params.model_copy(
            update={"tools": self._callable(params), "parallel_tool_calls": False}
        )

    def _callable(
        self, params: OpenAIChatCompletionRequestWithExtraBody
    ) -> list[dict[str, Any]]:  # Any: JSON of the request
        """Return the tools that may be called: the one that the request names, or all."""
        offered = params.tools or []
        if not isinstance(params.tool_choice, dict):
            return offered
        wanted = params.tool_choice.get("function", {}).get("name")
        named = [tool for tool in offered if tool.get("function", {}).get("name") == wanted]
        if not named:
            raise InvalidRequestError(
                f"Tool '{wanted}' in tool_choice is not among `tools`: name one that is offered."
            )
        return named

    def _with_defaults(
        self, params: OpenAIChatCompletionRequestWithExtraBody
    ) -> OpenAIChatCompletionRequestWithExtraBody:
        added = defaults_for(
            params.model_dump(exclude={"messages"}),
            max_tokens=self.config.max_tokens,
            is_base_model=self._is_base_model,
        )
        return params.model_copy(update=added)

    def _told(self, fault: openai.APIError | httpx.HTTPError) -> LightspeedError:
        return told_to_client(fault, model=self.model_id)

    def _settings(self) -> ServerSettings:
        return ServerSettings(
            model=self.config.model,
            alias=self.model_id,
            n_ctx=self.config.n_ctx,
            n_parallel=self.config.n_parallel,
            n_threads=self.config.n_threads,
            gpu_layers=gpu_layers(self.config.gpu_layers),
            port=self.config.port or 0,
            chat_template=self._chat_template(),
        )

    def _chat_template(self) -> str:
        file = self.config.chat_template_file
        if file is None:
            if not self._is_base_model:
                return ""  # the model's own
            file = Path(__file__).with_name("question_answer.jinja")
        try:
            return file.read_text(encoding="utf-8")
        except OSError as fault:
            raise ConfigurationError(
                f"chat_template_file '{file}' can't be read ({fault.strerror}): mend the path."
            ) from fault


async def _whole(chunks: Any) -> Any:  # Any: the SDK's own types of chunks and completion
    """Return the completion that a stream of chunks amounts to, None for no chunk."""
    state = ChatCompletionStreamState()
    is_empty = True
    async with aclosing(chunks):
        async for chunk in chunks:
            state.handle_chunk(chunk)
            is_empty = False
    if is_empty:
        return None
    return ChatCompletion.model_validate(state.current_completion_snapshot.model_dump())
