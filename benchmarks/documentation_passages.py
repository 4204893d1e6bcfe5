"""The demo product's documentation in passages, as an index holds them."""

from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.paths import state_dir
from lightspeed_providers.product_rag.ingest.demo import demo_documentation
from lightspeed_providers.product_rag.ingest.reading import Told, documents
from lightspeed_providers.product_rag.ingest.sources import find_sources


def passages() -> list[tuple[str, str]]:
    """Return the file and the text of every passage, in order."""
    documentation = demo_documentation(state_dir() / "sources")
    sources = find_sources(documentation.source, documentation.exclude)
    read = documents(sources, documentation, DEFAULT_EMBEDDING_MODEL, Told(), lambda *_: None)
    return [(page.source_file, place.content) for page in read for place in page.places]
