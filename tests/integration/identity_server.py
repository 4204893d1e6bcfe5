"""A whole server of its own, for users who are told apart: python identity_server.py PORT.

It serves the run configuration of LLAMA_STACK_CONFIG over HTTP and writes its routes beside that
file. The language model behind it is canned: it repeats whatever it was told, so that what should
not have reached it is seen.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

REPOSITORY = Path(__file__).parents[2]
SLOWLY = "slowly"
"""A question with this word is answered for ten minutes, unless nobody listens any more."""


def run_config(auth: dict[str, Any] | None = None) -> dict[str, Any]:
    """The generated configuration, with one shield and no retrieval, which aren't asked about."""
    config: dict[str, Any] = yaml.safe_load((REPOSITORY / "run.yaml").read_text())
    config["external_apis_dir"] = str(REPOSITORY / "distributions" / "lightspeed" / "apis.d")
    [safety], [responses] = config["providers"]["safety"], config["providers"]["responses"]
    shields = safety["config"]["shields"]
    safety["config"]["shields"] = {"inout_redaction": shields["inout_redaction"]}
    responses["config"]["profiles"] = [{"name": "plain", "retrieval": {"mode": "off"}}]
    if auth:
        config["server"]["auth"] = auth
    return config


class Served:
    """A server in a process of its own."""

    def __init__(self, url: str, routes: list[tuple[str, str]], state: Path) -> None:
        self.url = url
        self.routes = routes
        self.state = state

    def client(self, headers: dict[str, str]) -> httpx.Client:
        """An HTTP client that says who it is."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


@contextmanager
def served(
    directory: Path, index: Path, model: str, config: dict[str, Any], user_header: str = ""
) -> Iterator[Served]:
    """A server over a directory, until the end."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "run.yaml"
    file.write_text(yaml.safe_dump(config))
    port = free_port()
    switches = {"VLLM_URL", "OLLAMA_URL", "VERTEX_AI_PROJECT", "LIGHTSPEED_MODEL"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith("_API_KEY") and name not in switches
    }
    environment = kept | {
        "LIGHTSPEED_STATE_DIR": str(directory / "state"),
        "LIGHTSPEED_INDEX": str(index),
        "LLAMA_CPP_URL": model,
        "LLAMA_STACK_CONFIG": str(file),
        "LIGHTSPEED_USER_HEADER": user_header,
    }
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, str(port)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(process, url, directory / "log")
            routes = [tuple(route) for route in json.loads((directory / "routes.json").read_text())]
            yield Served(url, routes, directory / "state")
        finally:
            process.terminate()
            process.wait(30)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            if httpx.get(f"{url}/readiness", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"not ready: {log.read_text()[-4000:]}")


@contextmanager
def canned_model() -> Iterator[str]:
    """The address of a model that knows one answer."""
    with _listening(_CannedModel) as url:
        yield url


@contextmanager
def token_service() -> Iterator[str]:
    """The address of an authentication service that takes a token as its user's name and roles."""
    with _listening(_TokenService) as url:
        yield url


@contextmanager
def _listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    service = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    service.daemon_threads = True
    threading.Thread(target=service.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{service.server_port}"
    finally:
        service.shutdown()
        service.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def asked(self) -> dict[str, Any]:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return asked

    def answer(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


class _TokenService(_Handler):
    def do_POST(self) -> None:
        name, *roles = self.asked()["api_key"].split("+")
        self.answer({"principal": name, "attributes": {"roles": roles, "teams": roles}})


class _CannedModel(_Handler):
    """Speaks as much of OpenAI's API as the server asks for."""

    def do_GET(self) -> None:
        model = {"id": "canned", "object": "model", "created": 1, "owned_by": "tests"}
        self.answer({"object": "list", "data": [model], "status": "ok"})

    def do_POST(self) -> None:
        asked = self.asked()
        if asked.get("stream"):
            self._stream(_repeated(asked))
            return
        message = {"role": "assistant", "content": _repeated(asked)}
        choice = {"index": 0, "message": message, "text": _repeated(asked), "finish_reason": "stop"}
        about = {"id": f"chatcmpl-{time.monotonic_ns()}", "object": "chat.completion"}
        self.answer({**about, "created": 1, "model": "canned", "choices": [choice]})

    def _stream(self, said: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        about = {"id": f"chatcmpl-{time.monotonic_ns()}", "object": "chat.completion.chunk"}
        about |= {"created": 1, "model": "canned"}
        slowly = SLOWLY in said
        try:
            for text in ["Wait. "] * (1200 if slowly else 0) + [said]:
                delta = {"role": "assistant", "content": text}
                self._event(about | {"choices": [{"index": 0, "delta": delta}]})
                time.sleep(0.5 if slowly else 0)
            end = {"index": 0, "delta": {}, "finish_reason": "stop"}
            self._event(about | {"choices": [end]})
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass  # nobody listens any more
        self.close_connection = True

    def _event(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()


def _repeated(asked: dict[str, Any]) -> str:
    told = [m["content"] for m in asked.get("messages", []) if m["role"] != "system"]
    return f"I was told: {json.dumps(told or asked.get('prompt'))}"


def routes_of(app: Any) -> list[tuple[str, str]]:  # Any: the host's application
    """Every route of an application, as method and path, whether documented or not."""
    found: set[tuple[str, str]] = set()
    waiting = list(app.routes)
    while waiting:
        route = waiting.pop()
        included = getattr(route, "original_router", None)  # how FastAPI keeps included routers
        if included is not None:
            waiting += included.routes
            continue
        for method in sorted(set(route.methods) - {"HEAD"}):
            found.add((method, route.path))
    return sorted(found)


def main() -> None:
    """Serve until told to stop."""
    import uvicorn
    from llama_stack.core.server.server import create_app

    file, port = Path(os.environ["LLAMA_STACK_CONFIG"]), int(sys.argv[1])
    app = create_app()
    (file.parent / "routes.json").write_text(json.dumps(routes_of(app)))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
