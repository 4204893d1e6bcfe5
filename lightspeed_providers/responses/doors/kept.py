"""The cleared completions that the host keeps, as `GET /v1/chat/completions` shows them."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from llama_stack.core.task import (
    RequestContext,
    activate_request_context,
    capture_request_context,
    create_detached_background_task,
)
from llama_stack.log import get_logger
from llama_stack_api import OpenAIChatCompletion

from lightspeed_providers.responses.doors.asking import Asked

logger = get_logger(name=__name__, category="inference")

_WAITING = 1_000


@dataclass
class _Choice:
    index: int
    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)  # Any: JSON
    finish_reason: str = "stop"


class Assembled:
    """The completion that the chunks which left amount to."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._about: dict[str, Any] = {}  # Any: JSON

    def take(self, chunk: Any) -> None:  # Any: the host's chunks or an SDK's
        """Take a chunk that leaves."""
        for name in ("id", "created", "model"):
            self._about.setdefault(name, getattr(chunk, name, None))
        for each in chunk.choices or []:
            choice = self._choices.setdefault(each.index, _Choice(each.index))
            choice.text.append(each.delta.content or "")
            choice.refusal.append(getattr(each.delta, "refusal", None) or "")
            choice.calls += [_dumped(call) for call in each.delta.tool_calls or []]
            choice.finish_reason = each.finish_reason or choice.finish_reason

    @property
    def completion(self) -> OpenAIChatCompletion | None:
        """The completion, None where nothing has left."""
        if not self._choices:
            return None
        choices = [self._choices[n] for n in sorted(self._choices)]
        return OpenAIChatCompletion.model_validate(
            {**self._about, "choices": [_stored(choice) for choice in choices]}
        )


def _stored(choice: _Choice) -> dict[str, Any]:  # Any: JSON
    message = {
        "content": "".join(choice.text) or None,
        "refusal": "".join(choice.refusal) or None,
        "tool_calls": _whole_calls(choice.calls) or None,
    }
    return {"index": choice.index, "message": message, "finish_reason": choice.finish_reason}


def _whole_calls(pieces: list[Any]) -> list[Any]:  # Any: JSON
    """Return calls put together from their pieces; where shields look, they leave whole."""
    whole: dict[int, dict[str, Any]] = {}
    for number, piece in enumerate(pieces):
        index = piece.get("index")
        call = whole.setdefault(number if index is None else index, {"function": {}})
        call["id"] = call.get("id") or piece.get("id")
        function = piece.get("function") or {}
        for name in ("name", "arguments"):
            call["function"][name] = call["function"].get(name, "") + (function.get(name) or "")
    return [{"type": "function", **call} for call in whole.values()]


@dataclass(frozen=True)
class _Item:
    completion: Any  # Any: the host's or an SDK's
    messages: list[Any]  # Any: the host's messages
    asked_by: RequestContext


class Kept:
    """Writes completions after they have left, one after the other, each for who asked.

    The host starts a task for each; where the store is slower than the model, they pile up.
    """

    def __init__(self, store: Any) -> None:  # Any: the host's store, or none
        self._store = store
        self._items: deque[_Item] = deque()
        self._room = asyncio.Semaphore(_WAITING)
        self._writing: asyncio.Task[None] | None = None

    def takes(self, asked: Asked[Any]) -> bool:  # Any: the host's requests
        """Tell whether this request's completion is kept; a question that is refused is not."""
        wanted = (asked.request.model_extra or {}).get("store") is not False
        return self._store is not None and wanted and asked.refusal is None

    async def keep(self, completion: Any, messages: list[Any]) -> None:  # Any: as in `_Item`
        """Take a completion; where too many wait, wait too."""
        await self._room.acquire()
        self._items.append(_Item(completion, messages, capture_request_context()))
        if self._writing is None or self._writing.done():
            self._writing = create_detached_background_task(self._write())

    async def written(self) -> None:
        """Wait until all that was taken is written."""
        while self._writing is not None and not self._writing.done():
            await asyncio.shield(self._writing)

    async def _write(self) -> None:
        # It ends where nothing waits: the library client waits for every task of its loop.
        while self._items:
            item = self._items.popleft()
            try:
                with activate_request_context(item.asked_by):
                    await self._store.store_chat_completion(item.completion, item.messages)
            except Exception as fault:
                logger.error("Chat completion not kept", fault=type(fault).__name__)
            finally:
                self._room.release()


def _dumped(value: Any) -> Any:  # Any: pydantic models of the host or an SDK
    return value.model_dump() if hasattr(value, "model_dump") else value
