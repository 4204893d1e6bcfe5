"""Embeddings for Llama Stack's vector stores, from the model that our own index uses."""

from typing import TYPE_CHECKING, Any

from lightspeed_providers.embeddings.config import LightspeedEmbeddingsConfig

if TYPE_CHECKING:
    from lightspeed_providers.embeddings.embeddings import LightspeedEmbeddingsImpl


async def get_provider_impl(
    config: LightspeedEmbeddingsConfig,
    deps: dict[Any, Any],  # Any: Llama Stack hands over APIs by name; this provider needs none
) -> "LightspeedEmbeddingsImpl":
    """Return the provider, its model loading in the background."""
    from lightspeed_providers.embeddings.embeddings import LightspeedEmbeddingsImpl

    impl = LightspeedEmbeddingsImpl(config)
    await impl.initialize()
    return impl
