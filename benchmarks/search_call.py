"""How long the whole search call takes: ours, and the stock faiss store's query beside it.

    python benchmarks/search_call.py --index DIRECTORY [--clients 8] [--while-ingesting DOCS]

Ours is the tool as the server calls it: embedding, hybrid search, choice of the version, folding of
near-duplicates, neighbours, citations. The stock store holds the same passages with the same
vectors and answers with nearest vectors only. Both get each question of benchmarks/questions once,
so no answer comes from a cache, in turn within this one run.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
INGESTED_AT_ONCE = 2000

INGEST = """
import sys, tempfile
from pathlib import Path
from lightspeed_providers.core.embedder import shared_embedder
from lightspeed_providers.product_rag.ingest.build import build_index
from lightspeed_providers.product_rag.ingest.reading import Documentation
while True:
    with tempfile.TemporaryDirectory() as target:
        build_index(
            Documentation(Path(sys.argv[1]), "Other", "1", "Other"), Path(target) / "other",
            model=sys.argv[2], encoder=lambda: shared_embedder(sys.argv[2], "auto"),
            report=lambda stage, done, total: print(stage, flush=True),
        )
"""

Ask = Callable[[str], Awaitable[Any]]


def questions() -> list[str]:
    """Return every distinct question of the repository."""
    lines = (
        line
        for file in sorted((ROOT / "benchmarks" / "questions").glob("*.jsonl"))
        for line in file.read_text().splitlines()
    )
    return list(dict.fromkeys(json.loads(line)["question"] for line in lines))


def started(index: Path, state: Path) -> Any:  # Any: the host's stack
    """Return the whole stack of run.yaml, in this process, over an index."""
    import yaml
    from llama_stack.core.server.server import create_app

    config = yaml.safe_load((ROOT / "run.yaml").read_text())
    config["external_apis_dir"] = str(ROOT / "distributions" / "lightspeed" / "apis.d")
    (state / "run.yaml").write_text(yaml.safe_dump(config))
    os.environ |= {
        "LIGHTSPEED_STATE_DIR": str(state),
        "LIGHTSPEED_INDEX": str(index),
        "LLAMA_STACK_CONFIG": str(state / "run.yaml"),
        "LLAMA_CPP_URL": "http://127.0.0.1:9",
    }
    return create_app().stack


async def stock_store(stack: Any, index: Path) -> str:
    """Return the id of a faiss store with the same passages and vectors."""
    from llama_stack_api import (
        Api,
        ChunkMetadata,
        EmbeddedChunk,
        InsertChunksRequest,
        OpenAICreateVectorStoreRequestWithExtraBody,
    )

    from lightspeed_providers.product_rag.documents import attributes_of
    from lightspeed_providers.product_rag.index.open import open_index

    vector_io = stack.impls[Api.vector_io]
    store = await vector_io.openai_create_vector_store(
        OpenAICreateVectorStoreRequestWithExtraBody(name="stock")
    )
    chunks = []
    opened = open_index(index, None)
    with opened.snapshot() as snapshot:
        positions = range(opened.manifest.texts)
        for part in itertools.batched(positions, INGESTED_AT_ONCE):
            vectors = dict(zip(part, snapshot.vectors_at(part).tolist(), strict=True))
            for position, stored in snapshot.stored(part).items():
                passage = stored.passage
                chunks.append(
                    EmbeddedChunk(
                        content=passage.content,
                        chunk_id=passage.passage_id,
                        metadata=dict(attributes_of(passage)),
                        chunk_metadata=ChunkMetadata(document_id=passage.document_id),
                        embedding=vectors[position],
                        embedding_model=f"lightspeed-embeddings/{MODEL}",
                        embedding_dimension=opened.manifest.dimension,
                    )
                )
    opened.close()
    await vector_io.insert_chunks(InsertChunksRequest(vector_store_id=store.id, chunks=chunks))
    return str(store.id)


async def timed(ask: Ask, asked: list[str], clients: int) -> list[float]:
    """Return the milliseconds of each question, asked by so many clients at one time."""
    waiting = iter(asked)
    took: list[float] = []

    async def client() -> None:
        for question in waiting:
            begun = time.perf_counter()
            await ask(question)
            took.append((time.perf_counter() - begun) * 1000)

    await asyncio.gather(*(client() for _ in range(clients)))
    return took


@contextlib.contextmanager
def ingesting(docs: Path | None) -> Iterator[None]:
    """Build an index over and over in another process meanwhile."""
    if docs is None:
        yield
        return
    command = [sys.executable, "-c", INGEST, str(docs), MODEL]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = iter(child.stdout or ())
    try:
        while not next(said).startswith("Embedding"):
            pass
        threading.Thread(target=lambda: list(said), daemon=True).start()
        yield
        if child.poll() is not None:
            raise SystemExit("The ingest ended meanwhile: nothing was measured beside it.")
    finally:
        child.kill()
        child.wait()


async def measured(stack: Any, arguments: argparse.Namespace) -> None:
    """Print the times of both."""
    from llama_stack_api import Api, QueryChunksRequest

    tools, vector_io = stack.impls[Api.tool_runtime], stack.impls[Api.vector_io]

    async def ours(question: str) -> Any:
        return await tools.invoke_tool("search_product_docs", {"query": question})

    ways: dict[str, Ask] = {"ours": ours}
    if not arguments.without_stock:
        store = await stock_store(stack, arguments.index)

        async def stock(question: str) -> Any:
            request = QueryChunksRequest(
                vector_store_id=store, query=question, params={"max_chunks": 5}
            )
            return await vector_io.query_chunks(request)

        ways["stock"] = stock

    rounds = list(dict.fromkeys((1, arguments.clients)))
    # No question is asked twice: a way gets every n-th of them, so that both get alike ones.
    runs = [(name, clients) for clients in rounds for name in ways]
    every = questions()
    with ingesting(arguments.while_ingesting):
        for clients in rounds:
            p50 = {}
            for name, ask in ways.items():
                part = every[runs.index((name, clients)) :: len(runs)]
                begun = time.perf_counter()
                await ask(part[0])
                first = (time.perf_counter() - begun) * 1000
                took = await timed(ask, part[1:], clients)
                p50[name], p95 = np.percentile(took, 50), np.percentile(took, 95)
                print(
                    f"{name:>6} {clients} clients {len(took)} questions: first {first:.1f} ms, "
                    f"p50 {p50[name]:.1f} ms, p95 {p95:.1f} ms"
                )
            if "stock" in p50:
                print(f" ratio {clients} clients: ours/stock p50 {p50['ours'] / p50['stock']:.2f}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--while-ingesting", type=Path, metavar="DOCS")
    parser.add_argument("--without-stock", action="store_true")
    arguments = parser.parse_args()
    arguments.index = arguments.index.absolute()
    with tempfile.TemporaryDirectory() as state:
        stack = started(arguments.index, Path(state))
        asyncio.run(measured(stack, arguments))
    os._exit(0)  # threads of the host would hold the process


if __name__ == "__main__":
    main()
