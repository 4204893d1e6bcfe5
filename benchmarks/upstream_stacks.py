"""The host's starter distribution, once with its own Responses API and once with this product's."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import llama_stack
import yaml
from start_and_answer import tokenizer

STOCK = "stock"
OURS = "ours"
_STARTER = Path(llama_stack.__file__).parent / "distributions" / "starter" / "config.yaml"
_APIS = {
    "conversations",
    "file_processors",
    "files",
    "inference",
    "responses",
    "safety",
    "tool_runtime",
    "vector_io",
}
_INFERENCE = ("openai", "azure", "bedrock", "vllm", "ollama", "sentence-transformers")
"""What upstream recorded, and its embeddings; the other providers only cost memory."""
_CONNECTOR = {
    "connector_id": "test-mcp-connector",
    "connector_type": "mcp",
    "url": "http://localhost:5199/sse",
}
"""What upstream's tests expect to find: they start an MCP server there."""
_START_S = 240


def configuration(side: str, authentication: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the run configuration of a side: they differ in two providers and a shield."""
    config: dict[str, Any] = yaml.safe_load(_STARTER.read_text())
    config["apis"] = sorted(_APIS)
    providers = {
        api: config["providers"][api] for api in config["apis"] if api in config["providers"]
    }
    providers["inference"] = [p for p in providers["inference"] if _plain(p) in _INFERENCE]
    providers["vector_io"] = [
        p for p in providers["vector_io"] if _plain(p) in ("faiss", "sqlite-vec")
    ]
    providers["safety"] = [p for p in providers["safety"] if _plain(p) == "llama-guard"]
    config["providers"] = providers
    config["registered_resources"] = {"models": [], "shields": []}
    config["safety"] = None
    config["vector_stores"].pop("default_reranker_model", None)
    config["connectors"] = [_CONNECTOR]
    if authentication:
        config["server"]["auth"] = dict(authentication)
    if side == OURS:
        _govern(config)
    return config


def _plain(provider: Mapping[str, Any]) -> str:
    return str(provider["provider_type"]).rpartition("::")[2]


def _govern(config: dict[str, Any]) -> None:
    """Put this product's provider in the stock one's place, with no rules of any product."""
    (stock,) = config["providers"]["responses"]
    config["providers"]["responses"] = [
        {
            **stock,
            "provider_id": "lightspeed",
            "provider_type": "inline::lightspeed-responses",
            "module": "lightspeed_providers",
            "config": {**stock["config"], "default_model": "openai/gpt-4o", "system_prompt": ""},
        }
    ]
    config["providers"]["safety"].append(
        {
            "provider_id": "lightspeed",
            "provider_type": "inline::lightspeed-shields",
            "module": "lightspeed_providers",
            "config": {"composite_id": "lightspeed", "shields": {}},
        }
    )
    config["registered_resources"]["shields"] = [
        {
            "shield_id": "lightspeed",
            "provider_id": "lightspeed",
            "provider_shield_id": "lightspeed",
        }
    ]


@contextmanager
def served(config: Mapping[str, Any], state: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve a configuration in a process of its own; give its address."""
    file = state / "run.yaml"
    file.write_text(yaml.safe_dump(dict(config)))
    port = _free_port()
    whole = {
        **os.environ,
        **environment,
        **tokenizer(),
        "SQLITE_STORE_DIR": str(state),
        "FILES_STORAGE_DIR": str(state / "files"),
        "LIGHTSPEED_STATE_DIR": str(state),
    }
    with (state / "output.log").open("w") as output:
        server = subprocess.Popen(
            [
                *(sys.executable, str(Path(__file__).with_name("upstream_replay.py"))),
                *("stack", "run", str(file), "--port", str(port)),
            ],
            cwd=state,
            env=whole,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://localhost:{port}"
            _wait(server, address, state)
            yield address
        finally:
            server.terminate()
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: "subprocess.Popen[bytes]", address: str, state: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx.get(f"{address}/v1/health", timeout=5).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise SystemExit(f"The server did not start within {_START_S} s: read {state / 'output.log'}.")
