"""How fast documentation becomes searchable, and what is spent outside the embedding model.

    python benchmarks/ingest.py path/to/html --pages 60

Builds an index of the first pages from nothing, then again without a change, then after one page
changed. Beside it, in the same run: the same passages through the stock way to embed
(`SentenceTransformer.encode`). Prints passages a second and the ratio.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.embedder import Embedder, shared_embedder
from lightspeed_providers.core.model_packages import (
    DEFAULT_EMBEDDING_MODEL,
    embedding_model_path,
)
from lightspeed_providers.product_rag.index.open import open_index
from lightspeed_providers.product_rag.index.packing import unpacked
from lightspeed_providers.product_rag.ingest.build import BuildResult, build_index
from lightspeed_providers.product_rag.ingest.reading import Documentation
from lightspeed_providers.product_rag.ingest.sources import find_sources

STOCK_BATCH = 32
"""What sentence-transformers takes at once where nothing is said."""


class Timed:
    """The embedding model with a watch."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.seconds = 0.0

    @property
    def dimension(self) -> int:
        """How long a vector is."""
        return self._embedder.dimension

    def start_loading(self) -> None:
        """It is loaded before anything is timed."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row a text."""
        started = time.perf_counter()
        rows = self._embedder.encode(texts)
        self.seconds += time.perf_counter() - started
        return rows


def first_pages(source: Path, target: Path, count: int) -> None:
    """Copy so many pages, evenly over all."""
    sources = find_sources(source)
    step = max(1, len(sources.files) // count)
    for file in sources.files[::step][:count]:
        place = target / file.relative_to(sources.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)


def build(source: Path, directory: Path, timed: Timed) -> BuildResult:
    """Build the index, or see that it is there."""
    documentation = Documentation(source=source, product="Measured", version="1", title="Measured")
    return build_index(
        documentation,
        directory,
        model=DEFAULT_EMBEDDING_MODEL,
        encoder=lambda: timed,
        report=lambda stage, done, total: None,
    )


def stock_seconds(texts: Sequence[str]) -> float:
    """Return how long the stock way takes for these texts, the model loaded."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(embedding_model_path(DEFAULT_EMBEDDING_MODEL), device="cpu")
    model.encode(["warm up"], show_progress_bar=False)
    started = time.perf_counter()
    model.encode(list(texts), batch_size=STOCK_BATCH, show_progress_bar=False)
    return time.perf_counter() - started


def texts_of(directory: Path) -> list[str]:
    """Return what was embedded, as it is searched."""
    index = open_index(directory, None)
    with index.snapshot() as snapshot:
        rows = snapshot.connection.execute("SELECT title, content FROM texts")
        texts = [f"{title}\n{unpacked(content)}" for title, content in rows]
    index.close()
    return texts


def main() -> None:
    """Measure one directory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("source", type=Path, help="directory with documentation, such as HTML")
    parser.add_argument("--pages", type=int, default=60, help="so many pages of it")
    options = parser.parse_args()
    embedder = shared_embedder(DEFAULT_EMBEDDING_MODEL, None)
    embedder.encode(["warm up"])
    with tempfile.TemporaryDirectory() as room:
        source, directory = Path(room, "source"), Path(room, "index")
        source.mkdir()
        first_pages(options.source, source, options.pages)
        timed = Timed(embedder)
        new = build(source, directory, timed)
        print(f"model: {embedder.encoder_name}")
        print(
            f"new: {new.pages} pages, {new.passages} passages, {new.tokens} tokens in "
            f"{new.seconds:.1f} s, {new.passages / new.seconds:.1f} passages a second, "
            f"{100 * timed.seconds / new.seconds:.0f} % of the time in the model"
        )
        again = build(source, directory, Timed(embedder))
        print(f"again: {again.embedded} embedded, {again.seconds:.2f} s")
        changed = next(path for path in sorted(source.rglob("*")) if path.is_file())
        text = changed.read_text(errors="replace")
        changed.write_text(text.replace("</body>", "<p>One more sentence.</p></body>"))
        after = build(source, directory, Timed(embedder))
        print(f"one page changed: {after.embedded} embedded, {after.seconds:.2f} s")
        stock = stock_seconds(texts_of(directory))
        print(
            f"stock, embedding alone: {new.passages / stock:.1f} passages a second; ours embeds "
            f"{stock / timed.seconds:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
