"""What recording turns adds to answers at 50 a second, in one process and one run.

    python benchmarks/transcripts_beside_answers.py
    python benchmarks/transcripts_beside_answers.py --durability strict

`transcripts_latency.py` measures whole servers; on a small machine those are busy long before 50
requests a second, the stock one as well. Here an answer is *canned*: steps of the event loop that
compute for some milliseconds in all. It ends by recording its turn with the real provider, or it
does not; blocks of both alternate, because a machine is never equally busy for long.
"""

import argparse
import asyncio
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
from transcripts_latency import RESAMPLES, WITHIN_MS

from lightspeed_providers.core.turns import Outcome, Passage, Turn
from lightspeed_providers.transcripts.config import LightspeedTranscriptsConfig
from lightspeed_providers.transcripts.transcripts import LightspeedTranscriptsImpl

QUESTION = "How do I create a superuser, and how do I give it a password later? " * 3
ANSWER = "Run the command createsuperuser of manage.py and answer what it asks. " * 6
STEPS = 20
"""Of an answer; a governed answer without retrieval takes about as many turns of the loop."""


def turn() -> Turn:
    """Return a turn of ordinary size: four passages, about 6 kB."""
    now = datetime.now(UTC)
    passages = tuple(
        Passage(
            passage_id=f"p{n}",
            document_id=f"d{n}",
            title="django-admin and manage.py",
            doc_url=f"https://docs.example/ref/django-admin/#{n}",
            content=ANSWER * 3,
            score=0.5,
        )
        for n in range(4)
    )
    return Turn(
        turn_id=f"turn_{uuid4().hex}",
        response_id=f"resp_{uuid4().hex}",
        user_id="anonymous",
        profile="django",
        prompt_version="0123456789ab",
        prompt_hash="0" * 64,
        model_requested="lightspeed",
        model="openai/canned",
        question=QUESTION,
        answer=ANSWER,
        passages=passages,
        received_at=now,
        finished_at=now,
        outcome=Outcome.ANSWERED,
    )


async def answer(due: float, busy_s: float, recorder: LightspeedTranscriptsImpl | None) -> float:
    """Return the ms from when an answer was due until it was over."""
    for _ in range(STEPS):
        until = time.perf_counter() + busy_s / STEPS
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0)
    finished = turn()  # made in either case: an answer's log has it too
    if recorder is not None:
        await recorder.record(finished)
    return (time.perf_counter() - due) * 1000


async def block(
    options: argparse.Namespace, recorder: LightspeedTranscriptsImpl | None
) -> np.ndarray:
    """Return the latencies of a block of answers that begin at fixed times."""
    began = time.perf_counter() + 0.05
    tasks = []
    for number in range(round(options.rate * options.block_s)):
        due = began + number / options.rate
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(answer(due, options.busy_ms / 1000, recorder)))
    latencies = np.array(await asyncio.gather(*tasks))
    await asyncio.sleep(0.3)  # what is written after the answers belongs to their block
    return latencies


def difference(on: list[np.ndarray], off: list[np.ndarray]) -> tuple[float, float, float]:
    """Return by how many ms `on` is slower at p99, with a 95 % bootstrap interval.

    It is the median over pairs of neighbouring blocks: a machine that stops for a moment spoils
    one block's p99, and with it the p99 of all.
    """
    pairs = np.array(
        [np.percentile(a, 99) - np.percentile(b, 99) for a, b in zip(on, off, strict=True)]
    )
    rng = np.random.default_rng(0)
    drawn = np.median(rng.choice(pairs, (RESAMPLES, len(pairs))), axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(np.median(pairs)), float(low), float(high)


async def measure(options: argparse.Namespace, recorder: LightspeedTranscriptsImpl) -> None:
    """Give both their blocks in turn and print what was seen."""
    on: list[np.ndarray] = []
    off: list[np.ndarray] = []
    await block(options, recorder)
    for number in range(options.rounds):
        for blocks, used in ((on, recorder), (off, None))[:: 1 if number % 2 else -1]:
            blocks.append(await block(options, used))
    written = recorder._writer
    print(f"{options.rate:g} canned answers a second of {options.busy_ms:g} ms, {len(on)} blocks")
    for name, blocks in (("recorded", on), ("not", off)):
        p50, p99 = np.percentile(np.concatenate(blocks), (50, 99))
        print(
            f"  {name:10} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   {sum(map(len, blocks))} answers"
        )
    seen, low, high = difference(on, off)
    print(f"  p99 difference {seen:+.2f} ms (95 % interval {low:+.2f} to {high:+.2f})")
    verdict = "yes" if high <= WITHIN_MS else "yes, but not surely" if seen <= WITHIN_MS else "no"
    print(f"  within {WITHIN_MS:g} ms: {verdict}")
    await recorder.shutdown()
    print(f"  turns written {written.written}, dropped {written.dropped}")


async def run(options: argparse.Namespace) -> None:
    """Open the real provider over a new SQLite file and measure."""
    from llama_stack.core.storage.datatypes import SqliteSqlStoreConfig
    from llama_stack.core.storage.sqlstore.sqlstore import register_sqlstore_backends

    with tempfile.TemporaryDirectory() as directory:
        os.environ["LIGHTSPEED_STATE_DIR"] = directory
        file = str(Path(directory) / "transcripts.db")
        register_sqlstore_backends({"sql_default": SqliteSqlStoreConfig(db_path=file)})
        config = LightspeedTranscriptsConfig(durability=options.durability)
        recorder = LightspeedTranscriptsImpl(config)
        await recorder.initialize()
        await measure(options, recorder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=50, help="Answers a second")
    parser.add_argument("--busy-ms", type=float, default=8, help="What an answer computes")
    parser.add_argument("--rounds", type=int, default=20, help="Blocks of each kind")
    parser.add_argument("--block-s", type=float, default=3, help="Seconds of a block")
    parser.add_argument("--durability", choices=("queued", "strict"), default="queued")
    asyncio.run(run(parser.parse_args()))
