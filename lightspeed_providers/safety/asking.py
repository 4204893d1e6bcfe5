"""The models that shields ask, through Llama Stack's inference."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_stack_api import (
    Inference,
    OpenAIAssistantMessageParam,
    OpenAIChatCompletionRequestWithExtraBody,
    OpenAIEmbeddingsRequestWithExtraBody,
    OpenAIMessageParam,
    OpenAISystemMessageParam,
    OpenAIUserMessageParam,
)
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.safety.shields.base import Chat, Embed, Message, Models

_BATCH = 2048
"""The most texts that an embeddings request takes."""


def models_of(inference: Inference | None) -> Models:
    """Return what embeds and chats with registered models."""

    def embed(model: str) -> Embed:
        return _InferenceEmbed(_present(inference, model), model)

    def chat(model: str) -> Chat:
        return _InferenceChat(_present(inference, model), model)

    return Models(embed, chat)


def _present(inference: Inference | None, model: str) -> Inference:
    if inference is None:
        raise ConfigurationError(
            f"A shield asks the model '{model}' and there is no inference API: add an inference "
            "provider, or remove the shield."
        )
    return inference


class _InferenceEmbed:
    """Embeds through Llama Stack."""

    def __init__(self, inference: Inference, model: str) -> None:
        self._inference = inference
        self._model = model

    async def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        rows: list[list[float]] = []
        for start in range(0, len(texts), _BATCH):
            answer = await self._inference.openai_embeddings(
                OpenAIEmbeddingsRequestWithExtraBody(
                    model=self._model, input=texts[start : start + _BATCH]
                )
            )
            rows += [
                item.embedding
                for item in sorted(answer.data, key=lambda item: item.index)
                if not isinstance(item.embedding, str)
            ]
        return np.asarray(rows, dtype=np.float32)


class _InferenceChat:
    """Chats through Llama Stack, as deterministic as the model can be."""

    def __init__(self, inference: Inference, model: str) -> None:
        self._inference = inference
        self._model = model

    async def __call__(self, messages: Sequence[Message], *, max_tokens: int) -> str:
        # Any: providers answer in the host's types or in those of OpenAI's client.
        answer: Any = await self._inference.openai_chat_completion(
            OpenAIChatCompletionRequestWithExtraBody(
                model=self._model,
                messages=[_as_host(message) for message in messages],
                max_tokens=max_tokens,
                temperature=0.0,
                stream=False,
            )
        )
        if not getattr(answer, "choices", None):
            raise TypeError("the model's answer holds no choice")
        content = answer.choices[0].message.content
        return content if isinstance(content, str) else ""


def _as_host(message: Message) -> OpenAIMessageParam:
    match message.role:
        case "system":
            return OpenAISystemMessageParam(content=message.content)
        case "assistant":
            return OpenAIAssistantMessageParam(content=message.content)
        case _:
            return OpenAIUserMessageParam(content=message.content)
