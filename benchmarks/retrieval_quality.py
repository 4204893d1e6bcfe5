"""How well our index finds, beside Llama Stack's own way, on the same questions in one run.

    python benchmarks/retrieval_quality.py --questions benchmarks/questions/django.jsonl \
        --index demo --source DOCS --txt-is-rst --cache vectors

Llama Stack's way (`stock`): each page that our index holds, as plain running text, cut by its own
function into chunks of its default size and overlap, embedded by the model that our index was built
with, searched exactly; a page ranks where its best chunk does. Vectors are kept in --cache, so that
only the first run on a documentation computes them. A text that cannot be parsed is left out and
named.
"""

import argparse
import hashlib
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.embedder import Embedder, shared_embedder
from lightspeed_providers.core.host import prepare_host
from lightspeed_providers.core.progress import shown_progress
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.evaluate.metrics import metric_names
from lightspeed_providers.product_rag.evaluate.questions import (
    Question,
    of_split,
    read_questions,
)
from lightspeed_providers.product_rag.evaluate.report import write_run
from lightspeed_providers.product_rag.evaluate.results import ALL, Contest, Results
from lightspeed_providers.product_rag.evaluate.run import evaluate, settings_of
from lightspeed_providers.product_rag.evaluate.searchers import BM25, DENSE, HYBRID, open_searchers
from lightspeed_providers.product_rag.evaluate.searching import Found
from lightspeed_providers.product_rag.ingest.page import Page
from lightspeed_providers.product_rag.ingest.parse import UnreadableError, parse_file
from lightspeed_providers.product_rag.ingest.sources import find_sources

STOCK = "stock"
K = 10
BATCH = 256
NAMED = 5

Vectors = NDArray[np.float32]
Chunk = tuple[str, str]
"""The page that a chunk is of, and its text."""


class StockSearcher:
    """Llama Stack's chunks, searched exactly; a page ranks where its best chunk does."""

    name = STOCK

    def __init__(self, chunks: Sequence[Chunk], vectors: Vectors, embedder: Embedder) -> None:
        self._chunks, self._vectors, self._embedder = chunks, vectors, embedder

    def search(self, question: Question, k: int) -> Found:
        """Return the best chunk of each of the k best pages."""
        started = time.perf_counter()
        cosines = self._vectors @ self._embedder.encode([question.question])[0]
        best: dict[str, Passage] = {}
        for n in np.argsort(-cosines, kind="stable"):
            page, text = self._chunks[n]
            if page not in best:
                best[page] = _passage(page, text, n)
            if len(best) == k:
                break
        took_ms = (time.perf_counter() - started) * 1000
        return Found(tuple(best.values()), round(float(cosines.max()), 4), took_ms)


def plain_text(page: Page) -> str:
    """Return a page as running text, headings in their places."""
    parts = [page.title]
    for section in page.sections:
        parts += section.heading_path[-1:]
        parts += [block.text for block in section.blocks]
    return "\n\n".join(part for part in parts if part)


def pages_of(source: Path, *, txt_is_rst: bool) -> Iterator[tuple[str, str]]:
    """Yield each page's path with its text."""
    sources = find_sources(source)
    for file in sources.files:
        name = sources.name_of(file)
        try:
            page = parse_file(file, name, txt_is_rst=txt_is_rst)
        except UnreadableError as fault:
            print(f"{name}: left out, {fault}", file=sys.stderr)
            continue
        yield name, plain_text(page)


def stock_chunks(pages: Iterable[tuple[str, str]]) -> list[Chunk]:
    """Return the pages as Llama Stack cuts them where nothing is configured."""
    prepare_host()
    from llama_stack.providers.utils.memory.vector_store import make_overlapped_chunks
    from llama_stack_api.vector_io.models import (
        DEFAULT_CHUNK_OVERLAP_TOKENS,
        DEFAULT_CHUNK_SIZE_TOKENS,
    )

    return [
        (name, str(chunk.content))
        for name, text in pages
        for chunk in make_overlapped_chunks(
            name, text, DEFAULT_CHUNK_SIZE_TOKENS, DEFAULT_CHUNK_OVERLAP_TOKENS, {}
        )
    ]


def cached_vectors(texts: Sequence[str], embedder: Embedder, cache: Path) -> Vectors:
    """Return one row a text; what is computed is kept at once, so that a stopped run goes on."""
    cache.mkdir(parents=True, exist_ok=True)
    keys = [hashlib.sha256(f"{embedder.model}\0{text}".encode()).hexdigest() for text in texts]
    with closing(sqlite3.connect(cache / "stock-vectors.sqlite")) as kept, shown_progress() as tell:
        kept.execute("CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, vector BLOB)")
        known = {key for (key,) in kept.execute("SELECT key FROM vectors")}
        missing = {k: t for k, t in zip(keys, texts, strict=True) if k not in known}
        ordered = sorted(missing, key=lambda key: len(missing[key]), reverse=True)
        for start in range(0, len(ordered), BATCH):
            batch = ordered[start : start + BATCH]
            rows = embedder.encode([missing[key] for key in batch])
            kept.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                [(key, row.tobytes()) for key, row in zip(batch, rows, strict=True)],
            )
            kept.commit()
            tell("Embedding chunks", start + len(batch), len(ordered))
        found = dict(kept.execute("SELECT key, vector FROM vectors"))
    return np.stack([np.frombuffer(found[key], dtype=np.float32) for key in keys])


def measure(options: argparse.Namespace) -> Results:
    """Ask all four ways every question."""
    questions = of_split(read_questions([options.questions]), options.split)
    settings = settings_of(
        [options.questions], split=options.split, k=K, reranker=None, min_score=0.0
    )
    with open_searchers(options.index, device=None, reranker=None, min_score=0.0) as opened:
        embedder = shared_embedder(opened.facts.embedding_model, None)
        pages = pages_of(options.source, txt_is_rst=options.txt_is_rst)
        # The same pages for both: what our index leaves out would only distract the other.
        chunks = stock_chunks((name, text) for name, text in pages if name in opened.places)
        vectors = cached_vectors([text for _, text in chunks], embedder, options.cache)
        print(f"stock: {len({page for page, _ in chunks})} pages, {len(chunks)} chunks")
        ours = {one.name: one for one in opened.searchers}
        with shown_progress() as report:
            return evaluate(
                [StockSearcher(chunks, vectors, embedder), ours[DENSE], ours[BM25], ours[HYBRID]],
                questions,
                settings=settings,
                index=opened.facts,
                places=opened.places,
                report=report,
            )


def tell(results: Results) -> None:
    """Print the four ways, and what ours is worth beside the others."""
    metric = metric_names(K)[0]
    means = {}
    index = results.index
    print(f"ours: {index.holds}, {index.pages} pages, {index.passages} passages")
    for one in results.searchers:
        summary = one.summary(ALL, "pages")
        if summary is None:
            raise SystemExit("No question of this split has an answer: nothing to compare.")
        told = summary.metrics[metric]
        means[one.name] = told.mean
        print(
            f"{one.name:8} {metric} {told.mean:.4f}  95 % {_interval(told.low, told.high)}  "
            f"p50 {one.p50_ms:.1f} ms  ({summary.questions} questions)"
        )
    better = max((DENSE, BM25), key=lambda name: means[name])
    for other, called in ((STOCK, STOCK), (better, f"the better of dense and bm25 ({better})")):
        gained = _contest(results, other, HYBRID).difference
        print(
            f"hybrid over {called}: {gained.mean:+.4f}  95 % {_interval(gained.low, gained.high)}"
            f"  p {gained.p_adjusted:.4f}"
        )
    if results.unknown_places:
        some = ", ".join(results.unknown_places[:NAMED])
        print(f"{len(results.unknown_places)} expected places are not in the index: {some} ...")


def main() -> None:
    """Measure one set of questions."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--questions", type=Path, required=True, help="JSONL file")
    parser.add_argument("--index", required=True, help="our index: a name or a directory")
    parser.add_argument("--source", type=Path, required=True, help="directory of documentation")
    parser.add_argument("--split", choices=("held-out", "tuning", "all"), default="held-out")
    parser.add_argument("--cache", type=Path, required=True, help="directory for stock vectors")
    parser.add_argument("--txt-is-rst", action="store_true", help="as the index was built")
    parser.add_argument("--out", type=Path, help="directory for results.json, table and picture")
    options = parser.parse_args()
    results = measure(options)
    tell(results)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        write_run(options.out, [results], None)


def _contest(results: Results, first: str, second: str) -> Contest:
    return next(
        one for one in results.contests if (one.type, one.first, one.second) == (ALL, first, second)
    )


def _interval(low: float | None, high: float | None) -> str:
    return "not known" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"


def _passage(page: str, text: str, position: int) -> Passage:
    return Passage(
        passage_id=f"{STOCK}-{position}",
        document_id=f"{STOCK}/{STOCK}/{page}",
        title=page,
        doc_url=page,
        content=text,
        version=STOCK,
    )


if __name__ == "__main__":
    main()
