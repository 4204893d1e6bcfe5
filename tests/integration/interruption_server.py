"""A real server process before a faulty model: python interruption_server.py PORT.

Its shields, its search and its stores are as slow as the question says.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import yaml
from faulty_model import FaultyModel, faulty_model

REPOSITORY = Path(__file__).parents[2]
SEARCHES = {"type": "file_search", "vector_store_ids": ["vs_slow"]}
_START_S = 240
_FOREVER_S = 3600


def write_config(directory: Path) -> Path:
    """The generated configuration with one shield, no index, and no other model."""
    config: dict[str, Any] = yaml.safe_load((REPOSITORY / "run.yaml").read_text())
    config["external_apis_dir"] = str(REPOSITORY / "distributions" / "lightspeed" / "apis.d")
    providers = config["providers"]
    kept = {"${env.VLLM_URL:+vllm}", "faiss", "file-search"}
    for api in ("inference", "vector_io", "tool_runtime"):
        providers[api] = [p for p in providers[api] if p["provider_id"] in kept]
    shields = providers["safety"][0]["config"]["shields"]
    providers["safety"][0]["config"]["shields"] = {"inout_redaction": shields["inout_redaction"]}
    providers["responses"][0]["config"].update(
        default_model="vllm/faulty",
        default_profile="plain",
        shutdown_grace_s=1,
        profiles=[
            {"name": "plain", "retrieval": {"mode": "off"}},
            {"name": "searching", "retrieval": {"mode": "always"}},
        ],
    )
    config.pop("vector_stores")
    file = directory / "run.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


class Served:
    """A server in a process of its own, and the model behind it."""

    def __init__(self, directory: Path, model: FaultyModel) -> None:
        self.model = model
        self.directory = directory
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def start(self) -> None:
        dropped = {"OLLAMA_URL", "VERTEX_AI_PROJECT", "LIGHTSPEED_MODEL", "LLAMA_CPP_URL"}
        kept = {k: v for k, v in os.environ.items() if k not in dropped and "_API_KEY" not in k}
        file = write_config(self.directory)
        environment = kept | {
            "LIGHTSPEED_STATE_DIR": str(self.directory / "state"),
            "VLLM_URL": self.model.url,
            "LLAMA_STACK_CONFIG": str(file),
        }
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(self.port)],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log[-4000:]
            try:
                if self.client.get("/readiness").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"not ready: {self.log[-4000:]}")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def ask(self, question: str, **fields: Any) -> httpx.Response:
        body = {"model": "lightspeed", "input": question, **fields}
        return self.client.post("/v1/responses", json=body)

    def begin(self, path: str = "/v1/responses", **body: Any) -> socket.socket:
        """Send a request and leave its connection open."""
        data = json.dumps({"model": "lightspeed", **body}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        return connection

    def turn(self, question: str, seconds: float = 20) -> dict[str, Any]:
        """Return the record of a question, once there is one."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            turns = self.client.get("/v1alpha/transcripts", params={"limit": 100}).json()["data"]
            for turn in turns:
                if question in turn["question"]:
                    return dict(turn)
            time.sleep(0.05)
        raise AssertionError(f"no turn with '{question}': {[t['question'] for t in turns]}")

    def turns(self) -> list[dict[str, Any]]:
        """Return the latest records, the newest first."""
        answer = self.client.get("/v1alpha/transcripts", params={"limit": 100})
        return list(answer.json()["data"])


@contextmanager
def served(directory: Path) -> Iterator[Served]:
    """A server before a faulty model, until the end."""
    with faulty_model() as model:
        server = Served(directory, model)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """Return the events of a stream."""
    lines = answer.text.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _slow_down(app: Any) -> None:  # Any: the host's application
    from llama_stack_api import Api

    impls = app.stack.impls.values()
    responses = next(i for i in impls if type(i).__name__ == "LightspeedResponsesImpl")
    guarded = responses._guard.guarded

    async def guarded_slowly(request: Any, turn: Any, runner: Any) -> Any:
        if "slow shield" in str(request.input):
            await asyncio.sleep(_FOREVER_S)
        return await guarded(request, turn, runner)

    class SlowSearch:
        async def invoke_tool(self, *, kwargs: dict[str, Any], **_: Any) -> Any:
            if "slow retrieval" in str(kwargs):
                await asyncio.sleep(_FOREVER_S)
            return SimpleNamespace(error_message=None, metadata={"passages": []})

    class SlowStores:
        async def openai_retrieve_vector_store(self, vector_store_id: str) -> Any:
            return SimpleNamespace(id=vector_store_id)

        async def openai_search_vector_store(self, **_: Any) -> Any:
            (Path(os.environ["LIGHTSPEED_STATE_DIR"]) / "searching").touch()
            await asyncio.sleep(_FOREVER_S)

    responses._guard.guarded = guarded_slowly
    responses._deps[Api.tool_runtime] = SlowSearch()
    responses._deps[Api.vector_io] = SlowStores()
    responses._stock.openai_responses_impl.vector_io_api = SlowStores()


def main() -> None:
    """Serve until told to stop."""
    import uvicorn
    from llama_stack.core.server.server import create_app

    app = create_app()
    _slow_down(app)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
