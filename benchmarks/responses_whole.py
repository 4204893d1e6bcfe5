"""Whole servers in turn, asked by several clients at a time: measures of `responses_speed.py`."""

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from responses_servers import OURS, STOCK, Answer, Server, ask, canned_upstream, cpu_s, started
from responses_table import Figure, Table, added, ratio
from responses_upstream import INSTANT, STREAMING, answer_of

from lightspeed_providers.core.progress import Report

AT_LEAST = 0.95
WITHIN_MS = 1.0
_SETTLES_S = 0.3
_STREAMED = 4
"""How many times fewer requests a block of long answers has."""


@dataclass
class Blocks:
    """What one server did in its turns."""

    per_second: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)


def servers(clients: Sequence[int], blocks: int, block: int, report: Report) -> list[Table]:
    """Compare both servers for each number of clients, with short and with long answers."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        upstream = running.enter_context(canned_upstream())
        both = [
            running.enter_context(started(Path(directory) / name, name, upstream))
            for name in (OURS, STOCK)
        ]
        return [
            asyncio.run(_compared(both, model, count, blocks, block, report))
            for model in (INSTANT, STREAMING)
            for count in clients
        ]


async def _compared(
    both: list[Server], model: str, clients: int, blocks: int, block: int, report: Report
) -> Table:
    seen = {server.name: Blocks() for server in both}
    order = random.Random(0)
    requests = max(block // (_STREAMED if model == STREAMING else 1), clients)
    stage = f"{clients} clients, {model}"
    for number in range(-1, blocks):
        for server in order.sample(both, 2):
            await _block(server, model, clients, requests, seen[server.name], kept=number >= 0)
        report(stage, number + 1, blocks)
    return _table(seen, model, clients, requests * blocks, both)


async def _block(
    server: Server, model: str, clients: int, requests: int, seen: Blocks, *, kept: bool
) -> None:
    """Let so many clients ask, one request after the other, until all have been answered."""
    answers: list[Answer] = []
    numbers = iter(range(requests))

    async def client() -> None:
        for _ in numbers:
            answers.append(await ask(server, model, stream=True))

    cpu, began = cpu_s(server.process.pid), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    took = time.perf_counter() - began
    await asyncio.sleep(_SETTLES_S)  # what is written after the answers is their server's
    cpu = cpu_s(server.process.pid) - cpu
    seen.faults.update(a.fault for a in answers if a.fault)
    if not kept:
        return
    seen.per_second.append(requests / took)
    seen.p50_ms.append(float(np.median([a.total_ms for a in answers])))
    seen.first_ms.append(float(np.median([a.first_ms or 0 for a in answers])))
    seen.cpu_ms.append(cpu / requests * 1000)


def _table(
    seen: dict[str, Blocks], model: str, clients: int, requests: int, both: list[Server]
) -> Table:
    ours, stock = seen[OURS], seen[STOCK]
    chunks = len(answer_of(model))
    said = "1 chunk at once" if chunks == 1 else f"{chunks} chunks"
    table = Table(f"Whole servers, {clients} client(s) at a time, {said} ({requests} answers each)")
    within = WITHIN_MS if clients == 1 else None

    def of(name: str) -> tuple[np.ndarray, np.ndarray]:
        return np.array(getattr(ours, name)), np.array(getattr(stock, name))

    table.figures = [
        ratio("requests a second", "stock's", *of("per_second"), at_least=AT_LEAST),
        added("whole answer, median of a block", *of("p50_ms"), at_most=within),
        added("first text, median of a block", *of("first_ms"), at_most=within),
        added("the server's CPU time a request", *of("cpu_ms")),
        *(Figure(f"memory of {s.name} afterwards", "MB", s.rss_mb) for s in both),
    ]
    for name, blocks in seen.items():
        table.faults += [f"{name}: {fault} ({n} times)" for fault, n in blocks.faults.items()]
    return table
