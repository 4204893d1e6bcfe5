"""Answers that are read in a task of their own, so that they end as one whole."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from llama_stack_api import OpenAIResponseObject

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.responses.events import TEXT, CitedEvents
from lightspeed_providers.responses.open_turn import OpenTurn

_AHEAD = 8  # events that are read before anybody asks for them
_ONE_BY_ONE = 8  # the first events, and with them the first text, wait for nothing that comes after


class CancelledError(LightspeedError):
    """Somebody asked for the answer to be cancelled."""

    def __init__(self) -> None:
        super().__init__("The response was cancelled.", status_code=409)


class Reading:
    """A stream that one task reads from its beginning to its end.

    A server that notices that a client has gone cancels whoever reads for it again and again, also
    while the connection to the model is being closed, which then stays open. This task is cancelled
    once, and it is the same one that opened what it closes.
    """

    def __init__(self, events: AsyncGenerator[Any]) -> None:  # Any: whatever is streamed
        self._events = events
        self._ahead: deque[Any] = deque()
        self._task: asyncio.Task[None] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._over = False
        self._fault: Exception | None = None
        self._stopped_by: LightspeedError | None = None

    async def next(self) -> Any:
        """Return the next event, None after the last; raises what the stream was stopped by."""
        if self._task is None and not self._over:
            self._task = asyncio.get_running_loop().create_task(self._read())
        while self._stopped_by is None and not self._ahead and not self._over:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if self._stopped_by is not None:
            raise self._stopped_by
        if self._ahead:
            event = self._ahead.popleft()
            _wake(self._room)
            return event
        if self._fault is not None:
            raise self._fault
        return None

    def stop(self, by: LightspeedError) -> None:
        """Stop reading; the reader is told by what."""
        if self._stopped_by is not None or self._over:
            return
        self._stopped_by = by
        if self._task is None:
            self._over = True
        else:
            self._task.cancel()
        _wake(self._reader)

    def unread(self) -> Iterator[Any]:
        """Yield, once, the events that were read and not asked for."""
        while self._ahead:
            yield self._ahead.popleft()

    def _noted(self, event: Any) -> None:
        """Take note of an event as it is read, before the stream goes on."""

    async def _read(self) -> None:
        read = 0
        try:
            async for event in self._events:
                self._noted(event)
                self._ahead.append(event)
                _wake(self._reader)
                read += 1
                if len(self._ahead) >= (1 if read <= _ONE_BY_ONE else _AHEAD):
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
        except Exception as fault:
            self._fault = fault
        finally:
            self._over = True
            _wake(self._reader)
            await self._events.aclose()


async def in_one_task(events: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
    """Yield the events of a stream that is read as one whole; it ends when nobody reads on."""
    reading = Reading(events)
    try:
        while (event := await reading.next()) is not None:
            yield event
    finally:
        reading.stop(CancelledError())


class Answer(Reading):
    """One answer of the stock loop while it is being given."""

    def __init__(
        self,
        events: AsyncGenerator[Any],
        turn: OpenTurn,
        begins: "Callable[[Answer, str], None]",
        *,
        stored: bool,
    ) -> None:
        self.told = CitedEvents()
        super().__init__(self.told.reading(events, lambda: turn.documents))
        self._begins = begins
        self.turn = turn
        self.stored = stored
        self.begun: OpenAIResponseObject | None = None
        self.is_open = True
        self.ending: asyncio.Task[list[Any]] | None = None
        """Ends the answer before its time; gives its last events."""
        self.left: OpenAIResponseObject | None = None
        """The response as it stands after that."""

    async def next(self) -> Any:
        """Return the next event; of texts that wait already, the last: they are told as one."""
        event = await super().next()
        while event is not None and event.type == TEXT and self._waiting_for_text():
            event = self._ahead.popleft()
            _wake(self._room)
        return event

    def _waiting_for_text(self) -> bool:
        return bool(self._ahead) and self._ahead[0].type == TEXT

    def _noted(self, event: Any) -> None:
        if event.type == "response.created":
            self.begun = event.response
            self._begins(self, event.response.id)


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
