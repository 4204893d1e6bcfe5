"""An identity service that believes every token to be its user's name."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class _Believing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # the standard library's name
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps({"principal": asked["api_key"]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # the standard library's
        """Say nothing: a request is no event here."""


@contextmanager
def identity_service() -> Iterator[dict[str, Any]]:
    """Serve it; give the host's `server.auth` that asks it."""
    service = ThreadingHTTPServer(("127.0.0.1", 0), _Believing)
    Thread(target=service.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{service.server_port}/"
        yield {"provider_config": {"type": "custom", "endpoint": endpoint}}
    finally:
        service.shutdown()
        service.server_close()
