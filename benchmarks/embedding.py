"""Embedding side by side: Llama Stack's sentence-transformers provider and ours.

    python benchmarks/embedding.py --texts docs/
    python benchmarks/embedding.py --help

Both run in this one process, in turn, with the model that is configured by default. The stock way
is the provider's own: `SentenceTransformer.encode` with its defaults in a thread.
"""

import argparse
import asyncio
import logging
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightspeed_providers.core.embedder import Embedder
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL, embedding_model_path
from lightspeed_providers.core.precision import bfloat16_instructions

Embed = Callable[[list[str]], Awaitable[Any]]  # Any: both give arrays of numbers

_SUBJECTS = ("sessions", "a superuser", "migrations", "the cache", "signals", "static files")
_ASKED = ("How do I configure {}?", "What is {}?", "Where are {} stored in version {}?")
_TEXT = """the default settings keep every session in a database until it ends and a command
removes those that are over while views read and write them as they would a dictionary"""


def questions(count: int, salt: str) -> list[str]:
    """Return questions that differ from each other and from those of another salt."""
    return [
        f"{_ASKED[n % 3].format(_SUBJECTS[n % 6], n % 9)[:-1]} with {salt} {n}?"
        for n in range(count)
    ]


def passages(source: Path | None, count: int) -> list[str]:
    """Return passages of up to 180 words: of a directory's texts, or made up."""
    if source is None:
        rng = np.random.default_rng(7)
        return [
            " ".join(rng.choice(_TEXT.split(), int(rng.integers(40, 180)))) for _ in range(count)
        ]
    found: list[str] = []
    for path in sorted(p for p in source.rglob("*") if p.suffix in {".txt", ".md", ".rst"}):
        words = path.read_text(errors="replace").split()
        found += [" ".join(words[start : start + 180]) for start in range(0, len(words), 180)]
    step = max(1, len(found) // count)
    return found[::step][:count]


async def one_by_one(embed: Embed, texts: Sequence[str]) -> list[float]:
    """Return how many milliseconds each text took."""
    taken = []
    for text in texts:
        started = time.perf_counter()
        await embed([text])
        taken.append((time.perf_counter() - started) * 1000)
    return taken


async def at_once(embed: Embed, texts: Sequence[str], callers: int) -> tuple[float, list[float]]:
    """Return texts a second with so many callers, and how many milliseconds each text took."""
    shares = [texts[start::callers] for start in range(callers)]
    started = time.perf_counter()
    taken = await asyncio.gather(*(one_by_one(embed, share) for share in shares))
    return len(texts) / (time.perf_counter() - started), [ms for share in taken for ms in share]


async def bulk(embed: Embed, texts: list[str]) -> float:
    """Return passages a second."""
    started = time.perf_counter()
    await embed(texts)
    return len(texts) / (time.perf_counter() - started)


def stock(model: str) -> Embed:
    """Return what `SentenceTransformerEmbeddingMixin.openai_embeddings` does."""
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(embedding_model_path(model))

    async def embed(texts: list[str]) -> Any:  # Any: see `Embed`
        return await asyncio.to_thread(loaded.encode, texts, show_progress_bar=False)

    return embed


def p95(values: list[float]) -> float:
    """Return what 95 of 100 values do not exceed."""
    return sorted(values)[int(len(values) * 0.95)]


def row(name: str, theirs: float, ours: float, unit: str, *, less_is_better: bool) -> str:
    """Return a line of the table."""
    ratio = theirs / ours if less_is_better else ours / theirs
    return f"{name:34}{theirs:10.1f}{ours:10.1f}  {unit:12}{ratio:6.2f} x"


async def compare(options: argparse.Namespace) -> None:
    """Print the table."""
    theirs = stock(options.model)
    embedder = Embedder(options.model)
    embedder.start_loading()
    await embedder.embed(["warm up"])
    print(processor(), "|", embedder.encoder_name)
    cold = [questions(options.questions, salt) for salt in ("one", "two", "three")]
    rounds: dict[str, list[list[float]]] = {}
    for texts in cold:  # in turn, so that a noisy machine is noisy for both
        rounds.setdefault("stock", []).append(await one_by_one(theirs, texts))
        rounds.setdefault("ours", []).append(await one_by_one(embedder.embed, texts))
    known = await one_by_one(embedder.embed, cold[-1])
    single = {name: [ms for taken in found for ms in taken] for name, found in rounds.items()}
    print(f"{'':34}{'stock':>10}{'ours':>10}")
    medians = {name: statistics.median(taken) for name, taken in single.items()}
    print(row("a question, p50", medians["stock"], medians["ours"], "ms", less_is_better=True))
    ends = {name: p95(taken) for name, taken in single.items()}
    print(row("a question, p95", ends["stock"], ends["ours"], "ms", less_is_better=True))
    print(f"{'a question asked before, p50':34}{'':10}{statistics.median(known):10.2f}  ms")
    for callers in (8, 32):
        texts = questions(options.questions * 2, f"{callers} callers")
        stock_rate, stock_ms = await at_once(theirs, texts, callers)
        our_rate, our_ms = await at_once(embedder.embed, texts, callers)
        name = f"{callers} callers"
        print(row(name, stock_rate, our_rate, "questions/s", less_is_better=False))
        print(row(f"{name}, p95", p95(stock_ms), p95(our_ms), "ms", less_is_better=True))
    texts = passages(options.texts, options.passages)
    rates = [(await bulk(theirs, texts), await bulk(embedder.embed, texts)) for _ in range(3)]
    stock_rate, our_rate = (statistics.median(column) for column in zip(*rates, strict=True))
    print(row(f"{len(texts)} passages", stock_rate, our_rate, "passages/s", less_is_better=False))
    importing = asyncio.create_task(embedder.embed(texts))
    beside = await one_by_one(embedder.embed, questions(20, "beside an import"))
    await importing
    print(f"{'a question beside an import, p50':34}{'':10}{statistics.median(beside):10.1f}  ms")
    cosine = (np.asarray(await theirs(texts[:50])) * await embedder.embed(texts[:50])).sum(axis=1)
    print(f"lowest cosine between both: {cosine.min():.6f}")


def processor() -> str:
    """Return what this processor offers."""
    import torch

    found = ", ".join(bfloat16_instructions()) or "no bfloat16"
    return f"torch {torch.__version__} | {torch.backends.cpu.get_cpu_capability()}, {found} | " + (
        f"{torch.get_num_threads()} threads | cuda: {torch.cuda.is_available()}"
    )


def main() -> None:
    """Measure both ways."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_EMBEDDING_MODEL, help="a hub name or directory")
    parser.add_argument("--texts", type=Path, help="a directory whose texts are the passages")
    parser.add_argument("--questions", type=int, default=100, help="questions a round")
    parser.add_argument("--passages", type=int, default=200, help="passages a round")
    logging.disable(logging.INFO)
    asyncio.run(compare(parser.parse_args()))


if __name__ == "__main__":
    main()
