"""From a question to its vector, by the shortest way that there is."""

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from llama_stack_api import Inference, OpenAIEmbeddingsRequestWithExtraBody
from numpy.typing import NDArray

from lightspeed_providers.core.embedder import Embedder, shared_embedder
from lightspeed_providers.core.errors import ConfigurationError

OURS = "inline::lightspeed-embeddings"

Vector = NDArray[np.float32]


def question_embedder(inference: Inference, model: str) -> Callable[[str], Awaitable[Vector]]:
    """Return what embeds a question with a registered model.

    Where the model runs in this process it is called directly, which saves the list of numbers and
    its validation; any other is asked through the inference API.
    """
    known: list[Embedder] = []

    async def embed(text: str) -> Vector:
        if not known and (here := await embedder_here(inference, model)) is not None:
            known.append(here)
        if not known:
            return await _asked(inference, model, text)
        vector: Vector = (await known[0].embed([text]))[0]
        return vector

    return embed


async def embedder_here(inference: Any, model: str) -> Embedder | None:  # Any: the host's router
    """Return this process's embedder of a registered model, or None where another one serves it."""
    table = getattr(inference, "routing_table", None)
    if table is None:
        return None
    registered = await table.get_object_by_identifier("model", model)
    if registered is None:
        return None
    provider = await table.get_provider_impl(registered.identifier)
    spec = getattr(provider, "__provider_spec__", None)
    if getattr(spec, "provider_type", None) != OURS:
        return None
    config = provider.config
    return shared_embedder(config.model, config.device, trust_remote_code=config.trust_remote_code)


async def _asked(inference: Inference, model: str, text: str) -> Vector:
    request = OpenAIEmbeddingsRequestWithExtraBody(model=model, input=text)
    answer = await inference.openai_embeddings(request)
    vector = answer.data[0].embedding
    if isinstance(vector, str):  # a provider that ignores the asked-for format
        raise ConfigurationError(
            f"Embedding model '{model}' answers in base64: use a provider that answers with "
            "numbers."
        )
    return np.asarray(vector, dtype=np.float32)
