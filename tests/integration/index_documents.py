"""Documents of made-up words with vectors from hashes: for what is kept, not what is meant."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.product_rag.index.assemble import Assembled, Embedding, Part, assemble
from lightspeed_providers.product_rag.index.content import Document, Place, embedded_text
from lightspeed_providers.product_rag.index.manifest import Release

DIMENSION = 16
MODEL = "hashed"


def hashed_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of length 1 that depend on nothing but the text."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
    rows = np.stack([np.random.default_rng(seed).standard_normal(DIMENSION) for seed in seeds])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit.astype(np.float32)


def release(product: str = "Acme", version: str = "1.0", fingerprint: str = "made") -> Release:
    return Release(
        product=product,
        version=version,
        title=f"{product} documentation",
        url_template="https://example.com/{path}#{anchor}",
        fingerprint=fingerprint,
    )


def document(name: str, texts: Sequence[str], of: Release | None = None) -> Document:
    of = of or release()
    document_id = f"{of.product.lower()}/{of.version}/{name}"
    places = tuple(
        Place(
            passage_id=hashlib.sha256(f"{document_id} {n} {text}".encode()).hexdigest()[:24],
            heading_path=("Part", str(n)),
            doc_url=f"https://example.com/{name}#{n}",
            content=text,
            tokens=len(text.split()),
        )
        for n, text in enumerate(texts)
    )
    return Document(document_id, name.title(), f"{name}.rst", "en", (), places)


def vectors_of(one: Document) -> NDArray[np.float32]:
    if not one.places:
        return np.empty((0, DIMENSION), dtype=np.float32)
    return hashed_vectors(
        [embedded_text(one.title, place.heading_path, place.content) for place in one.places]
    )


def pages(count: int, of: Release | None = None, passages: int = 3) -> list[Document]:
    return [
        document(f"page{n}", [f"word{n}x{part} shared" for part in range(passages)], of)
        for n in range(count)
    ]


def build(
    directory: Path, parts: dict[Release, list[Document]] | None = None, **options: Any
) -> Assembled:
    parts = parts or {release(): pages(8)}
    return assemble(
        [Part(one, documents) for one, documents in parts.items()],
        directory,
        Embedding(MODEL, lambda: DIMENSION, options.pop("encode", hashed_vectors)),
        report=lambda stage, done, total: None,
        **options,
    )
