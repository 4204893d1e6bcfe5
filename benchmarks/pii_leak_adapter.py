"""Chat completions in, `/v1/responses` of a real server out: what a benchmark of gateways drives.

Nothing is judged or rewritten here. System texts become `instructions`, other messages `input`,
functions `tools`; keys that chat completions do not know go to the server as they came. Back come
chat chunks, each with every text of the event that it was made of in `event`, so that who inspects
the chunks sees all that a client of `/v1/responses` sees.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
from pii_leak_relay import QuietHandler, events_of

_TIMEOUT_S = 60
_TRANSLATED = ("messages", "tools")
_LAST = ("response.completed", "response.incomplete", "response.failed", "error")


def adapter_of(server_url: str, ended: Counter[str]) -> type[QuietHandler]:
    """Return what asks a server, and counts how its answers ended."""

    class Adapter(QuietHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.body())
            with httpx.stream(
                "POST", f"{server_url}/v1/responses", json=as_response(asked), timeout=_TIMEOUT_S
            ) as answer:
                self.begin(answer.status_code)
                if answer.status_code != 200:
                    ended[f"status {answer.status_code}"] += 1
                    self.wfile.write(answer.read())
                    return
                for data in events_of(answer):
                    event = json.loads(data)
                    self.say(json.dumps(as_chunk(event, asked["model"])))
                    if event["type"] in _LAST:
                        ended[event["type"]] += 1
                        break
                self.say("[DONE]")

    return Adapter


def as_response(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request for a chat completion as one for a response."""
    request = {key: value for key, value in asked.items() if key not in _TRANSLATED}
    messages = asked["messages"]
    request["input"] = [{"type": "message", **m} for m in messages if m["role"] != "system"]
    if system := "\n".join(m["content"] for m in messages if m["role"] == "system"):
        request["instructions"] = system
    if functions := asked.get("tools"):
        request["tools"] = [{"type": "function", **tool["function"]} for tool in functions]
    return request


def as_chunk(event: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return an event of a response as a chunk of a chat completion."""
    said = event["delta"] if event["type"] == "response.output_text.delta" else ""
    reason = "stop" if event["type"] in _LAST else None
    choice = {"index": 0, "delta": {"content": said}, "finish_reason": reason}
    return {
        "object": "chat.completion.chunk",
        "model": model,
        "choices": [choice],
        "event": texts_of(event),
    }


def texts_of(value: Any) -> Any:  # Any: JSON
    """Return JSON with its texts alone: ids and times are the server's own, and hold digits."""
    if isinstance(value, Mapping):
        kept = {k: texts_of(v) for k, v in value.items() if k != "id" and not k.endswith("_id")}
        return {key: inner for key, inner in kept.items() if inner not in (None, {}, [])}
    if isinstance(value, list):
        return [texts_of(inner) for inner in value]
    return value if isinstance(value, str) else None
