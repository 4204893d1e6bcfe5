"""The stock loop's events on their way to the client: cited, recorded, with honest faults."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

from llama_stack.log import get_logger
from llama_stack_api import (
    OpenAIResponseError,
    OpenAIResponseIncompleteDetails,
    OpenAIResponseObject,
    OpenAIResponseObjectStreamResponseFailed,
    OpenAIResponseObjectStreamResponseIncomplete,
)

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.core.turns import Outcome
from lightspeed_providers.responses.deadlines import after
from lightspeed_providers.responses.events import TERMINAL, CitedEvents
from lightspeed_providers.responses.faults import as_error
from lightspeed_providers.responses.history import HistoryStore
from lightspeed_providers.responses.interrupting import Answer, CancelledError
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.recording import FINAL, Recorder
from lightspeed_providers.responses.searching import searching_for
from lightspeed_providers.responses.threads import Threads
from lightspeed_providers.responses.tool_use import tool_statuses

logger = get_logger(name=__name__, category="openai_responses")

_WITHOUT_CONTENT = frozenset({"response.created", "response.in_progress"})
_FAILED_CODES = frozenset({"server_error", "rate_limit_exceeded"})


class Answers:
    """The turns that go on, by their response's id, and what leaves of them."""

    def __init__(self, recorder: Recorder, threads: Threads) -> None:
        self._recorder = recorder
        self._threads = threads
        self._going_on: dict[str, OpenTurn] = {}
        self._answers: dict[str, Answer] = {}
        self.store: HistoryStore | None = None
        """Where answers that end before their time are written."""

    def turn_of(self, response_id: str) -> OpenTurn | None:
        """Return the open turn that a response belongs to."""
        return self._going_on.get(response_id)

    def answer_of(self, response_id: str) -> Answer | None:
        """Return the answer that is being given as a response, unless in the background."""
        return self._answers.get(response_id)

    def end_all(self) -> None:
        """End the answers that are being given, but for those in the background."""
        for answer in list(self._answers.values()):
            self.cancelled(answer)

    @property
    def in_background(self) -> list[str]:
        """The responses that are queued or given in the background."""
        return [name for name, turn in self._going_on.items() if turn.in_background]

    def begun(self, turn: OpenTurn, response_id: str) -> None:
        """Note which response a turn gives."""
        turn.response_id = response_id
        self._threads.note(response_id, turn.thread)
        self._going_on[response_id] = turn

    def forget(self, response_id: str) -> None:
        """Note that a response is not being given any more."""
        self._going_on.pop(response_id, None)
        self._answers.pop(response_id, None)

    async def governed(
        self, events: AsyncGenerator[Any], turn: OpenTurn, *, recorded: bool, until: float
    ) -> AsyncGenerator[Any]:  # Any: one of the host's event classes
        """Yield the stock loop's events, cited; the turn is recorded before its last event.

        What fails or is cancelled after the first one ends with a last event as well.
        """
        answer = Answer(searching_for(turn, events), turn, self._begins, stored=recorded)
        deadline = asyncio.get_running_loop().call_at(
            until, lambda: answer.stop(turn.rules.deadlines.turn_late())
        )
        try:
            while (event := await answer.next()) is not None:
                if event.type in TERMINAL:
                    await self._ends(answer, event.response)
                for out in list(answer.told.of(event, turn.documents)):
                    yield _marked_event(out, turn)
        except Exception as fault:
            error = as_error(fault, turn.model)
            if not isinstance(error, CancelledError):
                turn.fault = error
            last = await asyncio.shield(self.ended(answer, error))
            if not last:
                raise error from fault
            for out in last:
                yield out
        finally:
            deadline.cancel()
            answer.stop(CancelledError())
            self.forget(turn.response_id or "")
            if answer.is_open:
                self.ended(answer, CancelledError())

    def ended(self, answer: Answer, by: LightspeedError) -> asyncio.Task[list[Any]]:
        """End an answer before its time, once; gives the last events for its reader."""
        if answer.ending is None:
            answer.is_open = False
            answer.ending = self._recorder.later(self._ended(answer, by))
        return answer.ending

    def cancelled(self, answer: Answer) -> asyncio.Task[list[Any]] | None:
        """End an answer at once; None for one that has come to its own end."""
        if not answer.is_open and answer.ending is None:
            return None
        by = CancelledError()
        ending = self.ended(answer, by)
        answer.stop(by)
        return ending

    def _begins(self, answer: Answer, response_id: str) -> None:
        """Note an answer before the stock loop stores any of it: the store asks whose it is."""
        self.begun(answer.turn, response_id)
        self._answers[response_id] = answer

    async def _ends(self, answer: Answer, response: OpenAIResponseObject) -> None:
        if answer.is_open:
            answer.is_open = False
            if answer.stored:
                await self._recorder.ended(answer.turn, response)

    async def _ended(self, answer: Answer, by: LightspeedError) -> list[Any]:
        """Record and store an answer that was cut off, and return the last events of its stream."""
        turn, last = answer.turn, []
        cancelled = isinstance(by, CancelledError)
        if answer.begun is not None:
            final = _incomplete(answer.begun) if cancelled else _failed(answer.begun, by)
            unread = [event for event in answer.unread() if event.type not in TERMINAL]
            for event in (*unread, final):
                last += [_marked_event(e, turn) for e in answer.told.of(event, turn.documents)]
            response = last[-1].response
            answer.left = as_cancelled(response) if cancelled else response
            turn.tools.ended(tool_statuses(response))
        if answer.stored:
            outcome = Outcome.INTERRUPTED if cancelled else Outcome.ERROR
            await self._recorder.record(turn, outcome, None if cancelled else str(by))
            await self._write(answer.left)
        return last

    async def _write(self, response: OpenAIResponseObject | None) -> None:
        if response is None or self.store is None:
            return
        try:
            await self.store.update_response_object(response)
        except Exception as fault:  # it was deleted meanwhile, or the database is gone
            kind = type(fault).__name__
            logger.warning("Response not stored", response_id=response.id, fault=kind)

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
        if response.background or response.status == "cancelled":
            self.forget(response.id)
        answer = self._answers.get(response.id)
        told = answer.told if answer is not None else CitedEvents()
        return _marked(told.final(response, turn.documents), turn)


def as_cancelled(response: OpenAIResponseObject) -> OpenAIResponseObject:
    """Return a response as it is stored once it was cancelled."""
    return response.model_copy(update={"status": "cancelled", "incomplete_details": None})


def _incomplete(begun: OpenAIResponseObject) -> OpenAIResponseObjectStreamResponseIncomplete:
    """Return the last event of a cancelled stream: OpenAI has none of its own."""
    details = OpenAIResponseIncompleteDetails(reason=CANCELLED)
    update = {"status": "incomplete", "incomplete_details": details}
    return OpenAIResponseObjectStreamResponseIncomplete(
        response=begun.model_copy(update=update), sequence_number=0
    )


CANCELLED = "cancelled"
"""Why a stream that somebody cancelled is incomplete."""


def _failed(
    begun: OpenAIResponseObject, error: LightspeedError
) -> OpenAIResponseObjectStreamResponseFailed:
    code = error.code if error.code in _FAILED_CODES else "server_error"
    update = {"status": "failed", "error": OpenAIResponseError(code=code, message=str(error))}
    return OpenAIResponseObjectStreamResponseFailed(
        response=begun.model_copy(update=update), sequence_number=0
    )


def _marked(response: OpenAIResponseObject, turn: OpenTurn) -> OpenAIResponseObject:
    """Return the response with what programs may read about its outcome."""
    marks = turn.marks
    if not marks:
        return response
    return response.model_copy(update={"metadata": {**(response.metadata or {}), **marks}})


def _marked_event(event: Any, turn: OpenTurn) -> Any:  # Any: one of the host's event classes
    if not turn.marks or event.type not in TERMINAL:
        return event
    return event.model_copy(update={"response": _marked(event.response, turn)})


async def begun(
    events: AsyncGenerator[Any], turn: OpenTurn, hold_s: float
) -> AsyncIterator[Any]:  # Any: as above
    """Return the events once one of them shows that the model answers: a fault before is raised.

    So it becomes an HTTP status, not a 200. Events without content are held for so long at most;
    what comes after is never held.
    """
    held = [_told(await anext(events, None), turn)]
    reading: asyncio.Task[Any] | None = None
    until = after(hold_s)
    try:
        while held[-1].type in _WITHOUT_CONTENT:
            reading = asyncio.ensure_future(anext(events, None))
            await asyncio.wait({reading}, timeout=max(0.0, until - after(0)))
            if not reading.done():
                break
            held.append(_told(reading.result(), turn))
            reading = None
    except BaseException:
        await _closed_with(events, reading)
        raise
    if held[-1].type == "response.failed":
        await events.aclose()
        raise fault_in(held[-1], turn)

    async def all_events() -> AsyncIterator[Any]:
        try:
            for event in held:
                yield event
            if reading is not None and (first := await reading) is not None:
                yield first
            async for event in events:
                yield event
        finally:
            await _closed_with(events, reading)

    return all_events()


def _told(event: Any, turn: OpenTurn) -> Any:  # Any: as above
    """Return an event; raise where there is none: no stream is empty."""
    if event is None:
        raise as_error(None, turn.model)
    return event


async def _closed_with(events: AsyncGenerator[Any], reading: asyncio.Task[Any] | None) -> None:
    """Close events that a task may still be reading."""
    if reading is not None and not reading.done():
        reading.cancel()
        await asyncio.wait({reading})
    await events.aclose()


async def last_response(events: AsyncGenerator[Any], turn: OpenTurn) -> OpenAIResponseObject:
    """Return the final response of a stream, or raise what failed it."""
    try:
        async for event in events:
            if event.type == "response.failed":
                raise fault_in(event, turn)
            if event.type in TERMINAL:
                response = cast(OpenAIResponseObject, event.response)
                details = response.incomplete_details
                if details is not None and details.reason == CANCELLED:
                    return as_cancelled(response)
                return response
    finally:
        await events.aclose()
    raise as_error(None, turn.model)


def fault_in(event: Any, turn: OpenTurn) -> LightspeedError:  # Any: as above
    """Return what failed a response, as its client is told without a stream."""
    if turn.fault is not None:
        return turn.fault
    error = event.response.error
    return LightspeedError(error.message) if error else as_error(None, turn.model)
