"""Both Responses providers in this process, in turn: measures of `responses_speed.py`.

Whole servers on a small machine differ by more than a millisecond from run to run. Here nothing
but the providers, their stores and the router runs, so that a millisecond can be seen.
"""

import asyncio
import os
import random
import time
from dataclasses import dataclass

import numpy as np
from responses_sides import Side, both_sides
from responses_table import Figure, Table, added
from responses_upstream import INSTANT, MODELS, STREAMING, answer_of
from start_and_answer import resident_mb

from lightspeed_providers.core.progress import Report

WITHIN_MS = 1.0
SHIELD_MS = (50.0, 50.0)
SEARCH_MS = 20.0
SHIELDED_WITHIN_MS = 60.0
_WARM_UP = 20
_LOOKS = 10
"""How often memory is looked at."""
_GROWTH_MB = 5.0
"""A process of 200 MB moves by a few without growing."""


@dataclass(frozen=True)
class Once:
    """One answer, in ms; `cpu` with all that is written after it."""

    total: float
    first: float
    cpu: float


async def asked(side: Side, model: str) -> Once:
    """Ask, read to the end, and wait until all that the answer left behind is done."""
    others = asyncio.all_tasks()
    cpu, began = time.process_time(), time.perf_counter()
    first, parts = 0.0, []
    async for event in await side.ask(model, stream=True):
        if event.type == "response.output_text.delta":
            first = first or time.perf_counter() - began
            parts.append(event.delta)
    total = time.perf_counter() - began
    if side.recorder is not None:
        await side.recorder._writer.settled(5)
    if left := asyncio.all_tasks() - others:
        await asyncio.wait(left, timeout=5)
    if "".join(parts) != "".join(answer_of(model)):
        raise SystemExit(f"{side.name}: the answer is not whole: {''.join(parts)[:80]!r}")
    return Once(total * 1000, first * 1000, (time.process_time() - cpu) * 1000)


async def in_turn(
    sides: tuple[Side, Side], model: str, rounds: int, report: Report, stage: str
) -> dict[str, list[Once]]:
    """Return what each side did, round by round; who begins changes."""
    seen: dict[str, list[Once]] = {side.name: [] for side in sides}
    order = random.Random(0)
    for number in range(-_WARM_UP, rounds):
        for side in order.sample(sides, 2):
            once = await asked(side, model)
            if number >= 0:
                seen[side.name].append(once)
        report(stage, max(number + 1, 0), rounds)
    return seen


def column(seen: list[Once], what: str) -> np.ndarray:
    """Return one thing of all answers."""
    return np.array([getattr(once, what) for once in seen])


async def latencies(rounds: int, report: Report) -> list[Table]:
    """Compare latency, first text and CPU time without shields and retrieval."""
    tables = []
    async with both_sides() as sides:
        for model, count in ((INSTANT, rounds), (STREAMING, max(rounds // 4, 1))):
            seen = await in_turn(sides, model, count, report, f"in process, {model}")
            tables.append(_table(model, seen))
    return tables


def _table(model: str, seen: dict[str, list[Once]]) -> Table:
    ours, stock = seen["ours"], seen["stock"]
    chunks = len(answer_of(model))
    said = "1 chunk at once" if chunks == 1 else f"{chunks} chunks"
    table = Table(f"In one process, shields and retrieval off, {said} ({len(ours)} answers each)")
    for what, name in (("total", "whole answer"), ("first", "first text")):
        table.figures.append(
            added(f"{name}, median", column(ours, what), column(stock, what), at_most=WITHIN_MS)
        )
    table.figures.append(
        added("CPU time with all that is stored, median", column(ours, "cpu"), column(stock, "cpu"))
    )
    return table


async def shielded(rounds: int, report: Report) -> Table:
    """Compare the first text behind two slow input shields and a slow search."""
    async with both_sides(SHIELD_MS, SEARCH_MS) as sides:
        seen = await in_turn(sides, INSTANT, rounds, report, "shields and search")
    ours, stock = column(seen["ours"], "first"), column(seen["stock"], "first")
    shields = " and ".join(f"{ms:g} ms" for ms in SHIELD_MS)
    table = Table(f"Input shields of {shields}, a search of {SEARCH_MS:g} ms, beside the stock")
    table.figures.append(added("first text, median", ours, stock, at_most=SHIELDED_WITHIN_MS))
    table.notes.append("the shields run at one time, and the search beside them")
    return table


async def memory(requests: int, report: Report) -> Table:
    """Look at the memory of this process while ours answers many requests."""
    looks: list[float] = []
    step = max(requests // _LOOKS, 1)
    async with both_sides() as (ours, _):
        for number in range(1, requests + 1):
            model = MODELS[number % 50 == 0]
            await asked(ours, model)
            if number % step == 0:
                looks.append(resident_mb(os.getpid()))
                report("memory", number, requests)
    return _memory_table("In one process", requests, looks)


def _memory_table(where: str, requests: int, looks: list[float]) -> Table:
    """Return how memory moved once the first fifth of the requests had warmed everything up."""
    table = Table(f"{where}, memory over {requests:,} requests of ours")
    warm = looks[len(looks) // 5]
    table.figures.append(
        Figure("grown since a fifth of them", "MB", looks[-1] - warm, at_most=_GROWTH_MB)
    )
    table.notes.append("MB: " + ", ".join(f"{mb:.0f}" for mb in looks))
    return table
