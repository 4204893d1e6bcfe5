"""The models that shields may ask where no server runs: the embedding model, in this process."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.devices import requested_device
from lightspeed_providers.core.embedder import shared_embedder
from lightspeed_providers.core.errors import UnavailableError
from lightspeed_providers.safety.shields.base import Chat, Embed, Message, Models

_EMBEDDINGS = "inline::lightspeed-embeddings"


def models_in_process(run: Mapping[str, Any]) -> Models:  # Any: all of the host's settings
    """Return the models of a run configuration; one that only a server has says so when asked."""
    ours = dict(_embedding_models(run))

    def embed(model: str) -> Embed:
        return _Embed(*ours[model]) if model in ours else _NoEmbed(model)

    def chat(model: str) -> Chat:
        return _NoChat(model)

    return Models(embed, chat)


def _embedding_models(run: Mapping[str, Any]) -> list[tuple[str, tuple[str, str | None]]]:
    """Return the registered ids of our embedding models, each with the model and its device."""
    providers = (run.get("providers") or {}).get("inference") or ()
    found: list[tuple[str, tuple[str, str | None]]] = []
    for provider in providers:
        settings = provider.get("config") or {}
        if provider.get("provider_type") == _EMBEDDINGS and settings.get("model"):
            device = requested_device(settings.get("device"))
            model = (settings["model"], device)
            found.append((f"{provider.get('provider_id')}/{settings['model']}", model))
    return found


class _Embed:
    """Embeds in this process."""

    def __init__(self, model: str, device: str | None) -> None:
        self._embedder = shared_embedder(model, device)

    async def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        return await self._embedder.embed(texts)


class _NoEmbed:
    """Stands for an embedding model of another provider."""

    def __init__(self, model: str) -> None:
        self._model = model

    async def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        raise UnavailableError(_elsewhere(self._model))


class _NoChat:
    """Stands for a language model."""

    def __init__(self, model: str) -> None:
        self._model = model

    async def __call__(self, messages: Sequence[Message], *, max_tokens: int) -> str:
        raise UnavailableError(_elsewhere(self._model))


def _elsewhere(model: str) -> str:
    return f"model '{model}' is only asked by a running server"
