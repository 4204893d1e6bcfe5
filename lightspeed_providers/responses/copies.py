"""What Llama Stack itself keeps of a turn, deleted with it."""

from collections.abc import Sequence
from typing import Any

from llama_stack.log import get_logger
from llama_stack_api import (
    ConversationNotFoundError,
    GetConversationRequest,
    InvalidParameterError,
)

from lightspeed_providers.responses.history import MESSAGES, HistoryStore
from lightspeed_providers.responses.host_rows import HostRows, Row
from lightspeed_providers.responses.origins import MARK, Item, kept, origin, without
from lightspeed_providers.responses.titles import CONVERSATIONS, without_title_of

logger = get_logger(name=__name__, category="openai_responses")

ITEMS = "conversation_items"
_AT_ONCE = 10  # later responses; turns that go on wait while some are changed


class Copies:
    """The responses and conversations of this stack, as far as they hold texts of turns.

    Whoever calls it has checked who may: it deletes anybody's.
    """

    def __init__(self, history: HistoryStore, conversations: Any) -> None:
        self._history = history
        self._conversations = conversations  # Any: the host's service, whose store is no contract
        self._conversation_rows = HostRows(conversations.sql_store)

    async def forget_turn(
        self, response_id: str, conversation_id: str | None, later_response_ids: Sequence[str]
    ) -> None:
        """Remove the response, its items in the conversation, and its texts in later responses."""
        history = self._history
        # First: what tells a turn's items from others is in its response, which goes last.
        if conversation_id:
            await self._forget_items(response_id, conversation_id)
            await self._forget_title(response_id, conversation_id)
            async with history.rows.transaction() as rows:
                row = await rows.one(MESSAGES, conversation_id=conversation_id)
                if row is not None:
                    said = {"messages": _messages_without(row["messages"], response_id)}
                    await rows.update(MESSAGES, said, conversation_id=conversation_id)
        done = {response_id}
        # Asked again each time: a turn may have begun meanwhile.
        while (
            later := history.continuing(response_id, conversation_id).union(later_response_ids)
            - done
        ):
            some = sorted(later)[:_AT_ONCE]
            await self._forget_in(some, response_id)
            done.update(some)
        async with history.rows.transaction() as rows:
            await rows.delete(history.table, id=response_id)
        await self._empty_logs()

    async def _forget_in(self, later: Sequence[str], response_id: str) -> None:
        """Remove a turn's texts from a few later responses."""
        table = self._history.table
        async with self._history.rows.transaction() as rows:
            for each in later:  # sorted, as turns that go on lock them
                row = await rows.one(table, id=each)
                if row is not None:
                    data = _response_without(row["response_object"], response_id)
                    await rows.update(table, {"response_object": data}, id=each)

    async def forget_conversation(self, conversation_id: str, response_ids: Sequence[str]) -> None:
        """Remove the conversation with its items and these responses."""
        history = self._history
        async with self._conversation_rows.transaction() as rows:
            await rows.delete(ITEMS, conversation_id=conversation_id)
            await rows.delete(CONVERSATIONS, id=conversation_id)
        async with history.rows.transaction() as rows:
            await rows.delete(MESSAGES, conversation_id=conversation_id)
            for response_id in sorted(response_ids):
                await rows.delete(history.table, id=response_id)
        await self._empty_logs()

    async def may_use_conversation(self, conversation_id: str) -> bool:
        """Whether the conversation exists and the request's user may use it."""
        request = GetConversationRequest(conversation_id=conversation_id)
        try:
            await self._conversations.get_conversation(request)
        except (ConversationNotFoundError, InvalidParameterError):
            return False
        return True

    async def _empty_logs(self) -> None:
        emptied = [await r.empty_log() for r in (self._history.rows, self._conversation_rows)]
        if not all(emptied):
            logger.info("Deleted texts stay in SQLite's log until it is emptied the next time")

    async def _forget_title(self, response_id: str, conversation_id: str) -> None:
        """Remove the title that the conversation got from this turn."""
        async with self._conversation_rows.transaction() as rows:
            row = await rows.one(CONVERSATIONS, id=conversation_id)
            if row is not None:
                metadata = without_title_of(row["metadata"], response_id)
                if metadata != row["metadata"]:
                    await rows.update(CONVERSATIONS, {"metadata": metadata}, id=conversation_id)

    async def _forget_items(self, response_id: str, conversation_id: str) -> None:
        """Remove what a turn added to its conversation: its input and its output."""
        async with self._history.rows.transaction() as rows:
            row = await rows.one(self._history.table, id=response_id)
        if row is None:
            return
        async with self._conversation_rows.transaction() as rows:
            items = await rows.all(ITEMS, conversation_id=conversation_id)
            for item_id in added_items(row["response_object"], items):
                await rows.delete(ITEMS, id=item_id, conversation_id=conversation_id)


def _response_without(response: Item, response_id: str) -> Item:
    """Return a stored response that no longer holds texts of an earlier one."""
    return {
        **response,
        "input": without(response.get("input") or [], response_id),
        "messages": _messages_without(response.get("messages") or [], response_id),
    }


def _messages_without(messages: Sequence[Item], response_id: str) -> list[Item]:
    return kept(messages, lambda mark: mark != response_id)


def added_items(response: Item, items: Sequence[Row]) -> list[str]:
    """Return the ids of the conversation items that came with a response.

    Output keeps its ids. Input has none of its own: of items with the same content the one that
    was written just before the output is meant (the host counts up a second per item).
    """
    output = {item.get("id") for item in response.get("output") or []}
    found = {row["id"]: row for row in items if row["id"] in output}
    asked = [item for item in response.get("input") or [] if origin(item) == response["id"]]
    began = min((row["created_at"] for row in found.values()), default=response["created_at"])
    for place, item in enumerate(asked):
        expected = began - len(asked) + place
        same = [r for r in items if r["id"] not in found and _same(r["item_data"], item)]
        if same:
            nearest = min(same, key=lambda row: abs(row["created_at"] - expected))
            found[nearest["id"]] = nearest
    return list(found)


def _same(item: Item, other: Item) -> bool:
    """Whether two items say the same; ids and marks are given where they are stored."""
    ignored = {"id", MARK}
    return {k: v for k, v in item.items() if k not in ignored} == {
        k: v for k, v in other.items() if k not in ignored
    }
