"""The grammar of a Responses stream: what a client may rely on, event by event.

Written from OpenAI's documentation of the streaming events; `violations` reads the JSON that left
the server, so what it finds is what a client would see.
"""

import json
from collections.abc import Iterable
from typing import Any, get_args

from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel, ValidationError

type Event = dict[str, Any]

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
LIFECYCLE = ("response.created", "response.in_progress", *TERMINAL)
_CLASSES: dict[str, type[BaseModel]] = {
    get_args(member.model_fields["type"].annotation)[0]: member
    for member in get_args(get_args(ResponseStreamEvent)[0])
}
"""The openai client's class for each type of event."""

_PARTS = {
    "output_text": ("response.output_text.delta", "response.output_text.done", "text"),
    "reasoning_text": ("response.reasoning_text.delta", "response.reasoning_text.done", "text"),
    "refusal": ("response.refusal.delta", "response.refusal.done", "refusal"),
}
_ANNOTATION = "response.output_text.annotation.added"
_PART_OF = {kind: part for part, (delta, done, _) in _PARTS.items() for kind in (delta, done)}
_CALLS = {
    "response.function_call_arguments": "function_call",
    "response.mcp_call_arguments": "mcp_call",
}
_STEPS = {
    "file_search_call": ["in_progress", "searching", "completed"],
    "web_search_call": ["in_progress", "searching", "completed"],
    "mcp_call": ["in_progress", "completed|failed"],
    "mcp_list_tools": ["in_progress", "completed|failed"],
}


def read_sse(body: str) -> list[Event]:
    """Return the events of a stream's body."""
    lines = [line for line in body.splitlines() if line]
    assert all(line.startswith("data: ") for line in lines), lines
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def text_of(events: Iterable[Event]) -> str:
    """Return the text that a client shows while it reads."""
    return "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")


def violations(events: list[Event]) -> list[str]:
    """Return every rule that a stream breaks, in order; none for a valid stream."""
    return _Reading().of(events)


class _Item:
    """An output item as the events tell of it."""

    def __init__(self, added: Event) -> None:
        self.index: int = added["output_index"]
        self.id: str = added["item"].get("id") or ""
        self.type: str = added["item"]["type"]
        self.parts: list[_Part] = []
        self.arguments = ""
        self.arguments_done: str | None = None
        self.steps: list[str] = []
        self.done: Event | None = None


class _Part:
    """A content part of an item."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.text = ""
        self.annotations: list[Any] = []
        self.text_done = False
        self.done: Event | None = None


class _Reading:
    """Reads one stream from its beginning."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.items: dict[int, _Item] = {}

    def of(self, events: list[Event]) -> list[str]:
        if not events:
            return ["The stream is empty."]
        self._lifecycle(events)
        first = events[0].get("sequence_number", 0)
        for n, event in enumerate(events):
            kind = event["type"]
            if event.get("sequence_number") != first + n:
                self._broken(event, f"sequence number is not {first + n}")
            self._shape(event)
            if kind not in LIFECYCLE:
                self._one(event, kind)
        self._end(events[-1])
        return self.found

    def _broken(self, event: Event, rule: str) -> None:
        where = event.get("output_index", "-")
        self.found.append(f"{event['type']} #{event.get('sequence_number')} [{where}]: {rule}")

    def _shape(self, event: Event) -> None:
        known = _CLASSES.get(event["type"])
        if known is None:
            self._broken(event, "is no event of the openai client")
            return
        try:
            known.model_validate(_newer_than_the_host(event))
        except ValidationError as fault:
            wrong = {".".join(map(str, e["loc"])): e["msg"] for e in fault.errors()}
            self._broken(event, f"is no {known.__name__}: {wrong}")

    def _lifecycle(self, events: list[Event]) -> None:
        kinds = [e["type"] for e in events]
        if kinds[:2] != ["response.created", "response.in_progress"]:
            self.found.append(f"The stream begins with {kinds[:2]}.")
        if [k for k in kinds if k in TERMINAL] != kinds[-1:]:
            self.found.append(f"Not exactly one terminal event, last: ends with {kinds[-2:]}.")
        if kinds.count("response.created") > 1 or kinds.count("response.in_progress") > 1:
            self.found.append("The response begins more than once.")
        ids = {e["response"]["id"] for e in events if e["type"] in LIFECYCLE}
        if len(ids) > 1:
            self.found.append(f"The response changes its id: {sorted(ids)}")
        for event in events:
            if event["type"] in LIFECYCLE:
                named = event["type"].removeprefix("response.")
                status = "in_progress" if named == "created" else named
                if event["response"]["status"] != status:
                    self._broken(event, f"status is {event['response']['status']}")

    def _one(self, event: Event, kind: str) -> None:
        if "output_index" not in event:
            self._broken(event, "has no output_index")
        elif kind == "response.output_item.added":
            self._item_added(event)
        elif (item := self.items.get(event["output_index"])) is None:
            self._broken(event, "comes before its item is added")
        elif item.done is not None:
            self._broken(event, "comes after its item is done")
        elif kind == "response.output_item.done":
            self._item_done(event, item)
        elif event.get("item_id") != item.id:
            self._broken(event, f"item_id {event.get('item_id')} is not {item.id}")
        elif kind == "response.content_part.added":
            self._part_added(event, item)
        elif kind in _PART_OF or kind in ("response.content_part.done", _ANNOTATION):
            self._in_part(event, kind, item)
        elif kind.rpartition(".")[0] in _CALLS:
            self._arguments(event, kind, item)
        else:
            self._step(event, kind, item)

    def _item_added(self, event: Event) -> None:
        index, item = event["output_index"], event["item"]
        if index in self.items:
            self._broken(event, f"index was taken by {self.items[index].type}")
            return
        if index != len(self.items):
            self._broken(event, f"index is not {len(self.items)}")
        if item.get("content"):
            self._broken(event, "has content before any part is added")
        if item.get("status", "in_progress") not in ("in_progress", None):
            self._broken(event, f"is added with status {item['status']}")
        if any(known.id == item.get("id") for known in self.items.values()):
            self._broken(event, f"id {item.get('id')} was used before")
        self.items[index] = _Item(event)

    def _part_added(self, event: Event, item: _Item) -> None:
        if event["content_index"] != len(item.parts):
            self._broken(event, f"content_index is not {len(item.parts)}")
        if item.type not in ("message", "reasoning"):
            self._broken(event, f"belongs to a {item.type}")
        item.parts.append(_Part(event["part"]["type"]))

    def _in_part(self, event: Event, kind: str, item: _Item) -> None:
        index = event["content_index"]
        if index >= len(item.parts):
            self._broken(event, "comes before its part is added")
            return
        part = item.parts[index]
        delta, done, field = _PARTS[part.kind]
        if kind in _PART_OF and _PART_OF[kind] != part.kind:
            self._broken(event, f"belongs to a part of kind {part.kind}")
        elif part.done is not None or (part.text_done and kind in (delta, done, _ANNOTATION)):
            self._broken(event, "comes after its part is done")
        elif kind == delta:
            part.text += event["delta"]
        elif kind == _ANNOTATION:
            if event["annotation_index"] != len(part.annotations):
                self._broken(event, f"annotation_index is not {len(part.annotations)}")
            cited = event["annotation"]
            if cited.get("end_index", cited.get("index", 0)) > len(part.text):
                self._broken(event, "cites more than has been said")
            part.annotations.append(cited)
        elif kind == done:
            part.text_done = True
            if event[field] != part.text:
                self._broken(event, f"{event[field]!r} is not the deltas' {part.text!r}")
        else:
            self._part_done(event, part)

    def _part_done(self, event: Event, part: "_Part") -> None:
        _, done, field = _PARTS[part.kind]
        if not part.text_done:
            self._broken(event, f"comes before {done}")
        if event["part"][field] != part.text:
            self._broken(event, f"{event['part'][field]!r} is not the deltas' {part.text!r}")
        if event["part"].get("annotations", []) != part.annotations:
            self._broken(event, "annotations are not those that were added")
        part.done = event["part"]

    def _arguments(self, event: Event, kind: str, item: _Item) -> None:
        if _CALLS[kind.rpartition(".")[0]] != item.type:
            self._broken(event, f"belongs to a {item.type}")
        if item.arguments_done is not None:
            self._broken(event, "comes after the arguments are done")
        if kind.endswith(".delta"):
            item.arguments += event["delta"]
            return
        item.arguments_done = event["arguments"]
        if item.arguments != item.arguments_done:
            self._broken(event, f"{item.arguments_done!r} is not the deltas' {item.arguments!r}")

    def _step(self, event: Event, kind: str, item: _Item) -> None:
        _, named, step = kind.split(".")
        steps = _STEPS.get(named)
        if steps is None:
            self._broken(event, "is unknown to this grammar")
        elif named != item.type:
            self._broken(event, f"belongs to a {item.type}")
        elif len(item.steps) >= len(steps) or step not in steps[len(item.steps)].split("|"):
            self._broken(event, f"comes after {item.steps}")
        item.steps.append(step)

    def _item_done(self, event: Event, item: _Item) -> None:
        done = event["item"]
        item.done = done
        if (done["type"], done.get("id")) != (item.type, item.id):
            self._broken(event, f"{done['type']} {done.get('id')} is not {item.type} {item.id}")
        if done.get("status", "completed") not in ("completed", "incomplete", "failed", None):
            self._broken(event, f"is done with status {done['status']}")
        if item.type in ("message", "reasoning"):
            if [p.done for p in item.parts] != _comparable(done.get("content") or [], item):
                self._broken(event, "content is not that of its parts")
        elif item.type in _CALLS.values() and done.get("arguments") != item.arguments_done:
            self._broken(event, f"arguments are not {item.arguments_done!r}")
        cut = done.get("status") == "incomplete"
        if item.type in _STEPS and not cut and len(item.steps) != len(_STEPS[item.type]):
            self._broken(event, f"comes after {item.steps}")

    def _end(self, last: Event) -> None:
        if last["type"] not in TERMINAL:
            return
        for item in self.items.values():
            if item.done is None:
                self._broken(last, f"{item.type} {item.id} was never done")
        final = last["response"]["output"]
        told = [item.done for _, item in sorted(self.items.items())]
        if final != told:
            self._broken(last, f"output {_names(final)} is not what was told, {_names(told)}")


def _comparable(content: list[Any], item: _Item) -> list[Any]:
    """Return content with only what its parts have too."""
    told = [p.done or {} for p in item.parts]
    return [
        {k: v for k, v in part.items() if k in (told[n] if n < len(told) else part)}
        for n, part in enumerate(content)
    ]


def _names(output: list[Any]) -> list[str]:
    return [f"{i['type']} {i.get('id')} {i.get('status')}" if i else "(open)" for i in output]


def _newer_than_the_host(value: Any) -> Any:  # Any: JSON
    """Return an event with what the client's classes ask for and Llama Stack 0.7.3 can't say.

    The client itself does without: tokens written to a cache, and a failed MCP call's error as an
    object where it used to be a text.
    """
    if isinstance(value, list):
        return [_newer_than_the_host(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    changed = {name: _newer_than_the_host(inner) for name, inner in value.items()}
    if "cached_tokens" in changed:
        changed["cache_write_tokens"] = 0
    if changed.get("type") == "mcp_call" and isinstance(changed["error"], str):
        changed["error"] = {
            "type": "mcp_tool_execution_error",
            "content": [{"type": "text", "text": changed["error"]}],
        }
    return changed
