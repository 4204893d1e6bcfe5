"""Whether a server holds many clients for minutes: no answer lost, none hanging, nothing unwritten.

    python benchmarks/responses_crowd.py                          ours, 64 clients, ten minutes
    python benchmarks/responses_crowd.py --server stock --clients 16 --minutes 1
    python benchmarks/responses_crowd.py --minutes 1 --route chat

Each client asks, reads to the end and asks again; half of the questions are streamed, and unless a
route is named one in four goes to chat completions past the Responses API. An answer that takes
longer than two minutes counts as hanging. Ours has shields and retrieval off and all else as
shipped, transcripts included; the other is Llama Stack's own provider with Llama Stack's default
stores, on a fresh directory. Afterwards the databases are counted: every answer has to be in them.

The stock server stalls with few clients. Whoever comes while a fresh database's tables are being
made fails. One transaction is many steps of the event loop, so SQLite's one lock is held until the
loop comes back; connections of the same server wait for it in no order, and who has waited for five
seconds fails. The failed write of a chat completion is logged as a stack trace that takes seconds
to draw, in the loop, with the lock held: then the others fail too.
"""

import argparse
import asyncio
import itertools
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from responses_servers import (
    CHAT,
    OURS,
    RESPONSES,
    STOCK,
    Answer,
    Server,
    ask,
    canned_upstream,
    started,
)
from responses_upstream import INSTANT, STREAMING

from lightspeed_providers.core.progress import Report, shown_progress

HANGING_S = 120.0
ROUTES = {"responses": (RESPONSES,), "chat": (CHAT,), "both": (RESPONSES,) * 3 + (CHAT,)}
_LONG_EVERY = 32
"""One question in so many gets the long answer."""
_SIGNS_OF_A_STALL = (
    "QueuePool limit",
    "database is locked",
    "no such table",
    "Task exception was never retrieved",
)
_LOOK_S = 5.0
_SETTLE_S = 5.0


@dataclass
class Seen:
    """What the clients and the server's process told."""

    answers: list[tuple[str, Answer]] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def faults(self) -> Counter[str]:
        """What went wrong, and how often."""
        return Counter(answer.fault for _, answer in self.answers if answer.fault)

    def whole(self, route: str) -> int:
        """How many answers of a route came whole."""
        return sum(asked == route and not answer.fault for asked, answer in self.answers)


async def crowded(
    server: Server, clients: int, minutes: float, routes: tuple[str, ...], report: Report
) -> Seen:
    """Let clients ask until the time is over, and wait for the last answers."""
    seen = Seen()
    numbers = itertools.count(1)
    began = time.perf_counter()
    ends = began + minutes * 60

    async def client() -> None:
        while time.perf_counter() < ends:
            number = next(numbers)
            route = routes[number % len(routes)]
            model = STREAMING if number % _LONG_EVERY == 0 else INSTANT
            streamed = number % 2 == 0
            answer = await ask(server, model, stream=streamed, route=route, within_s=HANGING_S)
            seen.answers.append((route, answer))

    async def look() -> None:
        while True:
            seen.rss_mb.append(server.rss_mb)
            done = min(time.perf_counter() - began, minutes * 60)
            report(f"{clients} clients, s", int(done), int(minutes * 60))
            await asyncio.sleep(_LOOK_S)

    looking = asyncio.create_task(look())
    await asyncio.gather(*(client() for _ in range(clients)))
    looking.cancel()
    seen.took_s = time.perf_counter() - began
    await asyncio.sleep(_SETTLE_S)  # what is written after the answers
    seen.rss_mb.append(server.rss_mb)
    return seen


def print_seen(server: Server, clients: int, seen: Seen) -> None:
    """Print what the clients saw."""
    times = np.array([a.total_ms for _, a in seen.answers])
    p50, p99 = np.percentile(times, (50, 99))
    faults = seen.faults
    log = server.log
    print(f"{server.name}, {clients} clients, {seen.took_s:.0f} s: {len(seen.answers)} requests")
    print(
        f"  failed, lost or hanging  {sum(faults.values())}"
        + "".join(f"\n    {count} x {fault}" for fault, count in faults.most_common(5))
    )
    print(f"  answers a second         {(len(times) - sum(faults.values())) / seen.took_s:.1f}")
    print(
        f"  latency                  p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {times.max():.0f} ms"
    )
    every = max(len(seen.rss_mb) // 10, 1)
    print(f"  memory, MB               {', '.join(f'{mb:.0f}' for mb in seen.rss_mb[::every])}")
    print(
        "  in the log               "
        + ", ".join(f"{log.count(words)} x `{words}`" for words in _SIGNS_OF_A_STALL)
    )


def missing_rows(server: Server, seen: Seen) -> list[str]:
    """Return which answers of a stopped server are not in its databases."""
    state = server.home / "state"
    wanted = {
        "responses": (state / "sql_store.db", seen.whole(RESPONSES)),
        "inference_store": (state / "inference.db", seen.whole(CHAT)),
        "lightspeed_turns": (state / "transcripts.db", seen.whole(RESPONSES)),
    }
    missing = []
    for table, (file, answers) in wanted.items():
        with closing(sqlite3.connect(file)) as database:
            has = "SELECT count(*) FROM sqlite_master WHERE name = ?"
            there = database.execute(has, (table,)).fetchone()[0]
            rows = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] if there else 0  # noqa: S608  # names are above
        print(f"  rows of {table:16} {rows} for {answers} whole answers")
        if rows < answers:
            missing.append(f"{answers - rows} answers are not in `{table}`")
    return missing


def main() -> None:
    """Start a server, let the crowd ask, count; fail where anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", choices=(OURS, STOCK), default=OURS)
    parser.add_argument("--clients", type=int, default=64, help="At one time")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--route", choices=ROUTES, default="both", help="What is asked")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, canned_upstream() as upstream:
        with (
            started(Path(directory) / options.server, options.server, upstream) as server,
            shown_progress() as report,
        ):
            crowd = crowded(server, options.clients, options.minutes, ROUTES[options.route], report)
            seen = asyncio.run(crowd)
        print_seen(server, options.clients, seen)
        missing = missing_rows(server, seen) if options.server == OURS else []
    if seen.faults or missing:
        sys.exit("; ".join([*(f"{n} x {fault}" for fault, n in seen.faults.items()), *missing]))


if __name__ == "__main__":
    main()
