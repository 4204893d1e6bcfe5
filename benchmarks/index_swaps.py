"""New indexes take the place of old ones while questions come: does any answer fail or mix two?

    python benchmarks/index_swaps.py [--swaps 100] [--rate 50] [--look-every 1]

Two indexes of the same pages differ in the version that every passage names, in its text and in its
attributes. A swap is what a build does: files first, the manifest last, in one rename.
"""

import argparse
import asyncio
import re
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightspeed_providers.core.embedder import shared_embedder
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.product_rag import current
from lightspeed_providers.product_rag.ingest.build import build_index
from lightspeed_providers.product_rag.ingest.reading import Documentation

PARTS = ("bearing", "valve", "filter", "motor", "sensor", "hose", "seal", "pipe", "switch", "fan")
VERSION = re.compile(r"manual of version (\d+)")


@dataclass
class Seen:
    """What the answers were."""

    answers: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    mixed: int = 0
    slowest_ms: float = 0.0


def built(folder: Path, version: str) -> Path:
    """Return an index whose every passage names its version."""
    docs = folder / f"docs-{version}"
    docs.mkdir()
    for part in PARTS:
        (docs / f"{part}.md").write_text(
            f"# Care of the {part}\n\nThe manual of version {version} says: check the {part} of "
            f"the pump every week, and replace the {part} when it is worn.\n"
        )
    build_index(
        Documentation(docs, "Pump", version, "Pump"),
        folder / f"index-{version}",
        model=DEFAULT_EMBEDDING_MODEL,
        encoder=lambda: shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto"),
        report=lambda stage, done, total: None,
    )
    return folder / f"index-{version}"


def put(source: Path, served: Path) -> None:
    """Put an index in place and remove the files of the one before, as a build does."""
    # By rename, and the manifest last: a file that is in use must never be written over.
    files = sorted(source.iterdir(), key=lambda file: file.name == "manifest.json")
    for file in files:
        shutil.copy(file, served / ".copied")
        (served / ".copied").replace(served / file.name)
    kept = {file.name for file in files}
    for file in served.iterdir():
        if file.name not in kept:
            file.unlink()


async def ask(impl: Any, part: str, seen: Seen) -> None:
    """Ask one question and judge its answer."""
    begun = time.perf_counter()
    try:
        answer = await impl.invoke_tool(
            "search_product_docs", {"query": f"When is the {part} due?"}
        )
    except Exception as fault:  # every kind of failure is what is counted here
        seen.errors[f"{type(fault).__name__}: {fault}"] += 1
        return
    seen.slowest_ms = max(seen.slowest_ms, (time.perf_counter() - begun) * 1000)
    passages = answer.metadata["passages"]
    versions = {p["version"] for p in passages}
    versions |= {v for p in passages for v in VERSION.findall(p["content"])}
    if not passages or answer.metadata["errors"]:
        seen.errors["nothing found"] += 1
    elif len(versions) > 1:
        seen.mixed += 1
    else:
        seen.answers[versions.pop()] += 1


async def measured(arguments: argparse.Namespace, folder: Path) -> None:
    """Swap and ask at the same time, then print what was seen."""
    from llama_stack_api import Api

    from lightspeed_providers.embeddings.config import LightspeedEmbeddingsConfig
    from lightspeed_providers.embeddings.embeddings import LightspeedEmbeddingsImpl
    from lightspeed_providers.product_rag.config import LightspeedRagConfig
    from lightspeed_providers.product_rag.product_rag import LightspeedRagImpl

    sources = [built(folder, version) for version in ("1", "2")]
    served = Path(shutil.copytree(sources[0], folder / "served"))
    embeddings = LightspeedEmbeddingsImpl(LightspeedEmbeddingsConfig())
    impl = LightspeedRagImpl(
        LightspeedRagConfig(index_dir=str(served)), {Api.inference: embeddings}
    )
    await impl.initialize()
    seen = Seen()
    await ask(impl, "pump", Seen())
    done = asyncio.Event()

    async def swap() -> None:
        for number in range(1, arguments.swaps + 1):
            await asyncio.to_thread(put, sources[number % 2], served)
            before = seen.answers.copy()
            version = str(number % 2 + 1)  # its first answer is waited for
            deadline = time.monotonic() + 10
            while seen.answers[version] == before[version] and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        done.set()

    swapping = asyncio.create_task(swap())
    asked: list[asyncio.Task[None]] = []
    begun = time.perf_counter()
    while not done.is_set():
        asked.append(asyncio.create_task(ask(impl, PARTS[len(asked) % len(PARTS)], seen)))
        await asyncio.sleep(max(0.0, begun + len(asked) / arguments.rate - time.perf_counter()))
    await asyncio.gather(swapping, *asked)
    rate = len(asked) / (time.perf_counter() - begun)
    await impl.shutdown()
    print(f"{arguments.swaps} swaps, {len(asked)} questions at {rate:.0f} a second")
    print(f"answers by version {dict(seen.answers)}, slowest {seen.slowest_ms:.0f} ms")
    print(f"errors {sum(seen.errors.values())}, answers mixed from two versions {seen.mixed}")
    for error, count in seen.errors.most_common(5):
        print(f"  {count} × {error}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--look-every", type=float, default=1.0, help="seconds between looks")
    arguments = parser.parse_args()
    current._LOOK_EVERY_S = arguments.look_every
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measured(arguments, Path(folder)))


if __name__ == "__main__":
    main()
