"""`inline::lightspeed-responses`: the stock Responses API with this product's rules around it."""

import asyncio
import copy
from collections.abc import AsyncIterator, Coroutine
from typing import Any, cast

from llama_stack.providers.inline.responses.builtin import get_provider_impl as stock_provider
from llama_stack.providers.inline.responses.builtin.config import BuiltinResponsesImplConfig
from llama_stack_api import (
    Api,
    CancelResponseRequest,
    CreateResponseRequest,
    DeleteResponseRequest,
    ListOpenAIResponseInputItem,
    ListOpenAIResponseObject,
    ListResponseInputItemsRequest,
    ListResponsesRequest,
    OpenAIDeleteResponseObject,
    OpenAIResponseObject,
    OpenAIResponseObjectStream,
    OpenAIUserMessageParam,
    Responses,
    RetrieveResponseRequest,
)

from lightspeed_providers.core.errors import ConfigurationError, UnavailableError
from lightspeed_providers.core.turns import Outcome, TurnSink
from lightspeed_providers.core.verdicts import Direction, ShieldRunner
from lightspeed_providers.responses.admission import NOT_SCREENED, Admission
from lightspeed_providers.responses.answering import Answers, begun, last_response
from lightspeed_providers.responses.config import LightspeedResponsesConfig
from lightspeed_providers.responses.copies import Copies
from lightspeed_providers.responses.faults import as_error
from lightspeed_providers.responses.guarded import TURN, GuardedInference
from lightspeed_providers.responses.history import HistoryStore
from lightspeed_providers.responses.input_guard import InputGuard
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.profiles.choosing import Profiles
from lightspeed_providers.responses.recording import Recorder
from lightspeed_providers.responses.request_texts import (
    InputText,
    attachments_of,
    client_results,
    input_texts,
    question_of,
    text_of,
)
from lightspeed_providers.responses.retrieving import Retrieving
from lightspeed_providers.responses.store import CitedResponsesStore
from lightspeed_providers.responses.threads import Threads
from lightspeed_providers.responses.to_model import ClearedTexts

_HISTORY = 4  # earlier questions that a shield may need to judge a follow-up


class LightspeedResponsesImpl(Responses):
    """Admits, prompts, guards and retrieves; the stock provider answers; the turn is recorded."""

    def __init__(
        self, config: LightspeedResponsesConfig, deps: dict[Api, Any], policy: list[Any]
    ) -> None:
        self.config = config
        self.profiles = Profiles(config.profiles, config.default_profile)
        self._deps = deps
        self._policy = policy
        self._stock: Any = None  # Any: the stock provider's attributes are not a typed contract
        self._cleared = ClearedTexts()
        threads = Threads()
        self._admission = Admission(config, self.profiles, deps, threads)
        self._guard = InputGuard(self._cleared)
        self._retrieving = Retrieving(deps, self._guard)
        self._recorder = Recorder(cast(TurnSink | None, deps.get(Api("transcripts"))))
        self._answers = Answers(self._recorder, threads)

    async def initialize(self) -> None:
        """Build the stock provider over decorated dependencies.

        Raises a `ConfigurationError` where no provider enforces shields, or a profile names one
        that does not exist.
        """
        self._check_shields()
        # A copy that keeps no chat completions: what the loop asks and gets is stored as the
        # response and as the turn already.
        inference = copy.copy(self._deps[Api.inference])
        inference.store = None
        guarded = GuardedInference(inference, self.config.checkpoint_chars, self._cleared)
        stock_config = BuiltinResponsesImplConfig(
            persistence=self.config.persistence,
            vector_stores_config=self.config.vector_stores_config,
        )
        self._stock = await stock_provider(
            stock_config, {**self._deps, Api.inference: guarded}, self._policy
        )
        loop = self._stock.openai_responses_impl
        history = HistoryStore(loop.responses_store, self._answers.turn_of, loop.files_api)
        loop.responses_store = CitedResponsesStore(history, self._answers.stored)
        sink = self._recorder.sink
        if sink is not None:
            sink.copies_are_kept_by(Copies(history, self._deps[Api.conversations]))
            sink.texts_are_redacted_by(self._redacted)

    async def shutdown(self) -> None:
        """Stop background answers, then wait for the turns that are being recorded."""
        await self._stock.shutdown()
        await self._recorder.drained()

    async def create_openai_response(
        self, request: CreateResponseRequest
    ) -> OpenAIResponseObject | AsyncIterator[OpenAIResponseObjectStream]:
        """Answer a request within the product's rules, streamed or whole.

        Raises a `LightspeedError` with an HTTP status for every fault that is known before the
        first event; later ones end a stream with `response.failed`.
        """
        turn = await self._admission.admitted(request)
        try:
            governed = await self._governed(request, turn)
            if request.background:
                return await self._in_background(governed, turn)
            events = await self._stock.create_openai_response(
                governed.model_copy(update={"stream": True})
            )
        except Exception as fault:
            error = as_error(fault, turn.model)
            if request.store is not False:
                await self._recorder.record(turn, Outcome.ERROR, str(error))
            raise error from fault
        answer = self._answers.governed(events, turn, recorded=request.store is not False)
        if request.stream:
            return await begun(answer, turn)
        return await last_response(answer, turn)

    async def _governed(
        self, request: CreateResponseRequest, turn: OpenTurn
    ) -> CreateResponseRequest:
        """Return the request that the stock loop may see: cleared texts, our prompt, the turn."""
        runner = await self._shields(turn)
        named = [g if isinstance(g, str) else g.type for g in request.guardrails or []]
        # Ours are enforced here; the stock loop would ask them about the whole answer again and
        # again, as if it were a question.
        others = [name for name in named if name not in runner.shield_ids]
        runner = runner.adding([name for name in named if name in runner.shield_ids])
        cleared = await self._guard_and_retrieve(request, turn, runner)
        return cleared.model_copy(
            update={
                "model": turn.model,
                "instructions": turn.prompt or None,
                "guardrails": others or None,
                TURN: (turn, runner),
            }
        )

    def _check_shields(self) -> None:
        """Find out at start what would otherwise fail every question."""
        providers = self._deps[Api.shields].impls_by_provider_id.values()
        runners = [p for p in providers if hasattr(p, "choosing")]
        if not runners:
            raise ConfigurationError(
                "No provider enforces shields, so nothing may be answered: add "
                "inline::lightspeed-shields to `providers.safety`."
            )
        for runner in runners:
            for profile in self.profiles.all:
                runner.choosing(profile.shields.by_direction())

    async def _all_shields(self) -> ShieldRunner:
        """Return the shields of the server."""
        try:
            runner = await self._deps[Api.shields].get_provider_impl(self.config.shield_id)
        except Exception as fault:
            raise UnavailableError(
                f"Shield '{self.config.shield_id}' is not registered, so nothing may be answered: "
                "add it to `registered_resources.shields`."
            ) from fault
        await runner.ready()
        return cast(ShieldRunner, runner)

    async def _shields(self, turn: OpenTurn) -> ShieldRunner:
        """Return the shields of a turn's profile."""
        runner = await self._all_shields()
        chosen = turn.rules.shields.by_direction()
        return runner.choosing(chosen) if chosen else runner

    async def _redacted(self, direction: Direction, text: str) -> str:
        """Return what may be kept of a text about a turn: one that is refused is kept all the same.

        Where a check failed, what it would have rewritten may still be there.
        """
        screening = await (await self._all_shields()).screen(direction, text)
        blocked = screening.blocked_by
        return NOT_SCREENED if blocked is not None and blocked.error else screening.text

    async def _history(self, request: CreateResponseRequest, texts: list[InputText]) -> list[str]:
        """Return the user's last questions before this one, oldest first."""
        store = self._stock.openai_responses_impl.responses_store
        messages: list[Any] = []  # Any: the host's message union
        if request.previous_response_id:
            previous = await store.get_response_object(request.previous_response_id)
            messages = previous.messages or []
        elif request.conversation:
            messages = await store.get_conversation_messages(request.conversation) or []
        earlier = [text_of(m.content) for m in messages if isinstance(m, OpenAIUserMessageParam)]
        users = [t for t in texts if t.role == "user"]
        earlier += [t.text for t in users if t.item != users[-1].item]
        return earlier[-_HISTORY:]

    async def _guard_and_retrieve(
        self, request: CreateResponseRequest, turn: OpenTurn, runner: ShieldRunner
    ) -> CreateResponseRequest:
        """Return the request with replacements made; shields and retrieval run at one time."""
        texts = input_texts(request)
        turn.history = tuple(await self._history(request, texts))
        question = question_of(texts)
        cleared, (passages, verdicts) = await both(
            self._guard.guarded(request, turn, runner),
            self._retrieving.passages(question, turn, runner),
        )
        turn.question = question_of(input_texts(cleared))
        turn.attachments = attachments_of(cleared)
        for call_id, output in client_results(cleared):
            turn.tools.client_gave(call_id, output)
        turn.verdicts.extend(verdicts)
        if turn.refusal is None:
            turn.passages = passages
        return cleared

    async def _in_background(
        self, request: CreateResponseRequest, turn: OpenTurn
    ) -> OpenAIResponseObject:
        queued = cast(OpenAIResponseObject, await self._stock.create_openai_response(request))
        self._answers.begun(turn, queued.id)
        turn.in_background = True
        return queued

    async def get_openai_response(self, request: RetrieveResponseRequest) -> OpenAIResponseObject:
        """Return a stored response."""
        return cast(OpenAIResponseObject, await self._stock.get_openai_response(request))

    async def list_openai_responses(
        self, request: ListResponsesRequest
    ) -> ListOpenAIResponseObject:
        """Return a page of stored responses."""
        return cast(ListOpenAIResponseObject, await self._stock.list_openai_responses(request))

    async def list_openai_response_input_items(
        self, request: ListResponseInputItemsRequest
    ) -> ListOpenAIResponseInputItem:
        """Return a page of a stored response's input items."""
        return cast(
            ListOpenAIResponseInputItem,
            await self._stock.list_openai_response_input_items(request),
        )

    async def delete_openai_response(
        self, request: DeleteResponseRequest
    ) -> OpenAIDeleteResponseObject:
        """Delete a stored response."""
        return cast(OpenAIDeleteResponseObject, await self._stock.delete_openai_response(request))

    async def cancel_openai_response(self, request: CancelResponseRequest) -> OpenAIResponseObject:
        """Cancel a response that runs in the background."""
        return cast(OpenAIResponseObject, await self._stock.cancel_openai_response(request))


async def both[A, B](first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Return what both give; if one fails, the other is cancelled and the fault raised."""
    try:
        async with asyncio.TaskGroup() as group:
            one, other = group.create_task(first), group.create_task(second)
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from None
    return one.result(), other.result()
