"""Valid OpenAI events out of the stock loop's: each output item told once, whole, in its place.

What the stock loop of Llama Stack 0.7.3 tells is not what its final response holds: reasoning is
told as a part of a message that was not announced, text in front of a tool call is never closed
and then forgotten, two function calls share one index, arguments of the server's own tools come
before (and as) something else, texts have no end, and MCP events name no item. OpenAI's client
raises at most of these.
"""

import copy
import json
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llama_stack_api import (
    OpenAIResponseContentPartOutputText,
    OpenAIResponseContentPartReasoningText,
    OpenAIResponseMessage,
    OpenAIResponseObject,
    OpenAIResponseObjectStreamResponseContentPartAdded,
    OpenAIResponseObjectStreamResponseContentPartDone,
    OpenAIResponseObjectStreamResponseFunctionCallArgumentsDelta,
    OpenAIResponseObjectStreamResponseFunctionCallArgumentsDone,
    OpenAIResponseObjectStreamResponseOutputItemAdded,
    OpenAIResponseObjectStreamResponseOutputItemDone,
    OpenAIResponseObjectStreamResponseOutputTextDelta,
    OpenAIResponseObjectStreamResponseReasoningTextDone,
    OpenAIResponseOutputMessageContentOutputText,
    OpenAIResponseOutputMessageReasoningContent,
    OpenAIResponseOutputMessageReasoningItem,
)

from lightspeed_providers.responses.item_events import (
    McpArgumentsDelta,
    McpArgumentsDone,
    McpCallCompleted,
    McpCallFailed,
    McpListToolsCompleted,
    McpListToolsInProgress,
    OutputTextDone,
)

type Event = Any  # one of the host's event classes, or of ours beside them
type Item = Any  # one of the host's output items

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
_REASONS = {"length": "max_output_tokens"}
"""OpenAI's words for the stock loop's reasons, where it has any."""


@dataclass
class _Text:
    """A message or a reasoning item while it is being told."""

    item_id: str
    index: int
    told: list[str] = field(default_factory=list)
    ended: bool = False

    @property
    def text(self) -> str:
        return "".join(self.told)


class RepairedEvents:
    """Retells one response's events; what it yields has no sequence numbers of its own yet."""

    def __init__(self) -> None:
        self._response_id = ""
        self._output: list[Item] = []
        self._indexes: dict[str, int] = {}
        self._message: _Text | None = None
        self._thought: _Text | None = None
        self._thought_before = False
        self._arguments: dict[str, str] = {}
        self._running: Item | None = None

    def of(self, event: Event) -> Sequence[Event]:
        """Return what a client is told in place of this event of the stock loop."""
        message = self._message
        if event.type == "response.output_text.delta" and message is not None:
            message.told.append(event.delta)
            return (_placed(event, message.item_id, message.index),)
        retell = _RETOLD.get(event.type, RepairedEvents._step)
        return tuple(retell(self, event))

    def final(self, response: OpenAIResponseObject) -> OpenAIResponseObject:
        """Return a final response of the stock loop with the output that was told."""
        then = copy.copy(self)
        then._output, then._indexes = list(self._output), dict(self._indexes)
        then._message, then._thought = copy.copy(self._message), copy.copy(self._thought)
        for _ in then._closing(response):
            pass
        return then._as_told(response)

    def _as_told(self, response: OpenAIResponseObject) -> OpenAIResponseObject:
        changed: dict[str, Any] = {"output": list(self._output)}
        details = response.incomplete_details
        if details is not None and details.reason in _REASONS:
            reason = _REASONS[details.reason]
            changed["incomplete_details"] = details.model_copy(update={"reason": reason})
        return response.model_copy(update=changed)

    def _ended(self, event: Event) -> Iterator[Event]:
        yield from self._closing(event.response)
        yield event.model_copy(update={"response": self._as_told(event.response)})

    def _closing(self, response: OpenAIResponseObject) -> Iterator[Event]:
        """Close what is still open, and tell what only the final response holds."""
        yield from self._end_of_thought(completed=response.status == "completed")
        yield from self._end_of_message(cut=response.status == "incomplete")
        if self._running is not None:
            yield from self._closed(_with_status(self._running, "incomplete"))
        for item in response.output:
            if item.type == "reasoning" and self._thought_before:
                continue
            if item.id not in self._indexes:
                yield from self._untold(item)

    def _untold(self, item: Item) -> Iterator[Event]:
        if item.type != "message":
            yield self._added(item)
            yield from self._closed(item)
            return
        yield from self._message_begins(item.id)
        for part in item.content:
            if part.text and self._message is not None:
                self._message.told.append(part.text)
                yield self._text_delta(self._message, part.text)
        yield from self._end_of_message(completed=True)

    def _created(self, event: Event) -> Iterator[Event]:
        self._response_id = event.response.id
        yield event

    def _step(self, event: Event) -> Iterator[Event]:
        """Tell a step of a tool call at its item's place."""
        index = self._indexes.get(getattr(event, "item_id", ""))
        yield event if index is None else _placed(event, event.item_id, index)

    def _said(self, event: Event) -> Iterator[Event]:
        yield from self._message_begins(event.item_id)
        yield from self.of(event)

    def _message_begins(self, item_id: str) -> Iterator[Event]:
        yield from self._end_of_thought(completed=True)
        yield from self._end_of_message()
        if item_id in self._indexes:
            item_id = f"msg_{uuid.uuid4()}"
        item = OpenAIResponseMessage(id=item_id, role="assistant", status="in_progress", content=[])
        yield self._added(item)
        self._message = _Text(item_id, self._indexes[item_id])
        part = OpenAIResponseContentPartOutputText(text="", logprobs=[])
        yield self._part(OpenAIResponseObjectStreamResponseContentPartAdded, self._message, part)

    def _end_of_text(self) -> Iterator[Event]:
        message = self._message
        if message is None or message.ended:
            return
        message.ended = True
        yield OutputTextDone(
            content_index=0,
            text=message.text,
            item_id=message.item_id,
            output_index=message.index,
            sequence_number=0,
        )
        part = OpenAIResponseContentPartOutputText(text=message.text, logprobs=[])
        yield self._part(OpenAIResponseObjectStreamResponseContentPartDone, message, part)

    def _end_of_message(self, *, completed: bool = False, cut: bool = False) -> Iterator[Event]:
        """Close the message; one that was cut off is incomplete."""
        message = self._message
        if message is None:
            return
        whole = (completed or message.ended) and not cut
        yield from self._end_of_text()
        self._message = None
        text = OpenAIResponseOutputMessageContentOutputText(text=message.text, logprobs=[])
        yield from self._closed(
            OpenAIResponseMessage(
                id=message.item_id,
                role="assistant",
                status="completed" if whole else "incomplete",
                content=[text],
            )
        )

    def _thinking(self, event: Event) -> Iterator[Event]:
        thought = self._thought
        if thought is None:
            thought = yield from self._thought_begins()
        thought.told.append(event.delta)
        event.content_index = 0
        yield _placed(event, thought.item_id, thought.index)

    def _thought_begins(self) -> Generator[Event, None, _Text]:
        if self._message is not None and self._message.ended:
            yield from self._end_of_message()
        self._thought_before = True
        item_id = f"rs_{uuid.uuid4().hex}"
        item = OpenAIResponseOutputMessageReasoningItem(
            id=item_id, summary=[], content=[], status="in_progress"
        )
        yield self._added(item)
        self._thought = _Text(item_id, self._indexes[item_id])
        part = OpenAIResponseContentPartReasoningText(text="")
        yield self._part(OpenAIResponseObjectStreamResponseContentPartAdded, self._thought, part)
        return self._thought

    def _thought_through(self, event: Event) -> Iterator[Event]:
        yield from self._end_of_thought(completed=True)

    def _end_of_thought(self, *, completed: bool) -> Iterator[Event]:
        thought, self._thought = self._thought, None
        if thought is None:
            return
        yield OpenAIResponseObjectStreamResponseReasoningTextDone(
            content_index=0,
            text=thought.text,
            item_id=thought.item_id,
            output_index=thought.index,
            sequence_number=0,
        )
        part = OpenAIResponseContentPartReasoningText(text=thought.text)
        yield self._part(OpenAIResponseObjectStreamResponseContentPartDone, thought, part)
        content = OpenAIResponseOutputMessageReasoningContent(text=thought.text)
        yield from self._closed(
            OpenAIResponseOutputMessageReasoningItem(
                id=thought.item_id,
                summary=[],
                content=[content],
                status="completed" if completed else "incomplete",
            )
        )

    def _part_done(self, event: Event) -> Iterator[Event]:
        if event.part.type == "output_text":
            yield from self._end_of_text()

    def _item_added(self, event: Event) -> Iterator[Event]:
        item = event.item
        if item.type == "function_call":
            return  # told whole once the loop has decided that it is the client's
        if item.type == "message":
            yield from self._message_begins(item.id)
            return
        yield from self._end_of_message()
        if item.type == "file_search_call":
            item = item.model_copy(update={"queries": [_query(q) for q in item.queries]})
        yield self._added(item)
        self._running = item
        if item.type == "mcp_list_tools":
            yield McpListToolsInProgress(
                item_id=item.id, output_index=self._indexes[item.id], sequence_number=0
            )

    def _item_done(self, event: Event) -> Iterator[Event]:
        item = event.item
        if item.type == "message":
            return  # told with the next event: only that one says whether the text was cut off
        yield from self._end_of_message()
        if item.type == "function_call":
            yield from self._function_call(item)
            return
        if item.id not in self._indexes:
            yield self._added(_with_status(item, "in_progress"))
        yield from self._closed(item)

    def _function_call(self, item: Item) -> Iterator[Event]:
        yield self._added(item.model_copy(update={"arguments": "", "status": "in_progress"}))
        at: dict[str, Any] = {
            "item_id": item.id,
            "output_index": self._indexes[item.id],
            "sequence_number": 0,
        }
        yield OpenAIResponseObjectStreamResponseFunctionCallArgumentsDelta(
            delta=item.arguments, **at
        )
        yield OpenAIResponseObjectStreamResponseFunctionCallArgumentsDone(
            arguments=item.arguments, **at
        )
        yield from self._closed(item)

    def _arguments_done(self, event: Event) -> Iterator[Event]:
        self._arguments[event.item_id] = event.arguments
        return self._nothing(event)

    def _mcp_call_in_progress(self, event: Event) -> Iterator[Event]:
        yield from self._step(event)
        at: dict[str, Any] = {
            "item_id": event.item_id,
            "output_index": self._indexes[event.item_id],
            "sequence_number": 0,
        }
        arguments = self._arguments.get(event.item_id, "")
        yield McpArgumentsDelta(delta=arguments, **at)
        yield McpArgumentsDone(arguments=arguments, **at)

    def _mcp_call_ended(self, event: Event) -> Iterator[Event]:
        completed = event.type == "response.mcp_call.completed"
        return self._running_step(McpCallCompleted if completed else McpCallFailed)

    def _mcp_list_tools_completed(self, event: Event) -> Iterator[Event]:
        return self._running_step(McpListToolsCompleted)

    def _running_step(self, kind: type[Any]) -> Iterator[Event]:
        """Tell a step of the item that is running: the loop runs one after the other."""
        item = self._running
        if item is not None:
            yield kind(item_id=item.id, output_index=self._indexes[item.id], sequence_number=0)

    def _nothing(self, event: Event) -> Iterator[Event]:
        """What this tells is told with its item."""
        return iter(())

    def _added(self, item: Item) -> Event:
        index = self._indexes[item.id] = len(self._output)
        self._output.append(item)
        return OpenAIResponseObjectStreamResponseOutputItemAdded(
            response_id=self._response_id, item=item, output_index=index, sequence_number=0
        )

    def _closed(self, item: Item) -> Iterator[Event]:
        index = self._indexes[item.id]
        self._output[index] = item
        if self._running is not None and self._running.id == item.id:
            self._running = None
        yield OpenAIResponseObjectStreamResponseOutputItemDone(
            response_id=self._response_id, item=item, output_index=index, sequence_number=0
        )

    def _part(self, kind: type[Any], text: _Text, part: Any) -> Event:  # Any: a content part
        return kind(
            content_index=0,
            response_id=self._response_id,
            item_id=text.item_id,
            output_index=text.index,
            part=part,
            sequence_number=0,
        )

    def _text_delta(self, message: _Text, text: str) -> Event:
        return OpenAIResponseObjectStreamResponseOutputTextDelta(
            content_index=0,
            delta=text,
            item_id=message.item_id,
            logprobs=[],
            output_index=message.index,
            sequence_number=0,
        )


def _placed(event: Event, item_id: str, index: int) -> Event:
    """Return the event at its item's place; it is nobody else's, and a copy of each would cost."""
    if event.output_index != index:
        event.output_index = index
    if event.item_id != item_id:
        event.item_id = item_id
    return event


def _with_status(item: Item, status: Literal["in_progress", "incomplete"]) -> Item:
    known = "status" in type(item).model_fields
    return item.model_copy(update={"status": status}) if known else item


def _query(arguments: str) -> str:
    """Return what is searched for; the loop tells the call's whole arguments."""
    try:
        return str(json.loads(arguments)["query"])
    except (ValueError, TypeError, KeyError):
        return arguments


_RETOLD: dict[str, Callable[[RepairedEvents, Event], Iterator[Event]]] = {
    "response.created": RepairedEvents._created,
    "response.output_item.added": RepairedEvents._item_added,
    "response.output_item.done": RepairedEvents._item_done,
    "response.content_part.added": RepairedEvents._nothing,
    "response.content_part.done": RepairedEvents._part_done,
    "response.output_text.delta": RepairedEvents._said,
    "response.reasoning_text.delta": RepairedEvents._thinking,
    "response.reasoning_text.done": RepairedEvents._thought_through,
    "response.function_call_arguments.delta": RepairedEvents._nothing,
    "response.function_call_arguments.done": RepairedEvents._arguments_done,
    "response.mcp_call.arguments.delta": RepairedEvents._nothing,
    "response.mcp_call.arguments.done": RepairedEvents._arguments_done,
    "response.mcp_call.in_progress": RepairedEvents._mcp_call_in_progress,
    "response.mcp_call.completed": RepairedEvents._mcp_call_ended,
    "response.mcp_call.failed": RepairedEvents._mcp_call_ended,
    "response.mcp_list_tools.in_progress": RepairedEvents._nothing,
    "response.mcp_list_tools.completed": RepairedEvents._mcp_list_tools_completed,
    **dict.fromkeys(TERMINAL, RepairedEvents._ended),
}
