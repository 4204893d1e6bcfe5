"""The stock store of responses, with turns that can be taken out of it.

The stock loop reads what was said before, and at its end writes all of it back with its own part:
into the response, and into the messages of the conversation. Here a turn only adds: what it read
is compared, in the transaction that writes, with what is stored now. So a turn that was deleted
while another went on stays deleted, and two turns of a conversation don't undo each other.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from llama_stack.providers.inline.responses.builtin.responses.utils import (
    convert_response_input_to_chat_messages,
)
from llama_stack.providers.utils.responses.responses_store import (
    ResponsesStore,
)
from llama_stack.providers.utils.responses.responses_store import (
    # What `get_response_object` returns; the host has no public name for it.
    _OpenAIResponseObjectWithInputAndMessages as StoredResponse,
)
from llama_stack_api import (
    Files,
    OpenAIMessageParam,
    OpenAIResponseInput,
    OpenAIResponseObject,
    ResponseNotFoundError,
)
from pydantic import TypeAdapter

from lightspeed_providers.responses.host_rows import HostRows, Row, RowsAtOnce
from lightspeed_providers.responses.origins import (
    Item,
    Origins,
    bare,
    kept,
    marked,
    origin,
    without,
)

MESSAGES = "conversation_messages"
_MESSAGES: TypeAdapter[list[OpenAIMessageParam]] = TypeAdapter(list[OpenAIMessageParam])
_REMEMBERED = 1000  # responses; a turn is recorded long before so many others have been written


class GoingOn(Protocol):
    """What a turn that goes on tells about itself."""

    conversation_id: str | None
    previous_response_id: str | None
    input_items: int


@dataclass(frozen=True)
class _Link:
    """What a response continues, and how many of its last input items are its own."""

    conversation_id: str | None = None
    previous_response_id: str | None = None
    input_items: int | None = None


class HistoryStore:
    """The stock store of responses; each message and item in it says which turn it came with."""

    def __init__(
        self, store: ResponsesStore, going_on: Callable[[str], GoingOn | None], files: Files | None
    ) -> None:
        self._store = store
        self._files = files
        self._going_on = going_on
        self._origins = Origins()
        self._links: OrderedDict[str, _Link] = OrderedDict()
        self.rows = HostRows(store.sql_store)
        self.table: str = store.reference.table_name

    def __getattr__(self, name: str) -> Any:  # Any: whatever the stock store offers
        return getattr(self._store, name)

    def continuing(self, response_id: str, conversation_id: str | None) -> set[str]:
        """Return the latest responses that hold texts of this one, recorded or still going on."""
        found = {response_id}
        for later, link in self._links.items():  # oldest first: who continues comes after
            in_conversation = conversation_id and link.conversation_id == conversation_id
            if in_conversation or link.previous_response_id in found:
                found.add(later)
        return found - {response_id}

    async def get_response_object(self, response_id: str) -> StoredResponse:
        """Return a stored response with what was said until its end."""
        row = await self._store.sql_store.fetch_one(self.table, where={"id": response_id})
        if row is None:
            raise ResponseNotFoundError(response_id)
        data = row["response_object"]
        items, messages = data.get("input") or [], data.get("messages") or []
        response = StoredResponse(**{**data, "input": bare(items), "messages": bare(messages)})
        if messages:
            self._note(response.messages or [], messages)
        elif response.status not in ("queued", "in_progress"):  # those can't be continued
            response.messages = await self._said(response, items)
        return response

    async def get_conversation_messages(
        self, conversation_id: str
    ) -> list[OpenAIMessageParam] | None:
        """Return what was said in a conversation."""
        row = await self._store.sql_store.fetch_one(
            MESSAGES, where={"conversation_id": conversation_id}
        )
        if row is None:
            return None
        messages = _MESSAGES.validate_python(bare(row["messages"]))
        self._note(messages, row["messages"])
        return messages

    async def store_response_object(
        self,
        response_object: OpenAIResponseObject,
        input: list[OpenAIResponseInput],
        messages: Sequence[OpenAIMessageParam],
    ) -> None:
        """Write a response that waits for its turn."""
        await self.upsert_response_object(response_object, input, messages)

    async def upsert_response_object(
        self,
        response_object: OpenAIResponseObject,
        input: list[OpenAIResponseInput],
        messages: Sequence[OpenAIMessageParam],
    ) -> None:
        """Write a response as it stands, without what has been deleted since it began."""
        response_id = response_object.id
        link = self._link(response_id)
        items = [item.model_dump() for item in input]
        first = 0 if link.input_items is None else len(items) - link.input_items
        for message in messages:
            if self._origins.of(message) is None:
                self._origins.note(message, response_id)
        said = [self._dumped(message) for message in messages]
        data = response_object.model_dump()
        final = response_object.status in ("completed", "incomplete")

        def write(rows: RowsAtOnce) -> None:
            earlier, may_stay = _earlier(rows, self.table, response_id, link, items[:first])
            data["input"] = [*earlier, *marked(items[first:], response_id)]
            data["messages"] = kept(said, lambda mark: mark == response_id or may_stay(mark))
            row = {
                "id": response_id,
                "created_at": data["created_at"],
                "model": data["model"],
                "response_object": data,
            }
            rows.put(self.table, row, key="id", updating="response_object")
            if link.conversation_id and final:
                _add_to_conversation(rows, link.conversation_id, response_id, said)

        await self.rows.changed(write)

    async def update_response_object(self, response_object: OpenAIResponseObject) -> None:
        """Write a changed response; what was said stays as it is stored."""
        data = response_object.model_dump()

        def write(rows: RowsAtOnce) -> None:
            row = rows.one(self.table, id=response_object.id)
            if row is None:
                raise ResponseNotFoundError(response_object.id)
            said = {name: row["response_object"].get(name) or [] for name in ("input", "messages")}
            changed = {"response_object": {**data, **said}}
            rows.update(self.table, changed, id=response_object.id)

        await self.rows.changed(write)

    async def store_conversation_messages(
        self, conversation_id: str, messages: Sequence[OpenAIMessageParam]
    ) -> None:
        """Do nothing: they were written with the response that ended the turn.

        The stock loop writes them after the conversation's items. A turn that comes in between
        would make its history of the items, and nobody would know whose words they were.
        """

    def _link(self, response_id: str) -> _Link:
        turn = self._going_on(response_id)
        if turn is not None:
            self._links[response_id] = _Link(
                turn.conversation_id, turn.previous_response_id, turn.input_items
            )
            while len(self._links) > _REMEMBERED:
                self._links.popitem(last=False)
        return self._links.get(response_id, _Link())

    def _note(self, messages: Sequence[OpenAIMessageParam], stored: Sequence[Item]) -> None:
        for message, item in zip(messages, stored, strict=True):
            self._origins.note(message, origin(item))

    def _dumped(self, message: OpenAIMessageParam) -> Item:
        return marked([message.model_dump()], self._origins.of(message) or "")[0]

    async def _said(
        self, response: StoredResponse, items: Sequence[Item]
    ) -> list[OpenAIMessageParam]:
        """Return messages made of items, where a turn was cancelled before it had written any.

        The stock loop makes them too, of all items at once: then nobody knows whose they are.
        """
        origins = [origin(item) for item in items] + [response.id] * len(response.output)
        of_items = zip(origins, [*response.input, *response.output], strict=True)
        said: list[OpenAIMessageParam] = []
        for response_id, group in groupby(of_items, key=lambda pair: pair[0]):
            part = await convert_response_input_to_chat_messages(
                [item for _, item in group], previous_messages=said, files_api=self._files
            )
            for message in part:
                self._origins.note(message, response_id)
            said += part
        return said


def _add_to_conversation(
    rows: RowsAtOnce, conversation_id: str, response_id: str, messages: Sequence[Item]
) -> None:
    """Add a turn's own messages to its conversation, unless that was deleted meanwhile."""
    own = [message for message in messages if origin(message) == response_id]
    row = rows.one(MESSAGES, conversation_id=conversation_id)
    if row is None and len(own) < len(messages):
        return
    if row is None:
        empty: Row = {"conversation_id": conversation_id, "messages": []}
        rows.put(MESSAGES, empty, key="conversation_id", updating=None)
        row = rows.one(MESSAGES, conversation_id=conversation_id) or empty
    said = [*without(row["messages"], response_id), *own]
    rows.update(MESSAGES, {"messages": said}, conversation_id=conversation_id)


def _earlier(
    rows: RowsAtOnce, table: str, response_id: str, link: _Link, read: list[Item]
) -> tuple[list[Item], Callable[[str], bool]]:
    """Return the earlier items as they are stored now, and whose messages may stay."""
    if link.conversation_id:
        row = rows.one(MESSAGES, conversation_id=link.conversation_id)
        stored = {origin(message) for message in row["messages"]} if row else set()
        return read, stored.__contains__
    previous = link.previous_response_id
    if previous is None:
        return [], lambda _: False
    # Both in the order in which deleting locks them.
    found = {each: rows.one(table, id=each) for each in sorted({previous, response_id})}
    row = found[previous]
    if row is not None:
        data = row["response_object"]
        items = [*data["input"], *marked(data["output"], previous)]
        stored = {origin(item) for item in (*items, *(data.get("messages") or []))}
        return items, stored.__contains__
    # It was deleted after this turn had read it; what it continued is known from here only.
    row = found[response_id]
    items = row["response_object"]["input"] if row else []
    return without(without(items, previous), response_id), lambda mark: mark != previous
