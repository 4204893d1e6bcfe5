"""Responses that somebody cancels, and those that nobody will ever finish."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from llama_stack.core.request_headers import get_authenticated_user
from llama_stack.providers.inline.responses.builtin.responses import openai_responses as host
from llama_stack_api import (
    ConflictError,
    OpenAIResponseError,
    OpenAIResponseObject,
    ResponseNotFoundError,
)

from lightspeed_providers.core.errors import UnavailableError
from lightspeed_providers.core.principals import principal_of
from lightspeed_providers.responses.answering import Answers
from lightspeed_providers.responses.deadlines import after, within
from lightspeed_providers.responses.faults import as_error
from lightspeed_providers.responses.interrupting import Answer
from lightspeed_providers.responses.recording import FINAL

_QUEUE_FULL_S = 10
"""Seconds after which a client may try again to queue a response."""
_SPARE_S = 60
"""Seconds after its deadline in which a response may still be being written."""


class Cancelling:
    """Ends responses before their time: streamed, plain, and in the background."""

    def __init__(self, answers: Answers, loop: Any, longest_turn_s: float) -> None:
        self._answers = answers
        self._loop = loop  # Any: the stock loop's attributes are not a typed contract
        self._longest_turn_s = longest_turn_s
        # The profile's own deadline holds in the background too, with its own message.
        host.BACKGROUND_RESPONSE_TIMEOUT_SECONDS = None  # type: ignore[assignment]  # no limit
        loop._run_background_response_loop = self._within_deadline(
            loop._run_background_response_loop
        )

    async def cancelled(self, response_id: str) -> OpenAIResponseObject:
        """Cancel a response and return it; one that was cancelled before is returned as it is.

        Raises the host's errors: unknown, for others' responses too, or finished already.
        """
        answer = self._answers.answer_of(response_id)
        if answer is not None and answer.turn.user_id == principal_of(get_authenticated_user()):
            return await self._stopped(answer, response_id)  # at once, and stored or not
        found = await self._loop.responses_store.get_response_object(response_id)
        stored: OpenAIResponseObject = found.to_response_object()
        if stored.status == "cancelled":
            return stored
        if stored.status in FINAL:
            raise ConflictError(f"Response '{response_id}' is {stored.status} already.")
        if answer is not None:
            return await self._stopped(answer, response_id)
        # Of a response that is left over, another process may be the one that goes on with it.
        task = self._loop._background_response_tasks.get(response_id)
        if task is not None:
            task.cancel()
        return await self._write(response_id, {"status": "cancelled"})

    async def queued(self, queue: Callable[[], Awaitable[Any]]) -> OpenAIResponseObject:
        """Return a response that waits for its turn in the background, where there is room."""
        if self._loop._background_queue.full():
            raise UnavailableError(
                f"{host.BACKGROUND_QUEUE_MAX_SIZE} responses wait for their turn in the background "
                f"already: try again in {_QUEUE_FULL_S} seconds.",
                retry_after_s=_QUEUE_FULL_S,
            )
        response: OpenAIResponseObject = await queue()
        return response

    async def as_it_is(self, response: OpenAIResponseObject) -> OpenAIResponseObject:
        """Return a stored response; one that a server left behind as it stopped has failed.

        No server works on a response for longer than its deadline.
        """
        if response.status in FINAL or self._answers.turn_of(response.id) is not None:
            return response
        turns = 1
        if response.background:
            turns += host.BACKGROUND_QUEUE_MAX_SIZE // host.BACKGROUND_NUM_WORKERS
        if time.time() < response.created_at + turns * self._longest_turn_s + _SPARE_S:
            return response
        message = "The server stopped before the response was finished: ask again."
        error = OpenAIResponseError(code="server_error", message=message)
        failed = response.model_copy(update={"status": "failed", "error": error})
        await self._loop.responses_store.update_response_object(failed)
        return failed

    async def aclose(self) -> None:
        """Cancel what still waits for its turn in the background."""
        for response_id in self._answers.in_background:
            with suppress(ResponseNotFoundError):
                await self._write(response_id, {"status": "cancelled"})

    async def _stopped(self, answer: Answer, response_id: str) -> OpenAIResponseObject:
        ending = self._answers.cancelled(answer)
        if ending is None:
            raise ConflictError(f"Response '{response_id}' is finished already.")
        await asyncio.shield(ending)
        if answer.left is None:
            raise ResponseNotFoundError(response_id)
        return answer.left

    def _within_deadline(self, run: Callable[..., Awaitable[None]]) -> Callable[..., Any]:
        async def run_in_time(**request: Any) -> None:  # Any: as the host calls it
            turn = self._answers.turn_of(request["response_id"])
            if turn is None:  # cancelled while it was waiting
                return
            deadlines = turn.rules.deadlines
            try:
                await within(run(**request), after(deadlines.turn_s), deadlines.turn_late)
            except Exception as fault:
                error = as_error(fault, turn.model)
                told = OpenAIResponseError(code="server_error", message=str(error))
                with suppress(ResponseNotFoundError):  # it was deleted meanwhile
                    await self._write(request["response_id"], {"status": "failed", "error": told})
            self._answers.forget(request["response_id"])

        return run_in_time

    async def _write(self, response_id: str, changed: dict[str, Any]) -> OpenAIResponseObject:
        store = self._loop.responses_store
        stored = await store.get_response_object(response_id)
        response: OpenAIResponseObject = stored.to_response_object().model_copy(update=changed)
        await store.update_response_object(response)
        return response
