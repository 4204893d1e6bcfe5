"""A thousand answers at one time through the gate: a measure of `shields_speed.py`."""

import asyncio
import gc
import os
import random
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from shields_answer import pieces
from shields_report import Figure, Report
from shields_sides import CannedInference, gated, heard, open_turn
from shields_streaming import configured_of
from start_and_answer import resident_mb

from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.safety.routing import direction_of

STREAMS = 1000
_DELTAS = 8
_PAUSE_S = 1.0
_WEIGHED = 250
"""Streams whose memory is looked at: watching every allocation is slow."""
_EARLY, _LATE = 10, 30
"""Deltas after which it is."""
_LONG = 40
"""Characters of those deltas."""
_PROBE_S = 0.01

type Answering = Callable[[Any], Any]  # Any: an inference, and an awaitable stream of its chunks


async def crowd() -> Report:
    """Compare many answers at one time to the same without shields: CPU, memory, lag."""
    demo = LightspeedShieldsConfig.sample_run_config()["shields"]
    chosen = {
        name: shield
        for name, shield in demo.items()
        if Direction.OUTPUT in direction_of(name) and shield["kind"] != "question_validity"
    }
    policy = ShieldPolicy(configured_of(chosen))

    def plain(inference: Any) -> Any:
        return inference.openai_chat_completion(None)

    def shielded(inference: Any) -> Any:
        return gated(inference, policy, open_turn())

    report = Report(f"{STREAMS:,} answers at one time through the gate ({', '.join(chosen)})")
    plain_run, gate_run = await _paced(plain), await _paced(shielded)
    bytes_plain, bytes_gate = await _kept(plain, keeps=True), await _kept(shielded, keeps=False)
    early, late = ((g - p) / _WEIGHED / 1024 for g, p in zip(bytes_gate, bytes_plain, strict=True))
    delta_us = (gate_run.cpu_s - plain_run.cpu_s) / (STREAMS * _DELTAS) * 1e6
    report.figures = [
        Figure(f"CPU a delta, added by the gate to answers of {_DELTAS}", delta_us, "us"),
        Figure("deltas a second that keep one core busy", 1e6 / delta_us),
        Figure("delta to text in CPU time, p99", _p99(gate_run.step_ms), "ms", at_most=2),
        Figure("event loop late, p99", _p99(gate_run.late_ms), "ms"),
        Figure("the same without the gate", _p99(plain_run.late_ms), "ms"),
        Figure("growth of the process at most", gate_run.grown_mb, "MB"),
        Figure(f"memory a stream after {_EARLY * _LONG:,} characters", early, "KiB"),
        Figure(
            f"memory a stream after {_LATE * _LONG:,} characters", late, "KiB", at_most=early * 1.25
        ),
    ]
    report.expect(gate_run.whole == STREAMS, "an answer is not whole")
    report.notes.append(
        f"about {STREAMS / _PAUSE_S:,.0f} deltas a second in all; memory a stream is what the gate "
        f"holds beside text that has left, which the turn's record keeps ({_WEIGHED} streams)"
    )
    return report


def _p99(values: list[float]) -> float:
    return float(np.percentile(values, 99))


@dataclass
class _Run:
    """What was seen of all streams together."""

    cpu_s: float = 0.0
    late_ms: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)
    """Of each text that left, the event loop's CPU time since its delta; nobody else ran then."""
    grown_mb: float = 0.0
    whole: int = 0


async def _paced(answering: Answering) -> _Run:
    """Let all streams go on at one time, each at its own moments."""
    said = pieces(_DELTAS)
    dice = random.Random(0)
    run = _Run()
    gc.collect()
    rest_mb = resident_mb(os.getpid())

    async def one() -> None:
        await asyncio.sleep(dice.uniform(0, 2 * _PAUSE_S))  # nobody asks at the same moment
        inference = CannedInference(said, _PAUSE_S)
        once = await heard(answering(inference), inference)
        run.step_ms += once.late_cpu_ms
        run.whole += once.text == "".join(said)

    async def probe() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_PROBE_S)
            run.late_ms.append((time.perf_counter() - began - _PROBE_S) * 1000)
            run.grown_mb = max(run.grown_mb, resident_mb(os.getpid()) - rest_mb)

    probing = asyncio.create_task(probe())
    began = time.process_time()
    await asyncio.gather(*(one() for _ in range(STREAMS)))
    run.cpu_s = time.process_time() - began
    probing.cancel()
    return run


class _Stopping(CannedInference):
    """Says its deltas at once and waits twice, so that memory can be looked at meanwhile."""

    def __init__(self, said: list[str], all_at: asyncio.Barrier) -> None:
        super().__init__(said, 0.0)
        self._all_at = all_at

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[Any]:
        """Return the answer's chunks."""
        return self._stopping(await super().openai_chat_completion(params))

    async def _stopping(self, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for chunk in chunks:
            yield chunk
            if self.given in (_EARLY, _LATE) and chunk.choices[0].delta.content:
                await self._all_at.wait()  # all have come so far
                await self._all_at.wait()  # memory has been looked at


async def _kept(answering: Answering, *, keeps: bool) -> tuple[int, int]:
    """Return the bytes that streams hold at two places of their answers."""
    said = pieces(_LATE, size=_LONG)
    all_at = asyncio.Barrier(_WEIGHED + 1)
    found: list[int] = []

    async def one() -> None:
        left = []
        async for chunk in await answering(_Stopping(said, all_at)):
            if keeps:
                left.append(chunk.choices[0].delta.content)

    gc.collect()
    tracemalloc.start()
    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as streams:
            for _ in range(_WEIGHED):
                streams.create_task(one())
            for _ in (_EARLY, _LATE):
                await all_at.wait()
                gc.collect()
                found.append(tracemalloc.get_traced_memory()[0])
                await all_at.wait()
    finally:
        tracemalloc.stop()
    return found[0], found[1]
