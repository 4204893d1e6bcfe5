"""Llama Stack's own SQLite stores under load, once they are made steady."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from llama_stack.core.storage.datatypes import SqliteSqlStoreConfig
from llama_stack.core.storage.sqlstore.sqlalchemy_sqlstore import SqlAlchemySqlStoreImpl
from llama_stack_api.internal.sqlstore import ColumnDefinition, ColumnType
from sqlalchemy.exc import IntegrityError

from lightspeed_providers.core.host_stores import steady, steady_completions

CROWD = 64
SCHEMA = {
    "id": ColumnDefinition(type=ColumnType.STRING, primary_key=True),
    "said": ColumnType.JSON,
}


async def opened(file: Path) -> SqlAlchemySqlStoreImpl:
    """A store of the host over a fresh file, made steady."""
    store = SqlAlchemySqlStoreImpl(SqliteSqlStoreConfig(db_path=str(file)))
    await store.create_table("talks", SCHEMA)
    assert steady(store) is steady(store)
    return store


async def rows(store: SqlAlchemySqlStoreImpl) -> dict[str, Any]:
    found = await store.fetch_all("talks", order_by=[("id", "asc")])
    return {row["id"]: row["said"] for row in found.data}


async def test_a_crowd_that_comes_first_finds_tables(tmp_path: Path) -> None:
    store = await opened(tmp_path / "host.db")
    await asyncio.gather(
        *(store.insert("talks", {"id": f"{n:02}", "said": n}) for n in range(CROWD))
    )
    assert await rows(store) == {f"{n:02}": n for n in range(CROWD)}
    await store.shutdown()


async def test_changes_of_one_row_come_in_order(tmp_path: Path) -> None:
    store = await opened(tmp_path / "host.db")
    await asyncio.gather(
        *(store.upsert("talks", {"id": "one", "said": n}, ["id"], ["said"]) for n in range(CROWD))
    )
    assert await rows(store) == {"one": CROWD - 1}
    await store.update("talks", {"said": {"text": "ä"}}, {"id": "one"})
    assert (await store.fetch_one("talks", {"id": "one"}) or {})["said"] == {"text": "ä"}
    await store.delete("talks", {"id": "one"})
    assert await rows(store) == {}
    await store.shutdown()


async def test_a_refused_change_leaves_nothing_and_stops_nobody(tmp_path: Path) -> None:
    store = await opened(tmp_path / "host.db")
    await store.insert("talks", {"id": "there", "said": 1})
    with pytest.raises(IntegrityError) as refused:
        await store.insert("talks", [{"id": "new", "said": "Quetzal"}, {"id": "there", "said": 2}])
    assert "Quetzal" not in str(refused.value)
    await store.insert("talks", {"id": "next", "said": 3})
    assert await rows(store) == {"there": 1, "next": 3}
    await store.shutdown()


async def test_pages_are_read_with_their_cursor(tmp_path: Path) -> None:
    store = await opened(tmp_path / "host.db")
    await store.insert("talks", [{"id": f"{n}", "said": n} for n in range(5)])
    page = await store.fetch_all("talks", order_by=[("id", "asc")], cursor=("id", "1"), limit=2)
    assert [row["id"] for row in page.data] == ["2", "3"]
    assert page.has_more
    await store.shutdown()


async def test_the_loop_goes_on_while_another_program_writes(tmp_path: Path) -> None:
    file = tmp_path / "host.db"
    store = await opened(file)
    await store.insert("talks", {"id": "first", "said": 0})
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.gather(
        *(store.insert("talks", {"id": f"{n:02}", "said": n}) for n in range(CROWD))
    )
    beats = 0
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        await asyncio.sleep(0.01)
        beats += 1
    assert not writing.done()
    assert beats > 5  # a loop that waited with them would have had one
    assert await rows(store) == {"first": 0}, "who reads waits for nobody"
    other.execute("ROLLBACK")
    other.close()
    await writing
    assert len(await rows(store)) == CROWD + 1
    await store.shutdown()


async def test_a_store_that_was_closed_opens_again(tmp_path: Path) -> None:
    store = await opened(tmp_path / "host.db")
    await store.insert("talks", {"id": "before", "said": 1})
    await store.shutdown()
    await store.insert("talks", {"id": "after", "said": 2})
    assert await rows(store) == {"before": 1, "after": 2}
    await store.shutdown()


def test_what_is_no_sqlite_store_stays_as_it_is() -> None:
    assert steady(object()) is None
    steady_completions(object())


_LOGS = """
import logging, sys
from llama_stack.log import setup_logging
setup_logging()
if sys.argv[1] == "ours":
    from lightspeed_providers.core.host_log import draw_short_traces
    draw_short_traces()
def answer(question):
    raise ValueError("no model")
try:
    answer(sys.argv[2])
except ValueError as fault:
    logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=fault)
"""


@pytest.mark.parametrize("whose", ["ours", "stock"])
def test_stack_traces_in_the_log_are_short_and_hold_no_values(whose: str, tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    done = subprocess.run(
        [sys.executable, "-c", _LOGS, whose, "Quetzal"],
        env={**os.environ, "LLAMA_STACK_LOG_FILE": str(file)},
        capture_output=True,
        text=True,
        check=True,
    )
    for log in (done.stdout + done.stderr, file.read_text()):
        assert "Traceback (most recent call last)" in log
        assert "ValueError: no model" in log
        # The stock one tells what this is for: it draws boxes, and values where it writes a file.
        assert ("╭" in log) == (whose == "stock")
    assert ("Quetzal" in file.read_text()) == (whose == "stock")
