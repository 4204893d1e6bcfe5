"""Our real server in a process and a home of its own, with the demo's redaction and little else."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from start_and_answer import free_port

ROOT = Path(__file__).parents[1]
REDACTION = "inout_redaction"
MODEL = "openai/test"
_START_TIMEOUT_S = 180
_OF_THE_INDEX = ("inline::lightspeed-index", "inline::lightspeed-rag", "inline::llama-cpp")


def configuration(*, redacting: bool) -> dict[str, Any]:
    """Return run.yaml without retrieval and its index, and of its shields with redaction alone.

    The benchmark's questions are not about Django, so the topic shield would answer them.
    """
    config: dict[str, Any] = yaml.safe_load((ROOT / "run.yaml").read_text())
    for api, providers in config["providers"].items():
        kept = [p for p in providers if p["provider_type"] not in _OF_THE_INDEX]
        config["providers"][api] = kept
    [safety] = config["providers"]["safety"]
    shields = safety["config"]["shields"]
    safety["config"]["shields"] = {REDACTION: shields[REDACTION]} if redacting else {}
    [responses] = config["providers"]["responses"]
    responses["config"]["profiles"] = [{"retrieval": {"mode": "off"}}]
    config["external_apis_dir"] = str(ROOT / "distributions" / "lightspeed" / "apis.d")
    config["registered_resources"]["models"] = [
        {"model_id": MODEL, "provider_id": "openai", "provider_model_id": "test"}
    ]
    return config


@contextmanager
def serving(home: Path, upstream_port: int, *, redacting: bool) -> Iterator[str]:
    """Start the server over a directory, give its address, and stop it."""
    home.mkdir()
    run = home / "run.yaml"
    run.write_text(yaml.safe_dump(configuration(redacting=redacting)))
    port = free_port()
    llama = Path(sys.executable).with_name("llama")
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [str(llama), "stack", "run", str(run), "--port", str(port)],
            cwd=home,
            env=_environment(home, upstream_port),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(process, url, home / "server.log")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _environment(home: Path, upstream_port: int) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LIGHTSPEED_", "LLAMA_")) and not name.endswith("_API_KEY")
    }
    return {
        **kept,
        "HOME": str(home),
        "LIGHTSPEED_STATE_DIR": str(home / "state"),
        "LIGHTSPEED_MODEL": MODEL,
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
    }


def _wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readiness", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"The server did not start: {log.read_text()[-2000:]}")
