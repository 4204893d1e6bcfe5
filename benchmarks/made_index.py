"""Large indexes for measuring, made from a real one.

The vectors are real ones and mixtures of two real ones with noise, so that they lie as unevenly
as real ones do; the texts are real ones with words exchanged. What is measured on them is speed
and recall, never how good answers are.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.product_rag.index.assemble import Assembled, Embedding, Part, assemble
from lightspeed_providers.product_rag.index.content import Document, Place
from lightspeed_providers.product_rag.index.manifest import Release
from lightspeed_providers.product_rag.index.open import open_index
from lightspeed_providers.product_rag.index.packing import unpacked

Vectors = NDArray[np.float32]

PASSAGES_A_PAGE = 20
_NOISE = 0.15


@dataclass(frozen=True)
class Real:
    """The texts and vectors of a real index."""

    contents: list[str]
    vectors: Vectors
    words: list[str]


def read_real(directory: Path) -> Real:
    """Return what an index holds."""
    index = open_index(directory, None)
    try:
        with index.snapshot() as snapshot:
            rows = snapshot.connection.execute(
                "SELECT position, content FROM texts ORDER BY position"
            ).fetchall()
            vectors = snapshot.vectors_at([position for position, _ in rows])
    finally:
        index.close()
    contents = [unpacked(content) for _, content in rows]
    words = sorted({word for content in contents[:4000] for word in content.split()})
    return Real(contents, vectors, words)


def mixed_vectors(real: Vectors, count: int, seed: int = 0) -> Vectors:
    """Return so many vectors: mixtures of two real ones with noise, of length 1."""
    chance = np.random.default_rng(seed)
    made = np.empty((count, real.shape[1]), dtype=np.float32)
    for start in range(0, count, 50_000):
        size = min(50_000, count - start)
        first, second = chance.integers(0, len(real), (2, size))
        share = chance.uniform(0.5, 1.0, (size, 1)).astype(np.float32)
        noise = chance.standard_normal((size, real.shape[1]), dtype=np.float32)
        rows = share * real[first] + (1 - share) * real[second]
        rows += _NOISE * noise / np.sqrt(real.shape[1])
        made[start : start + size] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return made


def varied_text(real: Real, number: int, length: int, chance: random.Random) -> str:
    """Return about so many characters of real text with a tenth of its words exchanged."""
    parts = []
    while sum(map(len, parts)) < length:
        parts.append(chance.choice(real.contents))
    words = " ".join(parts)[:length].split()
    for place in range(0, len(words), 10):
        words[place] = chance.choice(real.words)
    return f"text{number} {' '.join(words)}"


def made_document(real: Real, name: str, numbers: Sequence[int], length: int) -> Document:
    """Return a page of made texts; the same numbers give the same texts."""
    places = []
    for number in numbers:
        content = varied_text(real, number, length, random.Random(number))
        address = f"https://example.com/{name}#{number}"
        places.append(Place(f"{name}-{number}", ("Made",), address, content, length // 4))
    return Document(f"made/1/{name}", f"Page {name}", f"{name}.rst", "en", (), tuple(places))


def made_release() -> Release:
    """Return the release that made pages belong to."""
    return Release(
        product="Made", version="1", title="Made documentation", url_template="{path}#{anchor}"
    )


def build_made(real: Real, vectors: Vectors, directory: Path, *, length: int) -> Assembled:
    """Build an index of made texts, one for each of these vectors."""
    count, dimension = vectors.shape

    def pages() -> Iterator[Document]:
        for start in range(0, count, PASSAGES_A_PAGE):
            numbers = range(start, min(start + PASSAGES_A_PAGE, count))
            yield made_document(real, str(start), numbers, length)

    def known(texts: Sequence[str]) -> Vectors:
        return vectors[[number_of(text) for text in texts]]

    return assemble(
        [Part(made_release(), pages())],
        directory,
        Embedding("made", lambda: dimension, known),
        report=lambda stage, done, total: None,
    )


def number_of(text: str) -> int:
    """Return which made text this is, embedded or stored."""
    return int(text.partition("text")[2].split(maxsplit=1)[0])
