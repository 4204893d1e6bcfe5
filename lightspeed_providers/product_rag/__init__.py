"""From a product's documentation to passages that a model can cite.

product_rag.py   the face: the tool `search_product_docs`
vector_io.py     the other face: read-only vector stores; store/ is its package for the host
config.py        the provider's settings
cli.py           `lightspeed demo` and `lightspeed ingest`
library.py       all indexes (current.py) and customers' stores (stores.py), searched together
retrieval.py     from a question to passages of one index; what it uses lies beside it
index/           the index directory: format, writing, opening
ingest/          documentation in, index out
evaluate/        how good the search is
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
