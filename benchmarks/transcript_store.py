"""How fast turns get into the store and out of it again, on SQLite and PostgreSQL.

    python benchmarks/transcript_store.py [--turns 1000000] [--only sqlite] [--stock-turns 20000]

Turns of 4 to 6 kB with four passages go in as the server writes them, 100 at a time. Then a page
of 20 is asked for by every filter, with a value that many turns have, one that few have and one
that none has, for everybody and for the user who has nine turns of ten. Beside it stands what
Llama Stack keeps of the same turns, its responses: their insert, and their list, which knows two
filters.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import create_async_engine

from lightspeed_providers.transcripts.rows import FeedbackRow, TurnFilter, TurnRow
from lightspeed_providers.transcripts.store import TranscriptStore

SERVER = "postgresql+asyncpg://root@127.0.0.1:5432/test"
BATCH = 100
PAGE = 20
START_US = 1_760_000_000_000_000
BIG_USER = "a" * 64
SMALL_USER = "5" * 64
NOBODY = "0" * 64


def made_words(random_: random.Random) -> list[str]:
    """Return 30,000 words, each with the frequency that its place in a language has."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(random_.choices(letters, k=random_.randint(3, 11))) for _ in range(30_000)]
    weights = list(itertools.accumulate(1 / place for place in range(1, len(words) + 1)))
    return random_.choices(words, cum_weights=weights, k=2_000_000)


class Turns:
    """An endless row of made turns, the same ones every time."""

    def __init__(self) -> None:
        self._random = random.Random(4)
        self._text = made_words(self._random)
        self._passages = [self._passage(number) for number in range(2000)]

    def _words(self, count: int) -> str:
        start = self._random.randrange(len(self._text) - count)
        return " ".join(self._text[start : start + count])

    def _passage(self, number: int) -> str:
        return json.dumps(
            {
                "passage_id": f"p{number}",
                "document_id": f"d{number // 8}",
                "title": self._words(4),
                "heading_path": [self._words(3), self._words(2)],
                "doc_url": f"https://docs.example/5.2/{number // 8}/#{number}",
                "content": self._words(70),
                "score": round(self._random.random(), 4),
                "source": "docs",
                "product": "Example",
                "version": "5.2",
                "language": "en",
                "source_file": f"{number // 8}.rst",
                "attributes": {},
            }
        )

    def row(self, number: int) -> TurnRow:
        """Return the turn with that number."""
        pick = self._random
        refused = number % 30 == 0
        fields: dict[str, Any] = {
            "turn_id": f"turn_{pick.getrandbits(128):032x}",
            "response_id": f"resp_{pick.getrandbits(128):032x}",
            "conversation_id": f"conv_{number // 5:048x}",
            "previous_response_id": None,
            "user_id": BIG_USER
            if pick.random() < 0.9
            else SMALL_USER
            if number % 20_000 == 7
            else f"{pick.randrange(20_000):064x}",
            "profile": "demo" if number % 10_000 != 3 else "rare",
            "prompt_version": f"{number // 250_000:012x}",
            "prompt_hash": "f" * 64,
            "model_requested": "default",
            "provider_requested": None,
            "model": "tiny" if number % 10_000 != 4 else "rare",
            "provider": "local",
            "question": self._words(12) + " everywhere",
            "answer": self._words(110) + (" seldom" if number % 10_000 == 5 else ""),
            "attachments": [],
            "tool_calls": [],
            "tool_results": [],
            "verdicts": [
                {
                    "shield": "input_topic",
                    "kind": "patterns",
                    "direction": "input",
                    "action": "block" if refused else "allow",
                    "message": None,
                    "replaced": {},
                    "took_ms": 0.4,
                    "error": None,
                }
            ],
            "input_tokens": 900,
            "output_tokens": 160,
            "outcome": "error" if number % 10_000 == 6 else "refused" if refused else "answered",
            "error": None,
            "streamed": True,
        }
        passages = ",".join(pick.sample(self._passages, 4))
        record = json.dumps(fields)[:-1] + f', "passages": [{passages}]}}'
        received = START_US + number * 1_000_000
        shields = ("output_rare",) if number % 10_000 == 8 else ()
        return TurnRow(
            **{
                name: fields[name]
                for name in (
                    "turn_id",
                    "response_id",
                    "conversation_id",
                    "previous_response_id",
                    "profile",
                    "prompt_version",
                    "model",
                    "provider",
                    "question",
                    "answer",
                    "input_tokens",
                    "output_tokens",
                    "outcome",
                )
            },
            user_hash=fields["user_id"],
            received_us=received,
            first_token_us=received + 400_000,
            finished_us=received + 2_000_000,
            passages=4,
            best_score=0.7,
            shields=shields + (("input_topic",) if refused else ()),
            blocked_by="input_topic" if refused else None,
            record=record,
        )


def filters(turns: int) -> Iterator[tuple[str, TurnFilter]]:
    """Return every kind of filter with a value of many, of few and of no turns."""
    middle = START_US + turns * 500_000
    kinds: dict[str, list[Any]] = {
        "conversation_id": [f"conv_{turns // 10:048x}", "conv_none"],
        "response_id": ["resp_none"],
        "outcome": ["answered", "error", "none"],
        "profile": ["demo", "rare", "none"],
        "model": ["tiny", "rare", "none"],
        "shield": ["input_topic", "output_rare", "none"],
        "has_feedback": [False, True],
        "text": ["everywhere", "seldom", "seldom everywhere", "nowhere", "the quick brown fox"],
        "since_us": [middle, START_US + turns * 2_000_000],
        "until_us": [middle, START_US],
    }
    yield "none", TurnFilter()
    for user in (BIG_USER, SMALL_USER, NOBODY):
        yield f"user {user[0]}…", TurnFilter(user_hash=user)
    for kind, values in kinds.items():
        for value in values:
            which = TurnFilter(**{kind: value})
            shown = value if isinstance(value, bool) or kind == "text" else str(value)[:12]
            yield f"{kind}={shown}", which
            for user in (BIG_USER, SMALL_USER):
                yield f"{kind}={shown}, user {user[0]}…", replace(which, user_hash=user)


async def fill(store: TranscriptStore, turns: int) -> tuple[float, float]:
    """Insert the turns and some feedback; the seconds and those of the processor it took."""
    made = Turns()
    spent = busy = 0.0
    for start in range(0, turns, BATCH):
        rows = [made.row(number) for number in range(start, min(start + BATCH, turns))]
        began, busy_before = time.perf_counter(), time.process_time()
        await store.insert_turns(rows)
        spent += time.perf_counter() - began
        busy += time.process_time() - busy_before
        if start % 5000 == 0:
            row = rows[0]
            await store.insert_feedback(
                FeedbackRow(
                    f"fb_{start:032x}",
                    row.finished_us,
                    row.user_hash,
                    row.conversation_id,
                    row.turn_id,
                    row.profile,
                    row.prompt_version,
                    -1,
                    ("other",),
                    "{}",
                )
            )
        if start and start % 50_000 == 0:
            print(f"  {start:,} turns, {start / spent:,.0f} a second", flush=True)
    return spent, busy


async def timed(ask: Callable[[], Awaitable[Any]], asked: int) -> tuple[list[float], Any]:
    """Return the milliseconds of every call in order of size, and the last answer."""
    answer = await ask()
    took = []
    for _ in range(asked):
        began = time.perf_counter()
        answer = await ask()
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took), answer


def line(name: str, took: list[float], found: object) -> str:
    """Return a row of the table."""
    p50, p95, p99 = (took[int(len(took) * part)] for part in (0.5, 0.95, 0.99))
    late = "  LATE" if p99 >= 10 else ""
    return f"  {name:<48}{p50:8.2f}{p95:8.2f}{p99:8.2f}  {found}{late}"


async def pages(store: TranscriptStore, turns: int, asked: int) -> None:
    """Print how long a page takes by every filter, the newest and one further back."""
    print(f"  {'page of 20':<48}{'p50':>8}{'p95':>8}{'p99':>8}  found  (ms)")
    middle = START_US + turns * 500_000
    for name, which in filters(turns):
        for before, where in ((None, ""), (middle, ", further back")):
            if where and name.count("=") and "user" in name:
                continue
            ask = lambda which=which, before=before: store.turns(  # noqa: E731
                which, limit=PAGE, before=before
            )
            took, found = await timed(ask, asked)
            print(line(name + where, took, len(found)), flush=True)


async def measure(url: str, name: str, turns: int, asked: int, size: Callable[[], int]) -> None:
    """Print what one database does."""
    store = TranscriptStore(lambda: create_async_engine(url), name, sync_commits=False)
    spent, busy = await fill(store, turns)
    print(
        f"  {turns:,} turns at {turns / spent:,.0f} a second, {busy / turns * 1000:.2f} ms of this "
        f"process's time and {size() / turns / 1024:.1f} kB each"
    )
    if url is SERVER:
        psql(f"VACUUM ANALYZE {name}", f"VACUUM ANALYZE {name}_search")
    await pages(store, turns, asked)
    await store.close()


async def measure_stock(turns: int, asked: int) -> None:
    """Print what the host's own store of responses does with the same texts, on SQLite."""
    from llama_stack.core.datatypes import User
    from llama_stack.core.request_headers import RequestProviderDataContext
    from llama_stack.core.storage.datatypes import ResponsesStoreReference, SqliteSqlStoreConfig
    from llama_stack.core.storage.sqlstore.sqlstore import register_sqlstore_backends
    from llama_stack.providers.utils.responses.responses_store import ResponsesStore
    from llama_stack_api import OpenAIResponseMessage, OpenAIResponseObject
    from llama_stack_api.openai_responses import OpenAIResponseOutputMessageContentOutputText

    made = Turns()
    with tempfile.TemporaryDirectory() as directory:
        register_sqlstore_backends({"sql": SqliteSqlStoreConfig(db_path=f"{directory}/stock.db")})
        store = ResponsesStore(
            ResponsesStoreReference(backend="sql", table_name="responses"), policy=[]
        )
        await store.initialize()
        spent = 0.0
        with RequestProviderDataContext(user=User(BIG_USER, None)):
            for number in range(turns):
                row = made.row(number)
                question = OpenAIResponseMessage(role="user", content=row.question)
                text = OpenAIResponseOutputMessageContentOutputText(text=row.answer, annotations=[])
                said = OpenAIResponseMessage(
                    id=f"msg_{number}", role="assistant", content=[text], status="completed"
                )
                response = OpenAIResponseObject(
                    id=str(row.response_id),
                    created_at=row.received_us // 1_000_000,
                    model=row.model,
                    output=[said],
                    status="completed",
                    store=True,
                )
                began = time.perf_counter()
                await store.store_response_object(response, [question], [])
                spent += time.perf_counter() - began
            print(f"  {turns:,} responses at {turns / spent:,.0f} a second")
            for name, options in (("none", {}), ("model=tiny", {"model": "tiny"})):
                took, found = await timed(
                    lambda options=options: store.list_responses(limit=PAGE, **options), asked
                )
                print(line(f"list of responses, {name}", took, len(found.data)))


def psql(*statements: str) -> str:
    """Return what the server says to the statements."""
    command = ["psql", "-h", "127.0.0.1", "-U", "root", "-d", "test", "-qAt"]
    for statement in statements:
        command += ["-c", statement]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def drop(name: str) -> None:
    """Remove all tables that begin with the name."""
    listing = f"SELECT tablename FROM pg_tables WHERE starts_with(tablename, '{name}')"  # noqa: S608
    for table in psql(listing).split():
        psql(f"DROP TABLE {table}")


async def main() -> None:
    """Measure what the options name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=1_000_000)
    parser.add_argument("--postgres-turns", type=int, help="another number for PostgreSQL")
    parser.add_argument("--stock-turns", type=int, default=20_000)
    parser.add_argument("--asked", type=int, default=100, help="how often each page")
    parser.add_argument("--only", choices=("sqlite", "postgres", "stock"))
    parser.add_argument("--directory", type=Path, help="where the SQLite file goes; it is kept")
    options = parser.parse_args()
    if options.directory is not None:
        options.directory.mkdir(parents=True, exist_ok=True)
    if options.only in (None, "sqlite"):
        with tempfile.TemporaryDirectory() as temporary:
            file = (options.directory or Path(temporary)) / "turns.db"
            print(f"SQLite, {file}")
            await measure(
                f"sqlite+aiosqlite:///{file}",
                "turns",
                options.turns,
                options.asked,
                lambda: file.stat().st_size,
            )
    if options.only in (None, "postgres"):
        name = f"measured_{uuid4().hex[:8]}"
        print(f"PostgreSQL, {name}")
        sizes = (
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "  # noqa: S608
            f"WHERE starts_with(relname, '{name}') AND relkind = 'r'"
        )
        try:
            await measure(
                SERVER,
                name,
                options.postgres_turns or options.turns,
                options.asked,
                lambda: int(psql(sizes)),
            )
        finally:
            drop(name)
    if options.only in (None, "stock"):
        print("Llama Stack's store of responses, SQLite")
        await measure_stock(options.stock_turns, options.asked)


if __name__ == "__main__":
    os.environ.setdefault("LLAMA_STACK_LOGGING", "all=error")
    sys.exit(asyncio.run(main()))
