"""Load balancers learn without authentication what a server still waits for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from llama_stack.core.library_client import LlamaStackAsLibraryClient
from llama_stack.core.server.server import create_app
from starlette.testclient import TestClient

from lightspeed_providers.core.readiness import State, board

APIS = Path(__file__).parents[2] / "distributions/lightspeed/apis.d"
READY = {"ready": True, "reason": "All parts are ready", "providers": []}


def write_config(directory: Path) -> Path:
    config = {
        "version": 2,
        "distro_name": "readiness-test",
        "apis": ["readiness"],
        "external_apis_dir": str(APIS),
        "providers": {
            "readiness": [
                {"provider_id": "readiness", "provider_type": "inline::lightspeed-readiness"}
            ]
        },
        "storage": {
            "backends": {
                "kv_default": {"type": "kv_sqlite", "db_path": str(directory / "kv.db")},
                "sql_default": {"type": "sql_sqlite", "db_path": str(directory / "sql.db")},
            }
        },
        # Nobody listens there, so that every route that is not public answers 401.
        "server": {
            "auth": {"provider_config": {"type": "custom", "endpoint": "http://127.0.0.1:9/"}}
        },
    }
    path = directory / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(autouse=True)
def _own_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "_components", {})


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("LLAMA_STACK_CONFIG", str(write_config(tmp_path)))
    with TestClient(create_app()) as client:
        yield client


def test_readiness_follows_the_board(client: TestClient) -> None:
    assert client.get("/v1/providers").status_code == 401
    answer = client.get("/readiness")
    assert (answer.status_code, answer.json()) == (200, READY | {"components": []})

    board.report("embeddings", State.LOADING)
    board.report("llama-cpp", State.FAILED, "no such file: model.gguf")
    board.report("index", State.READY)
    answer = client.get("/readiness")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "reason": "embeddings: loading; llama-cpp: failed (no such file: model.gguf)",
        "providers": ["embeddings", "llama-cpp"],
        "components": [
            {"name": "embeddings", "state": "loading", "message": ""},
            {"name": "index", "state": "ready", "message": ""},
            {"name": "llama-cpp", "state": "failed", "message": "no such file: model.gguf"},
        ],
    }
    assert client.get("/liveness").json() == {"alive": True}

    board.report("embeddings", State.READY)
    board.report("llama-cpp", State.READY)
    assert client.get("/readiness").json().items() >= READY.items()


def test_the_routes_are_documented(client: TestClient) -> None:
    paths = client.app.openapi()["paths"]
    assert {"200", "503"} <= set(paths["/readiness"]["get"]["responses"])
    assert "/liveness" in paths


def test_the_library_client_has_the_routes(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with LlamaStackAsLibraryClient(str(config), skip_logger_removal=True) as client:
        board.report("index", State.LOADING)
        answer = client.get("/readiness", cast_to=object)
        assert answer.status_code == 503
        assert client.get("/liveness", cast_to=object) == {"alive": True}
