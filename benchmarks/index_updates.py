"""How long it takes to add and replace a document, and whether searches beside it stay right.

    python benchmarks/index_updates.py --index DIR [--sizes 50000 500000] [--full]

Side by side in one run: our index in place, Llama Stack's stock inline::faiss provider, its
sqlite-vec, and a plain faiss index with an SQLite table. Embedding is not counted. Vectors are real
ones of --index, enlarged by mixtures of two with noise (see made_index.py).
"""

import argparse
import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from made_index import (
    PASSAGES_A_PAGE,
    Real,
    Vectors,
    build_made,
    made_document,
    made_release,
    mixed_vectors,
    number_of,
    read_real,
)
from rich.console import Console
from rich.table import Table

from lightspeed_providers.product_rag.index.content import Document
from lightspeed_providers.product_rag.index.live import LiveWriter
from lightspeed_providers.product_rag.index.open import open_index

LENGTH = 600
CHANGES = 60
_FIRST_NEW = 100_000_000


@dataclass
class Measured:
    """What one store was seen to do, in milliseconds."""

    name: str
    size: int
    adding: list[float] = field(default_factory=list)
    replacing: list[float] = field(default_factory=list)
    longest_block: float = 0.0
    searches: int = 0
    wrong: int = 0


class Store(Protocol):
    """Something that documents are put into and found in."""

    async def replace(self, name: str, numbers: list[int], vectors: Vectors) -> None:
        """Add a document or put it in the place of the one of that name."""
        ...

    async def remove(self, name: str, numbers: list[int]) -> None:
        """Take a document out."""
        ...

    async def nearest(self, vector: Vectors) -> list[int]:
        """Return the numbers of the texts that are found, best first."""
        ...


class Ours:
    """Our index, changed in a thread as a server would."""

    def __init__(self, real: Real, directory: Path) -> None:
        self._real = real
        self._documents: dict[str, Document] = {}
        self._writer = LiveWriter(directory).__enter__()
        first = made_document(real, "first", [_FIRST_NEW - 1], LENGTH)
        self._writer.replace(made_release(), first, real.vectors[:1])
        self.index = open_index(directory, None)

    async def replace(self, name: str, numbers: list[int], vectors: Vectors) -> None:
        """Put a document in, in the place of an older one."""
        document = self._documents.get(name) or self.prepare(name, numbers)
        await asyncio.to_thread(self._writer.replace, made_release(), document, vectors)

    def prepare(self, name: str, numbers: list[int]) -> Document:
        """Make up a document's text, which is no part of what is measured."""
        document = made_document(self._real, name, numbers, LENGTH)
        self._documents[name] = document
        return document

    async def remove(self, name: str, numbers: list[int]) -> None:
        """Take a document out."""
        await asyncio.to_thread(self._writer.remove, f"made/1/{name}")

    async def nearest(self, vector: Vectors) -> list[int]:
        """Return what is nearest, best first."""
        return await asyncio.to_thread(self.search, vector)

    def search(self, vector: Vectors) -> list[int]:
        """Return what is nearest, best first; blocks."""
        with self.index.snapshot() as snapshot:
            found = snapshot.nearest(vector, 5)
            stored = snapshot.stored(found)
            return [number_of(stored[position].passage.content) for position in found]

    def close(self) -> None:
        """End the changes and close the files."""
        self.index.close()
        self._writer.__exit__(None, None, None)


class PlainFaiss:
    """What one writes in an afternoon: IndexFlatIP with ids, a table, and both saved."""

    def __init__(self, vectors: Vectors, directory: Path) -> None:
        import faiss

        self._path = directory / "plain.faiss"
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1]))
        self._index.add_with_ids(vectors, np.arange(len(vectors)))
        self._database = sqlite3.connect(directory / "plain.sqlite")
        self._database.execute("CREATE TABLE texts (number INTEGER PRIMARY KEY, content TEXT)")
        rows = ((number, "x" * LENGTH) for number in range(len(vectors)))
        self._database.executemany("INSERT INTO texts VALUES (?, ?)", rows)
        self._database.commit()

    async def replace(self, name: str, numbers: list[int], vectors: Vectors) -> None:
        """Put a document in, in the place of an older one."""
        import faiss

        await self.remove(name, numbers, save=False)
        self._index.add_with_ids(vectors, np.array(numbers))
        rows = ((number, "x" * LENGTH) for number in numbers)
        self._database.executemany("INSERT INTO texts VALUES (?, ?)", rows)
        self._database.commit()
        faiss.write_index(self._index, str(self._path))

    async def remove(self, name: str, numbers: list[int], *, save: bool = True) -> None:
        """Take a document out."""
        import faiss

        self._index.remove_ids(np.array(numbers))
        self._database.executemany("DELETE FROM texts WHERE number = ?", ((n,) for n in numbers))
        self._database.commit()
        if save:
            faiss.write_index(self._index, str(self._path))

    async def nearest(self, vector: Vectors) -> list[int]:
        """Return what is nearest, best first."""
        _, found = self._index.search(vector.reshape(1, -1), 5)
        return [int(number) for number in found[0]]


class StockFaiss:
    """The inline::faiss provider of Llama Stack, its index kept in its own SQLite store."""

    def __init__(self, index: Any, real: Real) -> None:  # Any: the host's own class
        self._index = index
        self._real = real

    @classmethod
    async def made(cls, real: Real, vectors: Vectors, directory: Path) -> "StockFaiss":
        """Return one that holds a text for each of these vectors."""
        from llama_stack.core.storage.datatypes import SqliteKVStoreConfig
        from llama_stack.core.storage.kvstore.sqlite.sqlite import SqliteKVStoreImpl
        from llama_stack.providers.inline.vector_io.faiss.faiss import FaissIndex

        store = SqliteKVStoreImpl(SqliteKVStoreConfig(db_path=str(directory / "stock.db")))
        await store.initialize()
        self = cls(await FaissIndex.create(vectors.shape[1], store, "bench"), real)
        for start in range(0, len(vectors), 5_000):
            numbers = range(start, min(start + 5_000, len(vectors)))
            chunks = [self._chunk(str(n // PASSAGES_A_PAGE), n, vectors[n]) for n in numbers]
            await self._index.add_chunks(chunks)
        return self

    async def replace(self, name: str, numbers: list[int], vectors: Vectors) -> None:
        """Put a document in, in the place of an older one."""
        await self.remove(name, numbers)
        pairs = zip(numbers, vectors, strict=True)
        await self._index.add_chunks([self._chunk(name, n, row) for n, row in pairs])

    async def remove(self, name: str, numbers: list[int]) -> None:
        """Take a document out."""
        from llama_stack_api import ChunkForDeletion

        known = set(self._index.chunk_ids)
        gone = [
            ChunkForDeletion(chunk_id=f"c{n}", document_id=name)
            for n in numbers
            if f"c{n}" in known
        ]
        if gone:
            await self._index.delete_chunks(gone)

    async def nearest(self, vector: Vectors) -> list[int]:
        """Return what is nearest, best first."""
        found = await self._index.query_vector(vector, k=5, score_threshold=-2.0)
        return [number_of(chunk.content) for chunk in found.chunks]

    def _chunk(self, name: str, number: int, vector: Vectors) -> Any:  # Any: the host's own class
        from llama_stack_api import ChunkMetadata, EmbeddedChunk

        return EmbeddedChunk(
            content=f"text{number} {'x' * LENGTH}",
            chunk_id=f"c{number}",
            metadata={"document_id": name},
            chunk_metadata=ChunkMetadata(document_id=name),
            embedding=vector.tolist(),
            embedding_model="made",
            embedding_dimension=len(vector),
        )


async def changed(store: Store, measured: Measured, real: Real, changes: int) -> None:
    """Add, replace and time so many documents, and watch the event loop meanwhile."""
    for turn in range(changes):
        numbers = _numbers(turn)
        vectors = mixed_vectors(real.vectors, len(numbers), seed=turn + 1)
        if isinstance(store, Ours):
            store.prepare(f"new{turn}", numbers)
        watching = asyncio.create_task(_longest_block(measured))
        await asyncio.sleep(0)
        measured.adding.append(await _timed(store.replace(f"new{turn}", numbers, vectors)))
        measured.replacing.append(await _timed(store.replace(f"new{turn}", numbers, vectors)))
        await asyncio.sleep(0.003)  # it has to wake to see for how long it could not
        watching.cancel()


async def searched(store: Store, measured: Measured, real: Real, searches: int) -> None:
    """Search for documents while they come and go; count what should not have been found.

    A search is wrong where it finds a text that was removed before it began, or misses one that
    was there all the time it ran.
    """
    documents = [
        (_numbers(n), mixed_vectors(real.vectors, 20, seed=n + 9)) for n in range(5000, 5008)
    ]
    state = dict.fromkeys(range(len(documents)), 0)  # even: not there, odd: there
    settled = dict(state)
    done = asyncio.Event()

    async def change() -> None:
        chance = random.Random(1)
        while not done.is_set():
            one = chance.randrange(len(documents))
            numbers, vectors = documents[one]
            there = state[one] % 2
            settled[one] = -1
            if there:
                await store.remove(f"s{one}", numbers)
            else:
                await store.replace(f"s{one}", numbers, vectors)
            state[one] += 1
            settled[one] = state[one]
            await asyncio.sleep(0.005)

    async def search(share: int, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(share):
            one = chance.randrange(len(documents))
            row = chance.randrange(20)
            before = settled[one]
            found = await store.nearest(documents[one][1][row])
            measured.searches += 1
            if before == -1 or settled[one] != before:
                continue
            measured.wrong += (documents[one][0][row] in found) != bool(before % 2)

    changing = asyncio.create_task(change())
    await asyncio.gather(*(search(searches // 4, seed) for seed in range(4)))
    done.set()
    await changing


def _numbers(turn: int) -> list[int]:
    first = _FIRST_NEW + turn * PASSAGES_A_PAGE
    return list(range(first, first + PASSAGES_A_PAGE))


async def _timed(work: Awaitable[None]) -> float:
    started = time.perf_counter()
    await work
    return (time.perf_counter() - started) * 1000


async def _longest_block(measured: Measured) -> None:
    while True:
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        late = (time.perf_counter() - started) * 1000 - 1
        measured.longest_block = max(measured.longest_block, late)


async def measure(
    name: str, size: int, store: Store, real: Real, *, changes: int, searches: int
) -> Measured:
    """Return what a store was seen to do."""
    measured = Measured(name, size)
    await changed(store, measured, real, changes)
    await searched(store, measured, real, searches)
    return measured


def shown(every: list[Measured]) -> Table:
    """Return the numbers side by side."""
    table = Table(title="A document of 20 passages, in ms (embedding not counted)")
    for column in ("", "passages", "add p50", "p95", "replace p50", "p95", "loop block", "wrong"):
        table.add_column(column, justify="left" if not column else "right")
    for one in every:
        times = (*np.percentile(one.adding, (50, 95)), *np.percentile(one.replacing, (50, 95)))
        table.add_row(
            one.name,
            f"{one.size:,}",
            *(f"{value:.1f}" for value in (*times, one.longest_block)),
            f"{one.wrong} of {one.searches:,}",
        )
    return table


async def run(wanted: argparse.Namespace) -> list[Measured]:
    """Measure all of them in turn."""
    real = read_real(wanted.index)
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(dir=wanted.room) as room:
        for size in wanted.sizes:
            directory = Path(room) / f"ours{size}"
            build_made(real, mixed_vectors(real.vectors, size), directory, length=LENGTH)
            ours = Ours(real, directory)
            searches = 100_000 if wanted.full else 2_000
            found.append(
                await measure("ours", size, ours, real, changes=wanted.changes, searches=searches)
            )
            ours.close()
        vectors = mixed_vectors(real.vectors, wanted.stock_size)
        plain = PlainFaiss(vectors, Path(room))
        some = {"changes": min(wanted.changes, 10), "searches": 2_000}
        found.append(await measure("plain faiss + SQLite", len(vectors), plain, real, **some))
        if wanted.ours_only:
            return found
        stock = await StockFaiss.made(real, vectors, Path(room))
        found.append(await measure("stock inline::faiss", len(vectors), stock, real, **some))
    return found


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--index", type=Path, required=True, help="a real index to make others from")
    ask.add_argument("--sizes", type=int, nargs="+", default=[50_000])
    ask.add_argument("--stock-size", type=int, default=10_000)
    ask.add_argument("--changes", type=int, default=CHANGES)
    ask.add_argument("--full", action="store_true", help="100,000 searches beside changes of ours")
    ask.add_argument("--ours-only", action="store_true", help="leave out the slow stock provider")
    ask.add_argument("--room", type=Path, help="where the indexes are put meanwhile")
    wanted = ask.parse_args()
    found = asyncio.run(run(wanted))
    console = Console()
    console.print(shown(found))
    ours = [one for one in found if one.name == "ours"]
    if len(ours) > 1:
        ratio = np.percentile(ours[-1].replacing, 95) / np.percentile(ours[0].replacing, 95)
        console.print(f"Ours, {ours[-1].size:,} to {ours[0].size:,}: {ratio:.2f} at p95")
    if not hasattr(sqlite3.connect(":memory:"), "enable_load_extension"):
        console.print("Stock sqlite-vec: not measured, this Python's SQLite loads no extensions.")


if __name__ == "__main__":
    main()
