"""From a product's documentation to passages that a model can cite.

product_rag.py   the face: the tool `search_product_docs`
config.py        the provider's settings
cli.py           `lightspeed demo` and `lightspeed ingest`
retrieval.py     from a question to passages; fusion.py and keywords.py beside it
index/           the read-only index directory: format, writing, opening
ingest/          documentation in, index out
"""

from typing import TYPE_CHECKING, Any

from .config import LightspeedRagConfig

if TYPE_CHECKING:
    from .product_rag import LightspeedRagImpl


async def get_provider_impl(
    config: LightspeedRagConfig,
    deps: dict[Any, Any],  # keyed by Api, which needs the host
) -> "LightspeedRagImpl":
    """Return the provider with its index open, ready to search."""
    from .product_rag import LightspeedRagImpl

    impl = LightspeedRagImpl(config, deps)
    await impl.initialize()
    return impl
