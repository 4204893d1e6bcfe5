"""A real server that keeps transcripts, over a directory and in this process."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from llama_stack.core.server.server import create_app
from llama_stack_api import Api
from starlette.testclient import TestClient

from lightspeed_providers.core.turns import Outcome, Turn

REPOSITORY = Path(__file__).parents[2]
START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CONVERSATION = "conv_" + "a" * 48
OTHER_CONVERSATION = "conv_" + "b" * 48
ABOUT = {"conversation_id": CONVERSATION, "user_question": "Q?", "llm_response": "A."}


def as_user(name: str, *roles: str) -> dict[str, str]:
    """Headers of a user whom the token service knows with these roles."""
    return {"Authorization": f"Bearer {'+'.join((name, *roles))}"}


ALICE, BOB = as_user("alice"), as_user("bob")
READER, ADMIN = as_user("rita", "support"), as_user("ada", "compliance")
ROLES = {"reader_roles": ["support"], "admin_roles": ["compliance"]}


def turn_id(number: int) -> str:
    return f"turn_{number:032x}"


def turn(number: int = 0, **fields: Any) -> Turn:
    return Turn.model_validate(
        {
            "turn_id": f"turn_{uuid4().hex}",
            "response_id": f"resp_{number}",
            "conversation_id": CONVERSATION,
            "user_id": "anonymous",
            "profile": "demo",
            "prompt_version": "0123456789ab",
            "prompt_hash": "0123456789ab" + "c" * 52,
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

    def run(self, story: Callable[..., Any], *arguments: Any) -> Any:
        """Run something in the server's own loop."""
        assert self.client.portal is not None
        return self.client.portal.call(story, *arguments)

    def record(self, *turns: Turn) -> None:
        async def record_all() -> None:
            for each in turns:
                await self.impl.record(each)

        self.run(record_all)

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
    """A run configuration with transcripts only; a turn is on disk once it is recorded."""
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
                        "durability": "strict",
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


@contextmanager
def served(directory: Path, **settings: Any) -> Iterator[Server]:
    """A server whose state and database lie in the directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTSPEED_STATE_DIR", str(directory / "state"))
        patch.setenv("LLAMA_STACK_CONFIG", str(write_config(directory, **settings)))
        with TestClient(create_app()) as client:
            yield Server(client)


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Starts servers over one directory."""
    return lambda **settings: served(tmp_path, **settings)


@pytest.fixture(params=["sqlite", "postgres"])
def serve_each(request: pytest.FixtureRequest, tmp_path: Path) -> Serve:
    """Starts servers over one directory, with each database in turn."""
    if request.param == "sqlite":
        return lambda **settings: served(tmp_path, **settings)
    places = {
        "backend": request.getfixturevalue("postgres"),
        "store": {"backend": "sql_turns", "table_name": request.getfixturevalue("table")},
    }
    return lambda **settings: served(tmp_path, **places, **settings)


@pytest.fixture(scope="session")
def token_service() -> Iterator[dict[str, Any]]:
    """An authentication service that takes a token as its user's name and roles."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name, *roles = asked["api_key"].split("+")
            attributes = {"roles": roles} if roles else {}
            body = json.dumps({"principal": name, "attributes": attributes}).encode()
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
    """What is in the file itself."""
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute("SELECT record FROM turns").fetchall()
    finally:
        connection.close()
    return {json.loads(record)["question"] for (record,) in rows}
