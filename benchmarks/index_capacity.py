"""How large an index may become on one machine: time, memory and disk, and what is still found.

    python benchmarks/index_capacity.py --index DIR [--passages 1000000] [--questions FILE...]

The index is made from a real one (see made_index.py). With --questions, a real index of this
project's embedding model and its packaged model, questions are embedded as a server would; without,
vectors between texts stand for them. Recall is against an exact search of the same vectors.
"""

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from made_index import Real, Vectors, build_made, mixed_vectors, read_real, varied_text
from rich.console import Console
from rich.table import Table

from lightspeed_providers.product_rag.index.manifest import Manifest, read_manifest
from lightspeed_providers.product_rag.index.open import Index, open_index
from lightspeed_providers.product_rag.retrieval import Mode, Retriever, SearchSettings

LENGTH = 1200
ASKED = 500
PROCESSES = 4
MODES: tuple[Mode, ...] = ("dense", "keyword", "hybrid")

Row = tuple[str, str, str]


def questions(files: list[Path], real: Real) -> tuple[list[str], Vectors]:
    """Return questions and their vectors: real ones where there are files, else made ones."""
    if files:
        from lightspeed_providers.core.embedder import shared_embedder
        from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL

        lines = (line for file in files for line in file.read_text().splitlines())
        texts = [json.loads(line)["question"] for line in lines][:ASKED]
        return texts, np.asarray(shared_embedder(DEFAULT_EMBEDDING_MODEL, "cpu").encode(texts))
    chance = random.Random(1)
    texts = [varied_text(real, n, 80, chance).partition(" ")[2] for n in range(ASKED)]
    return texts, mixed_vectors(real.vectors, ASKED, seed=99)


def recall(index: Index, asked: Vectors, vectors: Vectors) -> float:
    """Return the share of the ten truly nearest that the index finds."""
    best: list[list[tuple[float, int]]] = [[] for _ in asked]
    for start in range(0, len(vectors), 50_000):
        cosines = asked @ vectors[start : start + 50_000].T
        top = np.argpartition(-cosines, 9, axis=1)[:, :10]
        for row, places in enumerate(top.tolist()):
            best[row] += [(-float(cosines[row, place]), start + place) for place in places]
    found = 0
    with index.snapshot() as snapshot:
        for vector, every in zip(asked, best, strict=True):
            truth = {position for _, position in sorted(every)[:10]}
            found += len(truth & snapshot.nearest(vector, 10).keys())
    return found / (10 * len(asked))


def times(index: Index, texts: list[str], vectors: Vectors, mode: Mode) -> Vectors:
    """Return how long whole searches take, in ms."""
    retriever, settings = Retriever(index), SearchSettings(mode=mode)
    took = []
    for text, vector in zip(texts, vectors, strict=True):
        started = time.perf_counter()
        retriever.search(text, vector, settings)
        took.append((time.perf_counter() - started) * 1000)
    return np.array(took[len(took) // 10 :], dtype=np.float32)  # the first ones read the files


def memory(fields: tuple[str, ...]) -> int:
    """Return the bytes that these fields of this process's memory map sum up to (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.split(":")[0] in fields)


def reads(directory: Path, texts: list[str], vectors: Vectors, pipe: Connection) -> None:
    """Open an index, search it, and tell what it costs while the others have it open too."""
    import faiss  # noqa: F401 # libraries are no part of an index

    before = memory(("Pss",))
    started = time.perf_counter()
    index = open_index(directory, None)
    opened = time.perf_counter() - started
    times(index, texts, vectors, "hybrid")
    resident = memory(("Rss",))
    pipe.send(opened)
    pipe.recv()
    pipe.send((resident, memory(("Pss",)) - before))
    pipe.recv()


def shared(directory: Path, texts: list[str], vectors: Vectors, count: int) -> tuple[float, int]:
    """Return the median opening time and what each of so many processes adds, in bytes (Pss)."""
    context = multiprocessing.get_context("spawn")
    pipes, children = [], []
    for _ in range(count):
        here, there = context.Pipe()
        child = context.Process(target=reads, args=(directory, texts, vectors, there))
        child.start()
        pipes.append(here)
        children.append(child)
        opened = [here.recv()] if count == 1 else []
    opened = opened or [pipe.recv() for pipe in pipes]
    for pipe in pipes:
        pipe.send("measure")
    costs = [pipe.recv()[1] for pipe in pipes]
    for pipe, child in zip(pipes, children, strict=True):
        pipe.send("end")
        child.join()
    return float(np.median(opened)), int(sum(costs))


def vector_rows(manifest: Manifest) -> str:
    """Return how the vectors are searched."""
    facts = manifest.vector_facts
    return facts.kind if facts.kind == "flat" else f"{facts.probes} of {facts.lists} lists"


def measured(
    directory: Path, real: Real, count: int, asked: tuple[list[str], Vectors]
) -> list[Row]:
    """Return rows of what was measured and what was wanted."""
    texts, queries = asked
    vectors = mixed_vectors(real.vectors, count)
    seconds = _seconds(lambda: build_made(real, vectors, directory, length=LENGTH))
    manifest = read_manifest(directory)
    disk = sum(file.size for file in manifest.sealed)
    rows: list[Row] = [
        ("build without embedding", f"{seconds:.0f} s", ""),
        ("vectors", vector_rows(manifest), ""),
        ("disk a passage", f"{disk / count:,.0f} B", "3,500"),
    ]
    rows += [
        (f"  {file.name.partition('-')[0]}", f"{file.size / count:,.0f} B", "")
        for file in manifest.sealed
    ]
    opening, alone = shared(directory, texts, queries, 1)
    _, together = shared(directory, texts, queries, PROCESSES)
    rows += [
        ("opening", f"{opening:.2f} s", "0.3 at 50,000"),
        ("memory a passage, one process (Pss)", f"{alone / count:,.0f} B", "2,500"),
        (f"memory a passage, {PROCESSES} together", f"{together / count:,.0f} B", ""),
    ]
    index = open_index(directory, None)
    rows.append(("recall@10 of exact", f"{recall(index, queries, vectors):.4f}", "0.98"))
    for mode in MODES:
        took = times(index, texts, queries, mode)
        middle, most = np.percentile(took, (50, 95))
        rows.append((f"search {mode}, p50 / p95", f"{middle:.1f} / {most:.1f} ms", "25 at p95"))
    index.close()
    return rows


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--index", type=Path, required=True, help="a real index to make others from")
    ask.add_argument("--passages", type=int, nargs="+", default=[1_000_000])
    ask.add_argument("--questions", type=Path, nargs="*", default=[], help="JSONL files")
    ask.add_argument("--room", type=Path, help="where the indexes are put meanwhile")
    wanted = ask.parse_args()
    real = read_real(wanted.index)
    asked = questions(wanted.questions, real)
    for count in wanted.passages:
        with tempfile.TemporaryDirectory(dir=wanted.room) as room:
            table = Table("", "measured", "wanted", title=f"{count:,} passages of {LENGTH} B")
            for row in measured(Path(room) / "made", real, count, asked):
                table.add_row(*row)
        Console().print(table)


if __name__ == "__main__":
    main()
