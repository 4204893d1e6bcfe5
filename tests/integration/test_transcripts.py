"""Every turn is kept, nobody sees another's, and a broken database slows nothing."""

import asyncio
import json
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml
from llama_stack.core.library_client import LlamaStackAsLibraryClient
from llama_stack.core.server.server import create_app
from llama_stack_api import Api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.testclient import TestClient

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.turns import Outcome, Passage, Turn
from lightspeed_providers.core.verdicts import Action, Direction, Verdict
from lightspeed_providers.transcripts import available_providers, metrics
from lightspeed_providers.transcripts.api import Transcripts
from lightspeed_providers.transcripts.config import LightspeedTranscriptsConfig
from lightspeed_providers.transcripts.storable import storable_json
from lightspeed_providers.transcripts.store import TranscriptStore, TurnRow, microseconds
from lightspeed_providers.transcripts.user_ids import UserIds, load_or_create_key
from lightspeed_providers.transcripts.writer import AwayError, BatchWriter

REPOSITORY = Path(__file__).parents[2]
START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CONVERSATION = "conv_" + "a" * 48
ALICE = {"Authorization": "Bearer alice"}
BOB = {"Authorization": "Bearer bob"}
POSTGRES = {"type": "sql_postgres", "host": "127.0.0.1", "port": 5432, "db": "test", "user": "root"}


def turn(number: int = 0, **fields: Any) -> Turn:
    return Turn.model_validate(
        {
            "turn_id": f"turn_{uuid4().hex}",
            "response_id": f"resp_{number}",
            "conversation_id": CONVERSATION,
            "user_id": "anonymous",
            "profile": "demo",
            "prompt": "Answer from the documentation.",
            "prompt_version": "0123456789ab",
            "model_requested": "default",
            "model": "tiny",
            "question": f"Question {number}?",
            "answer": f"Answer {number}.",
            "received_at": START + timedelta(seconds=number),
            "finished_at": START + timedelta(seconds=number + 1),
            "outcome": Outcome.ANSWERED,
            **fields,
        }
    )


class Server:
    """A real server over a directory, in this process."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.impl = client.app.stack.impls[Api("transcripts")]

    def record(self, *turns: Turn) -> None:
        async def record_all() -> None:
            for each in turns:
                await self.impl.record(each)

        self.client.portal.call(record_all)

    def questions(self, headers: dict[str, str] | None = None, **params: Any) -> list[str]:
        answer = self.client.get("/v1alpha/transcripts", params=params, headers=headers)
        assert answer.status_code == 200, answer.text
        return [each["question"] for each in answer.json()["data"]]

    def eventually(self, questions: list[str]) -> None:
        deadline = time.monotonic() + 8
        while (seen := self.questions(limit=200)) != questions:
            assert time.monotonic() < deadline, seen
            time.sleep(0.05)


Serve = Callable[..., AbstractContextManager[Server]]


def write_config(
    directory: Path,
    *,
    backend: dict[str, Any] | None = None,
    auth: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    config = {
        "version": 2,
        "distro_name": "transcripts-test",
        "apis": ["transcripts"],
        "external_apis_dir": str(REPOSITORY / "distributions/lightspeed/apis.d"),
        "providers": {
            "transcripts": [
                {
                    "provider_id": "transcripts",
                    "provider_type": "inline::lightspeed-transcripts",
                    "config": {
                        "store": {"backend": "sql_turns", "table_name": "turns"},
                        **settings,
                    },
                }
            ]
        },
        "storage": {
            "backends": {
                "kv_default": {"type": "kv_sqlite", "db_path": str(directory / "kv.db")},
                "sql_default": {"type": "sql_sqlite", "db_path": str(directory / "stock.db")},
                "sql_turns": backend
                or {"type": "sql_sqlite", "db_path": str(directory / "turns.db")},
            }
        },
        "server": {"port": 8321, **({"auth": auth} if auth else {})},
    }
    path = directory / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path / "state"))

    @contextmanager
    def start(**settings: Any) -> Iterator[Server]:
        monkeypatch.setenv("LLAMA_STACK_CONFIG", str(write_config(tmp_path, **settings)))
        with TestClient(create_app()) as client:
            yield Server(client)

    return start


@pytest.fixture(scope="session")
def token_service() -> Iterator[dict[str, Any]]:
    """An authentication service that takes every token as its user's name."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"principal": asked["api_key"], "attributes": {}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{service.server_port}/"
    yield {"provider_config": {"type": "custom", "endpoint": endpoint}}
    service.shutdown()


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another process is writing and does not come to an end."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def stored_questions(database: Path) -> set[str]:
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute("SELECT record FROM turns").fetchall()
    finally:
        connection.close()
    return {json.loads(record)["question"] for (record,) in rows}


def test_a_turn_is_listed_with_all_that_was_recorded(serve: Serve, tmp_path: Path) -> None:
    passage = Passage(
        passage_id="p1", document_id="d1", title="T", doc_url="https://example.org/#a", content="c"
    )
    verdict = Verdict(
        shield="input_topic", kind="patterns", direction=Direction.INPUT, action=Action.ALLOW
    )
    recorded = turn(
        1, passages=[passage], verdicts=[verdict], input_tokens=7, output_tokens=9, streamed=True
    )
    with serve() as server:
        server.record(recorded)
        [listed] = server.client.get("/v1alpha/transcripts").json()["data"]
        got = server.client.get(f"/v1alpha/transcripts/{recorded.turn_id}").json()

    assert listed == got
    key = bytes.fromhex((tmp_path / "state/user_id.key").read_text())
    assert listed.pop("user_id") == UserIds(key).hash("anonymous")
    assert listed == recorded.model_dump(mode="json", exclude={"user_id"})


def test_pages_neither_skip_nor_repeat_while_turns_arrive(serve: Serve) -> None:
    same_moment = [turn(5, question=f"Same {n}?") for n in range(5)]
    before = [turn(n) for n in (1, 2, 3)] + same_moment + [turn(9)]
    with serve() as server:
        server.record(*before)
        seen: list[str] = []
        cursor, has_more = None, True
        while has_more:
            params = {"limit": 2} | ({"after": cursor} if cursor else {})
            page = server.client.get("/v1alpha/transcripts", params=params).json()
            seen += [each["turn_id"] for each in page["data"]]
            cursor, has_more = page["next"], page["has_more"]
            server.record(turn(100 + len(seen)))  # newer than everything that was there

    newest_first = sorted(before, key=lambda each: (each.received_at, each.turn_id), reverse=True)
    assert seen == [each.turn_id for each in newest_first]
    assert cursor is None


def test_filters(serve: Serve) -> None:
    with serve() as server:
        server.record(
            turn(1),
            turn(2, conversation_id="conv_" + "b" * 48),
            turn(3, outcome=Outcome.REFUSED),
            turn(4, conversation_id=None, outcome=Outcome.ERROR),
        )
        assert server.questions() == [f"Question {n}?" for n in (4, 3, 2, 1)]
        assert server.questions(conversation_id=CONVERSATION) == ["Question 3?", "Question 1?"]
        assert server.questions(conversation_id="b" * 48) == ["Question 2?"]
        assert server.questions(response_id="resp_3") == ["Question 3?"]
        assert server.questions(outcome="error") == ["Question 4?"]
        assert server.questions(outcome="error", response_id="resp_3") == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1alpha/transcripts?limit=0", 400),
        ("/v1alpha/transcripts?limit=201", 400),
        ("/v1alpha/transcripts?limit=many", 400),
        ("/v1alpha/transcripts?outcome=won", 400),
        ("/v1alpha/transcripts?after=nowhere", 400),
        ("/v1alpha/transcripts?after=99999999999999999999.x", 400),
        ("/v1alpha/transcripts?after=1.%00", 400),
        ("/v1alpha/transcripts?after=1.x%00", 200),
        ("/v1alpha/transcripts?conversation_id=%00%ff", 200),
        ("/v1alpha/transcripts/turn_unknown", 404),
        ("/v1alpha/transcripts/%00", 404),
        ("/v1alpha/transcripts/..%2f..%2fetc", 404),
        ("/v1alpha/transcripts/turn_unknown/feedback", 404),
    ],
)
def test_wrong_addresses(shared: Server, path: str, status: int) -> None:
    answer = shared.client.get(path)
    assert answer.status_code == status
    if status != 200 and "%2f" not in path:
        assert answer.json()["error"]["message"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with one turn, for tables of requests that change nothing for each other."""
    directory = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(directory / "state"))
        monkeypatch.setenv("LLAMA_STACK_CONFIG", str(write_config(directory)))
        with TestClient(create_app()) as client:
            server = Server(client)
            server.record(turn(1, turn_id="turn_known"))
            server.record(turn(2, user_id="somebody", conversation_id="conv_" + "c" * 48))
            yield server


ABOUT = {"conversation_id": CONVERSATION, "user_question": "Q?", "llm_response": "A."}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (ABOUT | {"sentiment": 1}, 200),
        (ABOUT | {"sentiment": -1, "user_feedback": "x" * 4096}, 200),
        (ABOUT | {"user_feedback": "bad\x00 \x07"}, 200),
        (ABOUT | {"categories": ["incorrect", "unsafe", "incorrect"]}, 200),
        (ABOUT | {"sentiment": 1, "conversation_id": "a" * 48}, 200),
        (ABOUT | {"sentiment": 1, "turn_id": "turn_known"}, 200),
        (ABOUT, 422),
        (ABOUT | {"user_feedback": ""}, 422),
        (ABOUT | {"categories": []}, 422),
        (ABOUT | {"sentiment": 0}, 422),
        (ABOUT | {"sentiment": "good"}, 422),
        (ABOUT | {"user_feedback": "x" * 4097}, 422),
        (ABOUT | {"categories": ["boring"]}, 422),
        (ABOUT | {"sentiment": 1, "stars": 5}, 422),
        (ABOUT | {"sentiment": 1, "llm_response": "x" * 10_000_000}, 422),
        ({"conversation_id": CONVERSATION, "sentiment": 1}, 422),
        ([], 422),
        (ABOUT | {"sentiment": 1, "conversation_id": "conv_unknown"}, 404),
        (ABOUT | {"sentiment": 1, "turn_id": "turn_unknown"}, 404),
        (ABOUT | {"sentiment": 1, "conversation_id": "c" * 48}, 403),
    ],
)
def test_feedback_rules(shared: Server, body: object, status: int) -> None:
    answer = shared.client.post("/v1/feedback", json=body)
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json()["response"] == "feedback received"
    else:
        assert 0 < len(answer.json()["error"]["message"]) < 500


@pytest.mark.parametrize(
    "body", [b"{", b'{"sentiment":1,"x\\ud800":1}', b'{"user_feedback":"\\ud800"}', b"\xff\xfe"]
)
def test_broken_bodies_are_answered(shared: Server, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = shared.client.post(
        "/v1alpha/transcripts/turn_known/feedback", content=body, headers=headers
    )
    assert answer.status_code in (200, 400, 422)


def test_feedback_on_a_turn_carries_its_texts(serve: Serve) -> None:
    with serve() as server:
        server.record(turn(1, turn_id="turn_one"))
        path = "/v1alpha/transcripts/turn_one/feedback"
        first = server.client.post(path, json={"sentiment": -1, "categories": ["other", "other"]})
        server.client.post("/v1/feedback", json=ABOUT | {"sentiment": 1, "turn_id": "turn_one"})
        server.client.post("/v1/feedback", json=ABOUT | {"sentiment": 1})
        empty = server.client.post(path, json={})
        listed = server.client.get(path).json()["data"]

    assert empty.status_code == 422
    assert [each["user_question"] for each in listed] == ["Question 1?", "Q?"]
    assert listed[0]["feedback_id"] == first.json()["feedback_id"]
    assert listed[0]["llm_response"] == "Answer 1."
    assert listed[0]["categories"] == ["other"]
    assert listed[0]["conversation_id"] == CONVERSATION


def test_feedback_can_be_switched_off(serve: Serve) -> None:
    with serve(feedback_enabled=False) as server:
        server.record(turn(1, turn_id="turn_one"))
        status = server.client.get("/v1/feedback/status").json()
        assert status == {"functionality": "feedback", "status": {"enabled": False}}
        assert server.client.post("/v1/feedback", json=ABOUT | {"sentiment": 1}).status_code == 403
        on_turn = "/v1alpha/transcripts/turn_one/feedback"
        assert server.client.post(on_turn, json={"sentiment": 1}).status_code == 403

        changed = server.client.put("/v1/feedback/status", json={"status": True})
        assert changed.json()["status"]["previous_status"] is False
        assert changed.json()["status"]["updated_status"] is True
        assert server.client.post("/v1/feedback", json=ABOUT | {"sentiment": 1}).status_code == 200
        wrong = server.client.put("/v1/feedback/status", json={"status": "perhaps"})
        assert wrong.status_code == 422


def test_users_never_see_each_other(serve: Serve, token_service: dict[str, Any]) -> None:
    of_alice = turn(1, user_id="alice", turn_id="turn_alice")
    of_bob = turn(2, user_id="bob", turn_id="turn_bob", conversation_id="conv_" + "b" * 48)
    with serve(auth=token_service) as server:
        server.record(of_alice, of_bob, turn(3))
        client = server.client
        assert client.get("/v1alpha/transcripts").status_code == 401
        assert server.questions(ALICE) == ["Question 1?"]
        assert server.questions(BOB) == ["Question 2?"]
        assert server.questions(BOB, conversation_id=CONVERSATION) == []
        assert server.questions(BOB, response_id="resp_1") == []
        later_cursor = f"{microseconds(of_bob.received_at) + 1}.x"
        assert server.questions(BOB, after=later_cursor) == ["Question 2?"]

        one = "/v1alpha/transcripts/turn_alice"
        assert client.get(one, headers=ALICE).status_code == 200
        assert client.get(one, headers=BOB).status_code == 404
        assert client.get(f"{one}/feedback", headers=BOB).status_code == 404
        opinion = {"sentiment": 1}
        assert client.post(f"{one}/feedback", json=opinion, headers=BOB).status_code == 404
        for body, status in [
            (ABOUT | opinion, 403),
            (ABOUT | opinion | {"conversation_id": "b" * 48}, 200),
            (ABOUT | opinion | {"conversation_id": "b" * 48, "turn_id": "turn_alice"}, 404),
        ]:
            assert client.post("/v1/feedback", json=body, headers=BOB).status_code == status

        assert client.post(f"{one}/feedback", json=opinion, headers=ALICE).status_code == 200
        assert len(client.get(f"{one}/feedback", headers=ALICE).json()["data"]) == 1


def test_a_user_in_the_provider_data_header_is_not_believed(serve: Serve) -> None:
    forged = {"__authenticated_user": {"principal": "alice", "attributes": {}}}
    with serve() as server:
        server.record(turn(1, user_id="alice"), turn(2))
        headers = {"X-LlamaStack-Provider-Data": json.dumps(forged)}
        assert server.questions(headers) == ["Question 2?"]


def test_a_restart_keeps_turns_users_and_feedback(serve: Serve, tmp_path: Path) -> None:
    with serve() as server:
        server.record(turn(1, turn_id="turn_one"))
        server.client.post("/v1alpha/transcripts/turn_one/feedback", json={"sentiment": 1})
    with serve() as server:
        server.record(turn(2), turn(1, turn_id="turn_one", question="A second one?"))
        assert server.questions() == ["Question 2?", "Question 1?"]
        assert server.impl._writer.dropped == 0
        assert len(server.client.get("/v1alpha/transcripts/turn_one/feedback").json()["data"]) == 1
    assert stat.S_IMODE((tmp_path / "state/user_id.key").stat().st_mode) == 0o600
    everything = b"".join(path.read_bytes() for path in tmp_path.glob("turns.db*"))
    assert b"anonymous" not in everything


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
    with serve(write_timeout_s=0.1) as server:
        with locked(tmp_path / "turns.db"):
            server.record(turn(1))
            assert server.client.get("/v1alpha/transcripts").status_code == 503
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
        server.client.portal.call(server.impl._writer.settled, 5)
        server.eventually(["Question 1?"])


def test_shutdown_writes_what_is_queued(serve: Serve, tmp_path: Path) -> None:
    with serve(durability="queued", max_batch_turns=7) as server:
        server.record(*(turn(n) for n in range(300)))
    assert len(stored_questions(tmp_path / "turns.db")) == 300


def test_shutdown_with_a_dead_database_ends_in_time(serve: Serve, tmp_path: Path) -> None:
    with serve(durability="queued", drain_timeout_s=0.5) as server:
        server.record(turn(0))
        server.eventually(["Question 0?"])
        with locked(tmp_path / "turns.db"):
            server.record(turn(1))
            began = time.monotonic()
            server.client.portal.call(server.impl.shutdown)
            assert time.monotonic() - began < 3
        assert server.impl._writer.dropped == 1


def test_turns_that_finish_after_shutdown_are_written(serve: Serve, tmp_path: Path) -> None:
    with serve(durability="queued", max_batch_turns=2) as server:

        async def record_together() -> None:
            await server.impl.shutdown()
            await asyncio.gather(*(server.impl.record(turn(number)) for number in range(30)))

        server.client.portal.call(record_together)
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

        server.client.portal.call(shutdown_among_turns)
        assert (server.impl._writer.written, server.impl._writer.dropped) == (60, 0)
    assert len(stored_questions(tmp_path / "turns.db")) == 60


def test_the_routes_are_documented_and_the_key_stays_secret(serve: Serve) -> None:
    with serve(user_id_secret="0123456789abcdef") as server:
        paths = server.client.get("/openapi.json").json()["paths"]
        routes = server.client.get("/v1/inspect/routes").text
        providers = server.client.get("/v1/providers").text

    assert "422" in paths["/v1/feedback"]["post"]["responses"]
    assert {p["name"] for p in paths["/v1alpha/transcripts"]["get"]["parameters"]} == {
        "limit",
        "after",
        "conversation_id",
        "response_id",
        "outcome",
    }
    assert "/v1alpha/transcripts/{turn_id}/feedback" in routes
    assert "inline::lightspeed-transcripts" in providers
    assert "0123456789abcdef" not in providers


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


def test_the_library_client_has_the_routes_and_never_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path / "state"))
    config = write_config(tmp_path, durability="queued")
    with LlamaStackAsLibraryClient(str(config), skip_logger_removal=True) as client:
        impl = client.async_client.impls[Api("transcripts")]
        client.loop.run_until_complete(impl.record(turn(1, turn_id="turn_one")))
        got = client.get("/v1alpha/transcripts/turn_one", cast_to=object)
        assert got["question"] == "Question 1?"
        with locked(tmp_path / "turns.db"):
            client.loop.run_until_complete(impl.record(turn(2)))
            page = client.get("/v1alpha/transcripts", cast_to=object)
            assert [each["question"] for each in page["data"]] == ["Question 1?"]
        filtered = client.get(
            "/v1alpha/transcripts",
            cast_to=object,
            options={"params": {"response_id": "resp_1", "limit": 1}},
        )
        assert [each["question"] for each in filtered["data"]] == ["Question 1?"]
        received = client.post(
            "/v1/feedback", body=ABOUT | {"categories": ["unsafe"]}, cast_to=object
        )
        assert received["response"] == "feedback received"
        path = "/v1alpha/transcripts/turn_one/feedback"
        client.post(path, body={"sentiment": 1}, cast_to=object)
        assert [each["sentiment"] for each in client.get(path, cast_to=object)["data"]] == [1]
    assert stored_questions(tmp_path / "turns.db") == {"Question 1?", "Question 2?"}


@pytest.fixture(scope="session")
def postgres() -> dict[str, Any]:
    """A PostgreSQL that answers, started where it is installed."""

    def answers() -> bool:
        command = ["psql", "-h", "127.0.0.1", "-U", "root", "-d", "test", "-Atc", "select 1"]
        return shutil.which("psql") is not None and (
            subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
        )

    if not answers() and shutil.which("pg_lsclusters") and shutil.which("pg_ctlcluster"):
        listing = subprocess.run(
            ["pg_lsclusters", "-h"], capture_output=True, text=True, check=False
        ).stdout
        for version, name, *_ in (line.split() for line in listing.splitlines()):
            subprocess.run(
                ["pg_ctlcluster", version, name, "start"], check=False, capture_output=True
            )
        time.sleep(1)
    if not answers():
        pytest.skip("no PostgreSQL on 127.0.0.1:5432 that lets root into the database test")
    return POSTGRES


def psql(statement: str) -> str:
    command = ["psql", "-h", "127.0.0.1", "-U", "root", "-d", "test", "-qAtc", statement]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def table(postgres: dict[str, Any]) -> Iterator[str]:
    name = f"turns_{uuid4().hex}"
    yield name
    psql(f"DROP TABLE IF EXISTS {name}, {name}_feedback")


def test_postgresql_keeps_turns_through_lost_connections(
    serve: Serve, postgres: dict[str, Any], table: str
) -> None:
    store = {"backend": "sql_turns", "table_name": table}
    same_moment = [turn(5, question=f"NUL \x00 and bell \x07 {n}") for n in range(3)]
    with serve(backend=postgres, store=store) as server:
        server.record(turn(1, turn_id="turn_one"), *same_moment, turn(1, turn_id="turn_one"))
        assert psql(f"SELECT pg_terminate_backend({connection_of(server)})").strip() == "t"
        server.record(turn(9, conversation_id="conv_\x00b"))
        path = "/v1alpha/transcripts/turn_one/feedback"
        assert (
            server.client.post(path, json={"user_feedback": "ok\x00", "sentiment": 1}).status_code
            == 200
        )
        [feedback] = server.client.get(path).json()["data"]
        assert feedback["user_feedback"] == "ok"
        first = server.client.get("/v1alpha/transcripts", params={"limit": 2}).json()
        second = server.client.get(
            "/v1alpha/transcripts", params={"limit": 200, "after": first["next"]}
        ).json()
        assert server.questions(conversation_id="conv_\x00b") == ["Question 9?"]
        assert server.client.get("/v1alpha/transcripts/%00").status_code == 404

    seen = [each["question"] for each in first["data"] + second["data"]]
    assert seen[0] == "Question 9?"
    assert sorted(seen[1:4]) == [f"NUL  and bell \x07 {n}" for n in range(3)]
    assert seen[4:] == ["Question 1?"]
    assert psql(f"TABLE {table}").count("\n") == 5


def connection_of(server: Server) -> int:
    async def ask() -> int:
        async with server.impl._store._promptly() as connection:
            return int((await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one())

    return int(server.client.portal.call(ask))


def row(number: int, **fields: Any) -> TurnRow:
    values: dict[str, Any] = {
        "turn_id": f"turn_{number}",
        "received_us": number,
        "user_hash": "u",
        "conversation_id": None,
        "response_id": None,
        "outcome": "answered",
        "model": None,
        "record": f"{number}",
    }
    return TurnRow(**(values | fields))


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TranscriptStore:
    if request.param == "sqlite":
        address, name = f"sqlite+aiosqlite:///{tmp_path}/t.db", "turns"
    else:
        name = request.getfixturevalue("table")
        address = "postgresql+asyncpg://root@127.0.0.1:5432/test"
    return TranscriptStore(lambda: create_async_engine(address), name, sync_commits=True)


async def test_a_row_that_is_refused_blocks_no_other(store: TranscriptStore) -> None:
    writer = BatchWriter(store.insert_turns, max_queued=100, max_batch=10)
    rows = [row(1), row(2, record=None), row(3), row(4, received_us=2**80), row(5)]
    written = [writer.put(each) for each in rows]
    await writer.drain(5)
    page = await store.page("u", limit=10)
    await store.close()

    assert [record for _, record in page] == ["5", "3", "1"]
    assert [future and future.result() for future in written] == [True, False, True, False, True]
    assert (writer.written, writer.dropped) == (3, 2)


async def test_order_and_batches_of_the_writer() -> None:
    batches: list[list[int]] = []

    async def write(items: Sequence[int]) -> None:
        await asyncio.sleep(0)
        batches.append(list(items))

    writer = BatchWriter(write, max_queued=100, max_batch=3)
    for number in range(7):
        writer.put(number)
    await writer.settled(1)
    assert batches == [[0, 1, 2], [3, 4, 5], [6]]
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}  # nothing waits when nothing is to do


async def test_two_drains_of_a_writer_write_each_item_once() -> None:
    written: list[int] = []
    away = iter([True])

    async def write(items: Sequence[int]) -> None:
        await asyncio.sleep(0.01)
        if next(away, False):
            raise AwayError("restarting")
        written.extend(items)

    writer = BatchWriter(write, max_queued=100, max_batch=2)
    for number in range(9):
        writer.put(number)
    await asyncio.gather(writer.drain(5), writer.drain(5), writer.drain(5))
    assert written == list(range(9))
    assert (writer.written, writer.dropped) == (9, 0)


async def test_the_provider_keeps_what_it_promises() -> None:
    [spec] = available_providers()
    assert (spec.api.value, spec.provider_type) == ("transcripts", "inline::lightspeed-transcripts")
    from lightspeed_providers.transcripts.transcripts import LightspeedTranscriptsImpl

    promised = [name for name in vars(Transcripts) if not name.startswith("_")] + ["record"]
    for name in promised:
        assert getattr(LightspeedTranscriptsImpl, name) is not getattr(Transcripts, name), name


def test_the_key_is_made_once_by_whoever_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "user_id.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_or_create_key, [path] * 32))
    assert len(keys) == 1
    assert [file.name for file in path.parent.iterdir()] == ["user_id.key"]
    path.write_text("not a key")
    with pytest.raises(ConfigurationError, match="64 hex digits"):
        load_or_create_key(path)
    with pytest.raises(ConfigurationError, match="LIGHTSPEED_USER_ID_KEY"):
        load_or_create_key(path / "below-a-file")


def test_configuration() -> None:
    parse = LightspeedTranscriptsConfig.model_validate
    assert parse({"user_id_secret": ""}).user_id_secret is None
    from_number = parse({"user_id_secret": 12345678901234567890}).user_id_secret
    assert from_number is not None
    assert from_number.get_secret_value() == "12345678901234567890"
    assert "12345678" not in repr(from_number)
    for wrong in [{"user_id_secret": "short"}, {"durability": "maybe"}, {"unknown": 1}]:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            parse(wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"store": {"backend": "sql_gone", "table_name": "t"}}, "sql_gone"),
        ({"store": {"backend": "sql_turns", "table_name": "t; drop"}}, "t; drop"),
    ],
)
def test_a_wrong_store_stops_the_start(
    serve: Serve, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message), serve(**settings):
        pass


@pytest.mark.parametrize("text", ["plain", "NUL \x00", "half \ud800", "literal \\u0000", "é 😀"])
def test_any_text_can_be_stored(text: str) -> None:
    stored = storable_json(turn(1, question=text))
    assert "\x00" not in json.loads(stored)["question"]
    expected = text.replace("\x00", "").replace("\ud800", "?")
    assert Turn.model_validate_json(stored).question == expected
