"""A stand-in for a model's HTTP server, for faults and timing only; it notes who hangs up.

It does what the question says, as `status 429 retry-after 7`.
"""

import json
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "the user's own words"
"""Stands in what the model's server says of a request, and may reach nobody."""


class FaultyModel(ThreadingHTTPServer):
    """Knows the questions that it was asked, and when their connections died."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.asked: list[str] = []
        self._hung_up: dict[str, float] = {}
        self._changed = threading.Condition()

    def note_asked(self, question: str) -> None:
        with self._changed:
            self.asked.append(question)
            self._changed.notify_all()

    def note_hung_up(self, question: str) -> None:
        with self._changed:
            self._hung_up[question] = time.monotonic()
            self._changed.notify_all()

    def wait_until_asked(self, question: str, seconds: float = 20) -> None:
        """Wait until the model is busy with a question."""
        with self._changed:
            asked = lambda: any(question in each for each in self.asked)  # noqa: E731
            assert self._changed.wait_for(asked, seconds), self.asked

    def hung_up_at(self, question: str, seconds: float = 10) -> float:
        """Return when the connection with a question died."""

        def found() -> float | None:
            return next((at for each, at in self._hung_up.items() if question in each), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, seconds), self._hung_up
            at = found()
        assert at is not None
        return at


class _Handler(BaseHTTPRequestHandler):
    server: FaultyModel
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        model = {"id": "faulty", "object": "model", "created": 1, "owned_by": "tests"}
        self._json(200, {"object": "list", "data": [model], "status": "ok"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages = asked.get("messages") or [{"role": "user", "content": asked["prompt"]}]
        question = str([m["content"] for m in messages if m["role"] == "user"][-1])
        has_results = any(m["role"] == "tool" for m in messages)
        self.server.note_asked(question)
        self.close_connection = True
        try:
            self._act(question, asked, has_results=has_results)
        except OSError:
            self.server.note_hung_up(question)

    def _act(self, question: str, asked: dict[str, Any], *, has_results: bool) -> None:
        if wanted := re.search(r"status (\d+)(?: retry-after (\S+))?", question):
            headers = {"Retry-After": wanted[2].replace("_", " ")} if wanted[2] else {}
            error = {"message": f"No: {SECRET}", "type": "none", "code": "none"}
            self._json(int(wanted[1]), {"error": error}, headers)
            return
        if "say nothing" in question:
            self._until_hung_up(question)
            return
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "A whole answer."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._json(200, {**_about("chat.completion"), "choices": [choice]})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self._stream(question, has_results=has_results)

    def _stream(self, question: str, *, has_results: bool) -> None:
        self._delta({"role": "assistant", "content": ""})
        if "only begin" in question:
            self._until_hung_up(question)
        elif "search" in question and not has_results:
            function = {"name": "file_search", "arguments": json.dumps({"query": question})}
            call = {"index": 0, "id": "call_1", "type": "function", "function": function}
            self._delta({"tool_calls": [call]})
            self._end("tool_calls")
        elif "talk on" in question:
            while True:
                self._delta({"content": "Another sentence. "})
                time.sleep(0.02)
        elif "stop talking" in question:
            self._delta({"content": "Half a sentence and one more. "})
            self._until_hung_up(question)
        elif "break off" in question:
            self._delta({"content": "The beginning is here. "})
        elif "reset" in question:
            self._delta({"content": "The beginning is here. "})
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif "garbage" in question:
            self._data(f"{{{SECRET}")
        elif "error in stream" in question:
            self._data(json.dumps({"error": {"message": SECRET, "type": "overloaded_error"}}))
        else:
            time.sleep(3.0 if "slowly" in question else 0)
            self._delta({"content": "All is well. "})
            self._end("stop")

    def _until_hung_up(self, question: str) -> None:
        """Wait, without a word, until nobody listens any more."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self.connection], [], [], 1)
            if readable:
                self.server.note_hung_up(question)
                return

    def _delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        self._data(json.dumps({**_about("chat.completion.chunk"), "choices": [choice]}))

    def _end(self, reason: str) -> None:
        self._delta({}, reason)
        self._data("[DONE]")

    def _data(self, data: str) -> None:
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()

    def _json(
        self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


def _about(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-faulty", "object": kind, "created": 1, "model": "faulty"}


@contextmanager
def faulty_model() -> Iterator[FaultyModel]:
    """Such a model, until the end."""
    model = FaultyModel()
    threading.Thread(target=model.serve_forever, daemon=True).start()
    try:
        yield model
    finally:
        model.shutdown()
        model.server_close()
