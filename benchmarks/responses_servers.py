"""Whole servers for the benchmarks of responses: this distribution and the stock provider in it."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from responses_upstream import QUESTION
from start_and_answer import START_TIMEOUT_S, free_port, resident_mb, tokenizer, wait_for

ROOT = Path(__file__).parents[1]
OURS = "ours"
STOCK = "stock"
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"

type Json = dict[str, Any]  # Any: JSON, or the host's run configuration

_PROFILE: Json = {
    "name": "benchmark",
    "retrieval": {"mode": "off"},
    "shields": {"input": [], "output": [], "tool": []},
}


def configuration(name: str) -> Json:
    """Return the distribution without shields and retrieval, or its stock counterpart.

    The stock one has Llama Stack's own Responses provider and stores, and none of our APIs.
    """
    config: Json = yaml.safe_load((ROOT / "run.yaml").read_text())
    config["external_apis_dir"] = str(ROOT / "distributions/lightspeed/apis.d")
    providers = config["providers"]
    [safety], [responses] = providers["safety"], providers["responses"]
    # They would ask for an index, and load models while the requests come.
    for api in ("tool_runtime", "vector_io", "inference"):
        kept = [p for p in providers[api] if p.get("module") != "lightspeed_providers"]
        providers[api] = kept
    del config["vector_stores"]
    shields = safety["config"]["shields"]
    safety["config"]["shields"] = {k: s for k, s in shields.items() if k == "input_forbidden"}
    responses["config"] |= {"profiles": [_PROFILE], "default_profile": None}
    if name == STOCK:
        config = _stock(config, responses["config"]["persistence"])
    return config


def _stock(config: Json, persistence: Json) -> Json:
    """Return the configuration with Llama Stack's own providers and its default stores."""
    del config["external_apis_dir"]
    builtin = {"provider_id": "builtin", "provider_type": "inline::builtin"}
    config["providers"]["responses"] = [{**builtin, "config": {"persistence": persistence}}]
    ours = {
        api
        for api, listed in config["providers"].items()
        if any(p.get("module") == "lightspeed_providers" for p in listed)
    }
    for api in ours:
        del config["providers"][api]
    config["apis"] = [api for api in config["apis"] if api not in ours]
    config["registered_resources"]["shields"] = []
    config.pop("safety", None)
    storage = config["storage"]
    storage["backends"] = {
        name: storage["backends"][name] for name in ("kv_default", "sql_default")
    }
    storage["stores"]["inference"]["backend"] = "sql_default"
    return config


@dataclass
class Server:
    """A running server."""

    name: str
    process: "subprocess.Popen[bytes]"
    port: int
    home: Path
    cpu_s: float = 0.0
    seen: dict[str, list["Answer"]] = field(default_factory=dict)

    @property
    def rss_mb(self) -> float:
        """What it holds now."""
        return resident_mb(self.process.pid)

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.home / "server.log").read_text(errors="replace")


@dataclass(frozen=True)
class Answer:
    """One answer as its client got it; times in ms since the request left."""

    total_ms: float
    first_ms: float | None
    fault: str | None = None


@contextlib.contextmanager
def canned_upstream() -> Iterator[str]:
    """Start the canned language model and give its address; stop it at the end."""
    port = free_port()
    script = Path(__file__).with_name("responses_upstream.py")
    process = subprocess.Popen([sys.executable, str(script), str(port)])
    try:
        address = f"http://127.0.0.1:{port}/v1"
        wait_for(f"{address}/models", time.perf_counter(), process.pid)
        yield address
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def started(home: Path, name: str, upstream: str, config: Json | None = None) -> Iterator[Server]:
    """Start one server and wait until it answers; stop it at the end."""
    home.mkdir()
    file = home / "run.yaml"
    file.write_text(yaml.safe_dump(configuration(name) if config is None else config))
    port = free_port()
    environment = {
        **os.environ,
        **tokenizer(),
        "HOME": str(home),
        "LIGHTSPEED_STATE_DIR": str(home / "state"),
        "LIGHTSPEED_MODEL": "openai/instant",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": upstream,
        "LLAMA_STACK_LOGGING": "all=error",  # the host's log costs a tenth of a request
    }
    (home / "state").mkdir()
    command = [str(Path(sys.executable).with_name("llama")), "stack", "run", str(file)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        server = Server(name, process, port, home)
        try:
            _wait_until_it_answers(server)
            yield server
        finally:
            _stop(process)


def _wait_until_it_answers(server: Server) -> None:
    began = time.perf_counter()
    while time.perf_counter() - began < START_TIMEOUT_S and server.process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{server.port}/v1/health", trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise SystemExit(f"The {server.name} server did not start: {server.log[-1500:]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:  # a server that has stalled hears nothing
        process.kill()
        process.wait()


async def ask(
    server: Server, model: str, *, stream: bool, route: str = RESPONSES, within_s: float = 60
) -> Answer:
    """Return what a client gets that opens a connection, asks once and reads to the end."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(within_s):
            first, fault = await _asked(server, _request(model, stream, route), route, began)
    except TimeoutError:
        first, fault = None, f"no end after {within_s:g} s"
    except (OSError, EOFError) as broken:
        first, fault = None, type(broken).__name__
    return Answer((time.perf_counter() - began) * 1000, first, fault)


def _request(model: str, stream: bool, route: str) -> bytes:
    said = (
        {"input": QUESTION}
        if route == RESPONSES
        else {"messages": [{"role": "user", "content": QUESTION}]}
    )
    body = json.dumps({"model": f"openai/{model}", "stream": stream, **said}).encode()
    head = (
        f"POST {route} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def _asked(
    server: Server, request: bytes, route: str, began: float
) -> tuple[float | None, str | None]:
    """Return when the first text came, and what was wrong with the answer."""
    end = b'"status":"completed"' if route == RESPONSES else b'"finish_reason":"stop"'
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**20)
    try:
        writer.write(request)
        status = await reader.readline()
        first, whole = None, False
        while line := await reader.readline():
            if first is None and b"output_text.delta" in line:
                first = (time.perf_counter() - began) * 1000
            whole = whole or end in line
    finally:
        writer.close()
    if b" 200 " not in status:
        return first, status.decode(errors="replace").strip() or "no answer"
    return first, None if whole else "not whole"


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))
