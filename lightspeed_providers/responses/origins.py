"""Which turn a stored message or item came with, so that a turn can be taken out again."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

MARK = "lightspeed_response"
"""Key, in each stored message and item, of the id of the response that it came with."""

Item = dict[str, Any]  # Any: a message or item as the host dumps it


def marked(items: Iterable[Item], response_id: str) -> list[Item]:
    """Return items that came with this response."""
    return [{**item, MARK: response_id} for item in items]


def bare(items: Iterable[Item]) -> list[Item]:
    """Return items without their marks, as models and clients may get them."""
    return [{key: value for key, value in item.items() if key != MARK} for item in items]


def origin(item: Item) -> str:
    """Return the id of the response an item came with, empty where it has no mark."""
    return str(item.get(MARK, ""))


def without(items: Iterable[Item], response_id: str) -> list[Item]:
    """Return the items that did not come with this response."""
    return [item for item in items if origin(item) != response_id]


def kept(messages: Iterable[Item], may_stay: Callable[[str], bool]) -> list[Item]:
    """Return the messages whose origin may stay, as a talk that models take.

    A tool's result without its call goes too, and a call that has lost its result: models refuse
    both. The last call may still wait for its result.
    """
    all_messages = list(messages)
    staying = [message for message in all_messages if may_stay(origin(message))]
    if len(staying) == len(all_messages):
        return staying
    answered = {message.get("tool_call_id") for message in staying if message["role"] == "tool"}
    waiting = max((n for n, m in enumerate(staying) if m["role"] != "tool"), default=0)
    whole = [
        message
        for place, message in enumerate(staying)
        if place == waiting or _calls(message) <= answered
    ]
    called = {call for message in whole for call in _calls(message)}
    return [m for m in whole if m["role"] != "tool" or m.get("tool_call_id") in called]


def _calls(message: Item) -> set[str | None]:
    return {call.get("id") for call in message.get("tool_calls") or []}


class Origins:
    """Remembers where messages came from as long as somebody holds them.

    The stock loop keeps the messages it read and appends its own, and the host's classes have no
    place for a mark: some would send it to the model, others drop it.
    """

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def note(self, message: object, response_id: str) -> None:
        """Remember the response that a message came with."""
        self._known[id(message)] = response_id
        weakref.finalize(message, self._known.pop, id(message), None).atexit = False

    def of(self, message: object) -> str | None:
        """Return the response that a message came with, None for a new one."""
        return self._known.get(id(message))
