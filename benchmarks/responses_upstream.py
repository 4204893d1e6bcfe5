"""A canned language model in a process of its own, for the benchmarks of whole servers.

    python benchmarks/responses_upstream.py PORT

It speaks the OpenAI API and has two models: one answers at once, one streams 500 chunks. It is
cheap, so that what is measured is the server that asks it. Needs nothing but Python.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
from functools import cache
from typing import Any

QUESTION = "How do I create a superuser, and how do I give it a password later?"
INSTANT = "instant"
STREAMING = "streaming"
CHUNKS = 500
MODELS = (INSTANT, STREAMING)

_ANSWER = "Run the command createsuperuser of manage.py and answer what it asks. " * 6
_WORDS = tuple(_ANSWER.partition(".")[0].split())

type Json = dict[str, Any]  # Any: JSON


@cache
def answer_of(model: str) -> tuple[str, ...]:
    """Return what a model says, delta by delta."""
    if model == STREAMING:
        return tuple(itertools.islice((f" {w}" for w in itertools.cycle(_WORDS)), CHUNKS))
    return (_ANSWER,)


def deltas(model: str) -> list[Json]:
    """Return the chunks of a model's streamed answer."""
    said = answer_of(model)
    choices = [{"content": text} for text in said]
    choices[0] = {"role": "assistant", **choices[0]}
    usage = {
        "prompt_tokens": 60,
        "completion_tokens": len(said),
        "total_tokens": 60 + len(said),
    }
    return [
        *({"choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in choices),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": usage},
    ]


def _streamed(model: str) -> list[bytes]:
    """Return a streamed answer's parts, with a mark where each answer's own id goes."""
    about = {"id": "@ID@", "object": "chat.completion.chunk", "created": 1, "model": model}
    events = [f"data: {json.dumps(about | event)}\n\n".encode() for event in deltas(model)]
    return [*events, b"data: [DONE]\n\n"]


def _whole(model: str) -> bytes:
    said = "".join(answer_of(model))
    message = {"role": "assistant", "content": said}
    tokens = len(answer_of(model))
    return json.dumps(
        {
            "id": "@ID@",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 60,
                "completion_tokens": tokens,
                "total_tokens": 60 + tokens,
            },
        }
    ).encode()


class Upstream:
    """Answers every request on a connection, one after the other."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._events = {model: _streamed(model) for model in MODELS}
        self._wholes = {model: _whole(model) for model in MODELS}
        self._listed = json.dumps(
            {
                "object": "list",
                "data": [{"id": m, "object": "model", "owned_by": "us"} for m in MODELS],
            }
        ).encode()

    async def serve(self, port: int) -> None:
        """Listen until the process ends."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", port, backlog=1024)
        await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                if not head.startswith("post"):
                    writer.write(_reply(self._listed))
                    continue
                length = int(head.split("content-length: ")[1].split("\r\n")[0])
                asked = json.loads(await reader.readexactly(length))
                await self._answer(asked, writer)
        writer.close()

    async def _answer(self, asked: Json, writer: asyncio.StreamWriter) -> None:
        own_id = f"chatcmpl-{next(self._numbers)}".encode()
        if not asked.get("stream"):
            writer.write(_reply(self._wholes[asked["model"]].replace(b"@ID@", own_id)))
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for event in self._events[asked["model"]]:
            named = event.replace(b"@ID@", own_id)
            writer.write(b"%x\r\n%s\r\n" % (len(named), named))
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def _reply(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int, help="Where to listen, on this machine only")
    asyncio.run(Upstream().serve(parser.parse_args().port))
