"""The documentation indexes as vector stores that any client of Llama Stack can search."""

from typing import TYPE_CHECKING, Any

from .config import LightspeedIndexConfig

if TYPE_CHECKING:
    from lightspeed_providers.product_rag.vector_io import LightspeedIndexImpl


async def get_provider_impl(
    config: LightspeedIndexConfig,
    deps: dict[Any, Any],  # keyed by Api, which needs the host
) -> "LightspeedIndexImpl":
    """Return the provider with its indexes open, ready to search."""
    from lightspeed_providers.product_rag.vector_io import LightspeedIndexImpl

    impl = LightspeedIndexImpl(config, deps)
    await impl.initialize()
    return impl
