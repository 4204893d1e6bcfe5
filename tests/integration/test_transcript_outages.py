"""A database that is locked, away or slow delays no request and loses no turn."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import postgres, psql, table
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from transcript_server import (
    Serve,
    Server,
    locked,
    serve,
    stored_questions,
    turn,
    turn_id,
    write_config,
)

from lightspeed_providers.core.turns import Turn
from lightspeed_providers.transcripts import metrics

__all__ = ["postgres", "serve", "table"]


def test_a_locked_database_delays_no_request_and_loses_nothing(
    serve: Serve, tmp_path: Path
) -> None:
    with serve(write_timeout_s=0.2) as server:
        server.record(turn(0))
        with locked(tmp_path / "turns.db"):
            began = time.monotonic()
            server.record(turn(1), turn(2))
            assert time.monotonic() - began < 1.0
            assert server.questions() == ["Question 0?"]  # reading goes on
        server.eventually(["Question 2?", "Question 1?", "Question 0?"])
        server.record(turn(3))
        assert server.questions(limit=1) == ["Question 3?"]


def test_a_database_that_is_locked_at_first_gets_its_tables_later(
    serve: Serve, tmp_path: Path
) -> None:
    with ExitStack() as stack, ExitStack() as lock:
        lock.enter_context(locked(tmp_path / "turns.db"))
        server = stack.enter_context(serve(write_timeout_s=0.1))
        server.record(turn(1))
        assert server.client.get("/v1alpha/transcripts").status_code == 503
        lock.close()
        server.eventually(["Question 1?"])


def test_what_does_not_fit_the_queue_is_dropped_and_counted(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    monkeypatch.setattr(metrics, "dropped", meter.create_counter("ls_transcripts_dropped_total"))
    monkeypatch.setattr(metrics, "written", meter.create_counter("ls_transcripts_written_total"))
    with serve(durability="queued", max_queued_turns=3) as server:
        server.record(turn(0))
        server.eventually(["Question 0?"])
        with locked(tmp_path / "turns.db"):
            began = time.monotonic()
            server.record(*(turn(n) for n in range(1, 8)))
            assert time.monotonic() - began < 0.5
        server.eventually([f"Question {n}?" for n in (3, 2, 1, 0)])

    counts = {
        metric.name: sum(point.value for point in metric.data.data_points)
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert counts == {"ls_transcripts_dropped_total": 4, "ls_transcripts_written_total": 4}


def test_a_database_that_cannot_be_opened_comes_back(serve: Serve, tmp_path: Path) -> None:
    in_the_way = tmp_path / "data"
    in_the_way.write_text("a file where the directory should be")
    backend = {"type": "sql_sqlite", "db_path": str(in_the_way / "turns.db")}
    with serve(backend=backend, write_timeout_s=0.1) as server:
        server.record(turn(1))
        answer = server.client.get("/v1alpha/transcripts")
        assert answer.status_code == 503
        assert "check its database" in answer.json()["error"]["message"]
        in_the_way.unlink()
        server.run(server.impl._writer.settled, 5)
        server.eventually(["Question 1?"])


def test_shutdown_writes_what_is_queued(serve: Serve, tmp_path: Path) -> None:
    with serve(durability="queued", max_batch_turns=7) as server:
        server.record(*(turn(n) for n in range(300)))
    assert len(stored_questions(tmp_path / "turns.db")) == 300


def test_shutdown_with_a_dead_database_ends_in_time_and_the_next_start_has_its_turns(
    serve: Serve, tmp_path: Path
) -> None:
    with serve(durability="queued", drain_timeout_s=0.5) as server:
        server.record(turn(0))
        server.eventually(["Question 0?"])
        with locked(tmp_path / "turns.db"):
            server.record(turn(1))
            began = time.monotonic()
            server.run(server.impl.shutdown)
            assert time.monotonic() - began < 3
            time.sleep(2)  # a real shutdown ends the thread that still waits for the lock
    with serve() as server:
        server.eventually(["Question 1?", "Question 0?"])


def test_turns_that_finish_after_shutdown_are_written(serve: Serve, tmp_path: Path) -> None:
    with serve(durability="queued", max_batch_turns=2) as server:

        async def record_together() -> None:
            await server.impl.shutdown()
            await asyncio.gather(*(server.impl.record(turn(number)) for number in range(30)))

        server.run(record_together)
        assert (server.impl._writer.written, server.impl._writer.dropped) == (30, 0)
        assert len(stored_questions(tmp_path / "turns.db")) == 30


def test_turns_that_finish_during_shutdown_are_written(serve: Serve, tmp_path: Path) -> None:
    with serve(durability="queued", max_batch_turns=2) as server:

        async def finish_late(number: int) -> None:
            await asyncio.sleep(number / 1000)
            await server.impl.record(turn(number))

        async def shutdown_among_turns() -> None:
            await server.impl.record(turn(0))
            late = [finish_late(number) for number in range(1, 60)]
            await asyncio.gather(server.impl.shutdown(), *late)

        server.run(shutdown_among_turns)
        assert (server.impl._writer.written, server.impl._writer.dropped) == (60, 0)
    assert len(stored_questions(tmp_path / "turns.db")) == 60


SERVER = """
import os, uvicorn
from llama_stack.core.server.server import create_app
from llama_stack_api import Api
from lightspeed_providers.core.turns import Turn

app = create_app()

@app.post("/record")
async def record(turns: list[Turn]) -> int:
    for turn in turns:
        await app.stack.impls[Api("transcripts")].record(turn)
    return len(turns)

uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), lifespan="on")
"""


def test_sigterm_writes_what_is_queued(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = write_config(tmp_path, durability="queued", max_batch_turns=10)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LIGHTSPEED_STATE_DIR": str(tmp_path / "state"),
        "LLAMA_STACK_CONFIG": str(config),
        "PORT": str(port),
    }
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/v1/feedback/status", server)
        turns = [turn(n) for n in range(50)]
        post_json(f"{address}/record", turns[:1])
        deadline = time.monotonic() + 5
        while not httpx.get(f"{address}/v1alpha/transcripts").json()["data"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        database = tmp_path / "turns.db"
        with locked(database):
            assert post_json(f"{address}/record", turns) == 50
            server.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert server.poll() is None
            assert len(stored_questions(database)) == 1
        server.wait(10)
        assert len(stored_questions(database)) == 50
    finally:
        server.kill()
        server.wait(5)


def post_json(address: str, turns: list[Turn]) -> object:
    body = [each.model_dump(mode="json") for each in turns]
    return httpx.post(address, json=body).raise_for_status().json()


def wait_for(address: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while True:
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < deadline
        try:
            httpx.get(address).raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return


def test_postgresql_keeps_turns_through_lost_connections(
    serve: Serve, postgres: dict[str, Any], table: str
) -> None:
    store = {"backend": "sql_turns", "table_name": table}
    same_moment = [turn(5, question=f"NUL \x00 and bell \x07 {n}") for n in range(3)]
    with serve(backend=postgres, store=store) as server:
        server.record(turn(1, turn_id=turn_id(1)), *same_moment, turn(1, turn_id=turn_id(1)))
        assert end_connection_of(server)
        server.record(turn(9, conversation_id="conv_\x00b"))
        path = f"/v1alpha/transcripts/{turn_id(1)}/feedback"
        body = {"user_feedback": "ok\x00", "sentiment": 1}
        assert server.client.post(path, json=body).status_code == 200
        [feedback] = server.client.get(path).json()["data"]
        assert feedback["user_feedback"] == "ok"
        assert end_connection_of(server)
        assert server.questions(conversation_id="conv_\x00b") == ["Question 9?"]
        assert server.client.get("/v1alpha/transcripts/%00").status_code == 404
        assert server.questions() == [
            "Question 9?",
            *(f"NUL  and bell \x07 {n}" for n in (2, 1, 0)),
            "Question 1?",
        ]
    assert psql(f"SELECT count(*) FROM {table}").strip() == "5"  # noqa: S608


def end_connection_of(server: Server) -> bool:
    """End the connection that the server would use next, as a restart of PostgreSQL does."""

    async def ask() -> int:
        async with server.impl._store._database.reading() as connection:
            return int((await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one())

    return psql(f"SELECT pg_terminate_backend({server.run(ask)})").strip() == "t"
