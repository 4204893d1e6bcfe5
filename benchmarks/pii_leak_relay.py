"""A benchmark's pretended model as a server's provider needs it: chunks with all that they lack.

Llama Stack takes no chunk without id, time and index, and pii-leak-benchmark's have none. They are
added here, and an end with a reason; each text goes on in a chunk of its own as it came, and
requests go through as they are.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_TIMEOUT_S = 60
_PREFIX = "data: "
_ENVELOPE = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0, "model": "test"}


class QuietHandler(BaseHTTPRequestHandler):
    """A handler that logs nothing and can answer with server-sent events."""

    def begin(self, status: int) -> None:
        """Begin an answer; its end is the end of the connection."""
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()

    def say(self, data: str) -> None:
        """Send an event."""
        self.wfile.write(f"{_PREFIX}{data}\n\n".encode())

    def body(self) -> bytes:
        """Return what was posted."""
        return self.rfile.read(int(self.headers["Content-Length"]))

    def log_message(self, *_: object) -> None:
        """Say nothing a request."""


@contextmanager
def listening(handler: type[QuietHandler]) -> Iterator[int]:
    """Listen on a free port until the end of the block, and give the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def events_of(answer: httpx.Response) -> Iterator[str]:
    """Return what an answer's events hold, while they come."""
    for line in answer.iter_lines():
        if line.startswith(_PREFIX):
            yield line.removeprefix(_PREFIX)


def relay_to(port: int) -> type[QuietHandler]:
    """Return what relays to a pretended model on that port."""

    class Relay(QuietHandler):
        def do_POST(self) -> None:
            with httpx.stream(
                "POST",
                f"http://127.0.0.1:{port}{self.path}",
                content=self.body(),
                headers={"Content-Type": "application/json", "Connection": "close"},
                timeout=_TIMEOUT_S,
            ) as answer:
                self.begin(answer.status_code)
                for data in events_of(answer):
                    self.say(data if data == "[DONE]" else json.dumps(completed_chunk(data)))
                    if data == "[DONE]":
                        return

    return Relay


def completed_chunk(data: str) -> dict[str, object]:
    """Return a chunk with what every chunk of a real model holds beside its text."""
    chunk = json.loads(data)
    choices = [{"index": 0, "finish_reason": None, **choice} for choice in chunk["choices"]]
    return {**_ENVELOPE, **chunk, "choices": choices}
