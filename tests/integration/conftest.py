"""A whole stack in this process, over the generated run.yaml, with a small real index."""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from llama_stack_api import CreateResponseRequest
from starlette.testclient import TestClient

from lightspeed_providers.core.embedder import shared_embedder
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.product_rag.ingest.build import build_index
from lightspeed_providers.product_rag.ingest.reading import Documentation
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.profiles.config import ProfileConfig

ROOT = Path(__file__).parents[2]
CASSETTES = ROOT / "tests" / "cassettes"
MODEL_PORT = 18080
"""Where the embedded model listens while cassettes are recorded; nothing does when they play."""

DOCS = {
    "models.rst": """\
======
Models
======

A model is the single, definitive source of information about your data.

Adding a field
==============

To add a field to a model, write it as a class attribute, then run
``manage.py makemigrations`` and ``manage.py migrate``. Each attribute of the model
represents a database column::

    class Book(models.Model):
        title = models.CharField(max_length=100)
""",
    "auth.rst": """\
==============
Authentication
==============

Creating superusers
===================

Create a superuser with the ``createsuperuser`` command of ``manage.py``. It asks for
a name, an e-mail address and a password.
""",
    "views.rst": """\
=====
Views
=====

A view function takes a web request and returns a web response.

Returning errors
================

Return ``HttpResponseNotFound`` or raise ``Http404`` to answer a request with the
status 404. Django shows the template ``404.html`` then.
""",
    "testing.rst": """\
=======
Testing
=======

Run tests with ``manage.py test``. The option ``--keepdb`` preserves the test database
between runs, which skips creating it again.
""",
}


@pytest.fixture(scope="session", autouse=True)
def _kept_vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All servers of a run keep what they embed of examples in one place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTSPEED_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with four pages of documentation of our own writing."""
    source = tmp_path_factory.mktemp("docs")
    for name, text in DOCS.items():
        (source / name).write_text(text)
    return source


@pytest.fixture(scope="session")
def index(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of those pages, built with the real embedding model."""
    target = tmp_path_factory.mktemp("indexes") / "small"
    build_small_index(docs, target)
    return target


def build_small_index(docs: Path, target: Path) -> None:
    """Build an index of a directory with the real embedding model."""
    build_index(
        Documentation(
            source=docs,
            product="Django",
            version="5.2",
            title="Small documentation",
            url_template="https://docs.example/{version}/{path}/#{anchor}",
        ),
        target,
        model=DEFAULT_EMBEDDING_MODEL,
        encoder=lambda: shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto"),
        report=lambda stage, done, total: None,
    )


def run_config() -> dict[str, Any]:
    """Return the generated configuration with only its places changed."""
    text = (ROOT / "run.yaml").read_text()
    config: dict[str, Any] = yaml.safe_load(text)
    config["external_apis_dir"] = str(ROOT / "distributions" / "lightspeed" / "apis.d")
    return config


@pytest.fixture(scope="session")
def upstream(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of the language model: it runs only while cassettes are recorded."""
    if request.config.getoption("--record-mode") in (None, "none"):
        yield f"http://127.0.0.1:{MODEL_PORT}"
        return
    from lightspeed_providers.llama_cpp.config import LlamaCppConfig
    from lightspeed_providers.llama_cpp.llama_cpp import LlamaCppImpl
    from lightspeed_providers.llama_cpp.server import LlamaServer

    config = LlamaCppConfig(port=MODEL_PORT)
    server = LlamaServer(LlamaCppImpl(config=config)._settings(), load_timeout_s=120)
    server.api_key = "none"
    server.start_loading()
    try:
        yield asyncio.run(server.url())
    finally:
        server.stop()


@pytest.fixture(scope="session")
def app(
    index: Path, upstream: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:  # Any: the host's StackApp
    """The whole server, in this process."""
    from llama_stack.core.server.server import create_app

    state = tmp_path_factory.mktemp("state")
    file = state / "run.yaml"
    file.write_text(yaml.safe_dump(run_config()))
    environment = {
        "LIGHTSPEED_STATE_DIR": str(state),
        "LIGHTSPEED_INDEX": str(index),
        "LLAMA_CPP_URL": upstream,
        "LLAMA_STACK_CONFIG": str(file),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for name in [n for n in os.environ if n.endswith("_API_KEY") or n in OTHER_SWITCHES]:
            patch.delenv(name)
        yield create_app()


OTHER_SWITCHES = {"VLLM_URL", "OLLAMA_URL", "VERTEX_AI_PROJECT", "LIGHTSPEED_MODEL"}


@pytest.fixture(scope="session")
def client(app: Any) -> Iterator[TestClient]:
    """An HTTP client of the server in this process, once its shields have been tested."""
    with TestClient(app, raise_server_exceptions=False) as client:
        wait_for_shields(client)
        yield client


def wait_for_shields(client: TestClient, seconds: float = 120) -> None:
    """Wait until the topic shield has learnt its examples."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        components = {c["name"]: c for c in client.get("/readiness").json()["components"]}
        if components["shields"]["state"] == "ready":
            return
        time.sleep(0.1)
    raise AssertionError(f"shields are not ready: {components['shields']}")


def in_server(client: TestClient, story: Callable[[], Awaitable[None]]) -> None:
    """Run a story in the server's own event loop, where its stores and clients live."""
    assert client.portal is not None
    client.portal.call(story)


@pytest.fixture(scope="session")
def responses_impl(app: Any) -> Any:
    """The governed responses provider inside the server."""
    return next(
        impl
        for impl in app.stack.impls.values()
        if type(impl).__name__ == "LightspeedResponsesImpl"
    )


def guarded_of(responses_impl: Any) -> Any:
    """The decorated inference inside the provider."""
    return responses_impl._stock.openai_responses_impl.inference_api


def with_rules(monkeypatch: pytest.MonkeyPatch, responses_impl: Any, **rules: Any) -> Any:
    """Let the default profile have these rules too; return it."""
    profiles = responses_impl.profiles
    changed = profiles.chosen(None).model_copy(update=rules)
    monkeypatch.setitem(profiles._by_name, changed.name, changed)
    return changed


async def answered(responses_impl: Any, **fields: Any) -> Any:
    """The final response to a request, streamed or not."""
    request = CreateResponseRequest.model_validate({"model": "lightspeed", **fields})
    answer = await responses_impl.create_openai_response(request)
    if not fields.get("stream"):
        return answer
    return [event async for event in answer][-1].response


def open_turn(**fields: Any) -> OpenTurn:
    """A turn that was just opened, with these fields."""
    opened = {
        "user_id": "anonymous",
        "rules": ProfileConfig(),
        "prompt": "",
        "prompt_version": "",
        "model_requested": "lightspeed",
        "model": "a/model",
        "question": "",
        "streamed": False,
    }
    return OpenTurn(**opened | fields)


@pytest.fixture(scope="session")
def vcr_config() -> dict[str, Any]:
    """Requests are compared whole: a changed prompt or passage needs a fresh recording."""
    return {
        "match_on": ["method", "path", "body"],
        "filter_headers": ["authorization", "user-agent", "x-stainless-arch", "x-stainless-os"],
        "allow_playback_repeats": False,
        "ignore_hosts": ["testserver"],
        "decode_compressed_response": True,
    }


@pytest.fixture(scope="module")
def vcr_cassette_dir() -> str:
    """All cassettes lie in one folder, one file a test."""
    return str(CASSETTES)


@pytest.fixture(autouse=True)
def _fully_played(request: pytest.FixtureRequest) -> Iterator[None]:
    """A cassette that is not played to its end records something that no longer happens."""
    if request.node.get_closest_marker("vcr") is None:
        yield
        return
    cassette = request.getfixturevalue("vcr")
    yield
    if request.config.getoption("--record-mode") in (None, "none"):
        assert cassette.all_played, f"{cassette.play_count} of {len(cassette)} requests were made"


@pytest.fixture
def upstream_requests(vcr: Any) -> Callable[[], list[dict[str, Any]]]:
    """What was sent to the model, as the cassette has it."""
    import json

    return lambda: [json.loads(r.body) for r in vcr.requests if r.path.endswith("/completions")]


@pytest.fixture
def turns(responses_impl: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The turns that the responses room hands to be recorded, in order; they are recorded too."""
    sink = responses_impl._recorder.sink
    seen: list[Any] = []

    class Listening:
        async def record(self, turn: Any) -> None:
            seen.append(turn)
            await sink.record(turn)

    monkeypatch.setattr(responses_impl._recorder, "sink", Listening())
    return seen


def has_trace(log: str) -> bool:
    """Whether a log holds a stack trace; the host logs the configuration, examples included."""
    return re.search(r"^Traceback \(", log, re.MULTILINE) is not None
