"""The embedding provider as Llama Stack sees it."""

import asyncio
import base64
from collections.abc import AsyncIterator

from llama_stack.log import get_logger
from llama_stack_api import (
    HealthResponse,
    HealthStatus,
    InferenceProvider,
    Model,
    ModelsProtocolPrivate,
    ModelType,
    OpenAIChatCompletion,
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionRequestWithExtraBody,
    OpenAICompletion,
    OpenAICompletionRequestWithExtraBody,
    OpenAIEmbeddingData,
    OpenAIEmbeddingsRequestWithExtraBody,
    OpenAIEmbeddingsResponse,
    OpenAIEmbeddingUsage,
    RerankResponse,
)
from llama_stack_api.inference import (
    OpenAIChatCompletionChunkWithReasoning,
    OpenAIChatCompletionWithReasoning,
    RerankRequest,
)

from lightspeed_providers.core.embedder import COMPONENT, Vectors, shared_embedder
from lightspeed_providers.core.errors import InvalidRequestError, UnavailableError
from lightspeed_providers.core.readiness import State, board
from lightspeed_providers.embeddings.config import LightspeedEmbeddingsConfig

logger = get_logger(name=__name__, category="inference")

_FEW = 8
_ONLY_EMBEDDINGS = "Provider inline::lightspeed-embeddings only embeds: ask a language model."


class LightspeedEmbeddingsImpl(InferenceProvider, ModelsProtocolPrivate):
    """OpenAI-shaped embeddings from this process's one copy of the model."""

    __provider_id__: str = "lightspeed-embeddings"

    def __init__(self, config: LightspeedEmbeddingsConfig) -> None:
        self.config = config
        self._embedder = shared_embedder(
            config.model, config.device, trust_remote_code=config.trust_remote_code
        )

    async def initialize(self) -> None:
        """Start loading in the background."""
        self._embedder.start_loading()
        logger.info("Loading the embedding model", model=self.config.model)

    async def shutdown(self) -> None:
        """Leave the model: other rooms of this process may use it."""

    async def health(self) -> HealthResponse:
        """Say whether the model is loaded, and if not, why."""
        state = next((c for c in board.components() if c.name == COMPONENT), None)
        if state is not None and state.state is State.READY:
            return HealthResponse(status=HealthStatus.OK)
        message = state.message if state is not None else "not started"
        return HealthResponse(status=HealthStatus.ERROR, message=message)

    async def openai_embeddings(
        self, params: OpenAIEmbeddingsRequestWithExtraBody
    ) -> OpenAIEmbeddingsResponse:
        """Return one vector a text, as floats or base64, with the tokens really read."""
        texts = self._texts_of(params)
        embedded = await self._embedder.embed_counted(texts)
        vectors, tokens = embedded.vectors, embedded.tokens
        if vectors.shape[1] != self.config.embedding_dimension:
            raise UnavailableError(
                f"Embedding model '{self.config.model}' gives {vectors.shape[1]} numbers and "
                f"embedding_dimension says {self.config.embedding_dimension}: correct it."
            )
        as_base64 = params.encoding_format == "base64"
        encoded = (
            _encoded(vectors, as_base64)
            if len(texts) <= _FEW  # some 20 µs each, less than a thread would cost
            else await asyncio.to_thread(_encoded, vectors, as_base64)
        )
        return OpenAIEmbeddingsResponse(
            data=[OpenAIEmbeddingData(embedding=e, index=i) for i, e in enumerate(encoded)],
            model=params.model,
            usage=OpenAIEmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens),
        )

    def _texts_of(self, params: OpenAIEmbeddingsRequestWithExtraBody) -> list[str]:
        if params.dimensions not in (None, self.config.embedding_dimension):
            raise InvalidRequestError(
                f"dimensions {params.dimensions} is not supported: '{self.config.model}' always "
                f"gives {self.config.embedding_dimension}; leave it out."
            )
        if params.encoding_format not in (None, "float", "base64"):
            raise InvalidRequestError(
                f"Unknown encoding_format '{params.encoding_format}': ask for float or base64."
            )
        given = [params.input] if isinstance(params.input, str) else params.input
        texts = [text for text in given if isinstance(text, str)]
        if len(texts) != len(given):
            raise InvalidRequestError("Token lists can't be embedded: send text.")
        if not texts:
            raise InvalidRequestError("input is empty: send at least one text.")
        return texts

    async def list_models(self) -> list[Model] | None:
        """Return the one configured model."""
        return [
            Model(
                identifier=self.config.model,
                provider_resource_id=self.config.model,
                provider_id=self.__provider_id__,
                model_type=ModelType.embedding,
                metadata={
                    "embedding_dimension": self.config.embedding_dimension,
                    "context_length": self.config.context_length,
                },
            )
        ]

    async def should_refresh_models(self) -> bool:
        """Return False: the model is fixed by the configuration."""
        return False

    async def register_model(self, model: Model) -> Model:
        """Accept another name for the configured model, nothing else."""
        if model.provider_resource_id not in (None, self.config.model):
            raise InvalidRequestError(
                f"Model '{model.provider_resource_id}' is not served here: this provider has only "
                f"'{self.config.model}'."
            )
        return model

    async def unregister_model(self, model_id: str) -> None:
        """Forget nothing: the model belongs to the configuration."""

    async def openai_completion(
        self, params: OpenAICompletionRequestWithExtraBody
    ) -> OpenAICompletion | AsyncIterator[OpenAICompletion]:
        """Refuse: this provider has no language model."""
        raise NotImplementedError(_ONLY_EMBEDDINGS)

    async def openai_chat_completion(
        self, params: OpenAIChatCompletionRequestWithExtraBody
    ) -> OpenAIChatCompletion | AsyncIterator[OpenAIChatCompletionChunk]:
        """Refuse: this provider has no language model."""
        raise NotImplementedError(_ONLY_EMBEDDINGS)

    async def openai_chat_completions_with_reasoning(
        self, params: OpenAIChatCompletionRequestWithExtraBody
    ) -> OpenAIChatCompletionWithReasoning | AsyncIterator[OpenAIChatCompletionChunkWithReasoning]:
        """Refuse: this provider has no language model."""
        raise NotImplementedError(_ONLY_EMBEDDINGS)

    async def rerank(self, request: RerankRequest) -> RerankResponse:
        """Refuse: this provider has no reranking model."""
        raise NotImplementedError(_ONLY_EMBEDDINGS)


def _encoded(vectors: Vectors, as_base64: bool) -> list[list[float]] | list[str]:
    if as_base64:
        return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
    rows: list[list[float]] = vectors.tolist()
    return rows
