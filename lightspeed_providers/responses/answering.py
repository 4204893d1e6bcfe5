"""The stock loop's events on their way to the client: cited, recorded, with honest faults."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from llama_stack_api import OpenAIResponseObject

from lightspeed_providers.core.turns import Outcome
from lightspeed_providers.responses.events import TERMINAL, CitedEvents, cited_response
from lightspeed_providers.responses.faults import as_error
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.recording import FINAL, Recorder
from lightspeed_providers.responses.threads import Threads


class Answers:
    """The turns that go on, by their response's id, and what leaves of them."""

    def __init__(self, recorder: Recorder, threads: Threads) -> None:
        self._recorder = recorder
        self._threads = threads
        self._going_on: dict[str, OpenTurn] = {}

    def turn_of(self, response_id: str) -> OpenTurn | None:
        """Return the open turn that a response belongs to."""
        return self._going_on.get(response_id)

    def begun(self, turn: OpenTurn, response_id: str) -> None:
        """Note which response a turn gives."""
        turn.response_id = response_id
        self._threads.note(response_id, turn.thread)
        self._going_on[response_id] = turn

    async def governed(
        self, events: AsyncIterator[Any], turn: OpenTurn, *, recorded: bool
    ) -> AsyncGenerator[Any]:  # Any: one of the host's event classes
        """Yield the stock loop's events, cited; the turn is recorded before its last event."""
        cited = CitedEvents()
        open_ = recorded
        try:
            async for event in events:
                if event.type == "response.created":
                    self.begun(turn, event.response.id)
                if event.type in TERMINAL and open_:
                    open_ = False
                    await self._recorder.ended(turn, event.response)
                for out in cited.of(event, turn.documents):
                    yield out
        except Exception as fault:
            error = as_error(fault, turn.model)
            if open_:
                open_ = False
                await self._recorder.record(turn, Outcome.ERROR, str(error))
            raise error from fault
        finally:
            self._going_on.pop(turn.response_id or "", None)
            if open_:
                self._recorder.interrupted(turn)

    async def stored(self, response: OpenAIResponseObject) -> OpenAIResponseObject:
        """Return what the store writes for a response: a final one is cited.

        A background answer is recorded here, before its final state can be read; the stock loop
        writes that state twice, the second time as a background response.
        """
        turn = self._going_on.get(response.id)
        if turn is None or response.status not in FINAL:
            return response
        if turn.in_background and not turn.recorded:
            turn.recorded = True
            await self._recorder.ended(turn, response)
        if response.background:
            del self._going_on[response.id]
        return cited_response(response, turn.documents)


async def begun(events: AsyncGenerator[Any], turn: OpenTurn) -> AsyncIterator[Any]:
    """Return the events once the first has come: a fault before it is an HTTP status, not a 200."""
    first = await anext(events, None)
    if first is None:
        raise as_error(None, turn.model)

    async def all_events() -> AsyncIterator[Any]:
        async with aclosing(events):
            yield first
            async for event in events:
                yield event

    return all_events()


async def last_response(events: AsyncGenerator[Any], turn: OpenTurn) -> OpenAIResponseObject:
    """Return the final response of a stream, or raise what failed it."""
    async with aclosing(events):
        async for event in events:
            if event.type == "response.failed":
                raise turn.fault or as_error(None, turn.model)
            if event.type in TERMINAL:
                return cast(OpenAIResponseObject, event.response)
    raise as_error(None, turn.model)
