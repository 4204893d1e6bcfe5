"""Whatever is sent to the routes of transcripts and feedback, none of them breaks.

The requests are made from the server's own OpenAPI document, valid ones and broken ones.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from llama_stack.core.server.server import create_app
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy.ext.asyncio import create_async_engine
from transcript_server import CONVERSATION, turn, write_config

from lightspeed_providers.transcripts.recording import turn_row
from lightspeed_providers.transcripts.store import TranscriptStore
from lightspeed_providers.transcripts.user_ids import UserIds, load_or_create_key

EXAMPLES = 12
KNOWN = {
    "turn_id": "turn_known",
    "conversation_id": CONVERSATION,
    "user_hash": "me",
    "feedback_id": "fb_unknown",
}
OURS = r"transcripts|feedback"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server on a port of its own."""
    directory = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTSPEED_STATE_DIR", str(directory / "state"))
        patch.setenv("LLAMA_STACK_CONFIG", str(write_config(directory)))
        app: Any = create_app()
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            address = f"http://127.0.0.1:{_port(server, app)}"
            asyncio.run(_record_turns(directory))
            yield address
        finally:
            server.should_exit = True
            thread.join(20)


async def _record_turns(directory: Path) -> None:
    user = UserIds(load_or_create_key(directory / "state" / "user_id.key")).hash("anonymous")
    address = f"sqlite+aiosqlite:///{directory}/turns.db"
    store = TranscriptStore(lambda: create_async_engine(address), "turns", sync_commits=False)
    turns = [turn(0, turn_id="turn_known"), turn(1), turn(2)]
    await store.insert_turns([turn_row(each, user) for each in turns])
    await store.close()


def _port(server: uvicorn.Server, app: Any) -> int:
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(server.servers[0].sockets[0].getsockname()[1])


@pytest.fixture(scope="module")
def operations(address: str) -> list[Any]:
    document = schemathesis.openapi.from_url(f"{address}/openapi.json").include(path_regex=OURS)
    return [found.ok() for found in document.get_all_operations()]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_route_breaks(address: str, operations: list[Any], mode: GenerationMode) -> None:
    assert len(operations) >= 16
    for operation in operations:
        _try(operation, mode, address)


def _try(operation: Any, mode: GenerationMode, address: str) -> None:
    """Send one route requests of its own kind; feedback stays switched on between them."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answers(case: Any) -> None:
        for parameters in (case.path_parameters, KNOWN):
            case.path_parameters = {name: parameters[name] for name in case.path_parameters}
            response = case.call(base_url=address)
            if operation.method.upper() == "PUT":
                httpx.put(f"{address}/v1/feedback/status", json={"status": True})
            case.validate_response(response, checks=CHECKS)

    try:
        answers()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, f"{operation.label} can't be asked anything"
