"""`inline::lightspeed-responses`: the stock Responses API with this product's rules around it."""

import asyncio
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
from lightspeed_providers.core.host_stores import steady_completions
from lightspeed_providers.core.inside import inside
from lightspeed_providers.core.turns import Outcome, TurnSink
from lightspeed_providers.core.verdicts import Direction, ShieldRunner
from lightspeed_providers.identity.header import know_users_by
from lightspeed_providers.responses.admission import NOT_SCREENED, Admission, within_rules
from lightspeed_providers.responses.answering import Answers, begun, last_response
from lightspeed_providers.responses.asked_once import ask_models_once
from lightspeed_providers.responses.budget import budget_of
from lightspeed_providers.responses.cancelling import Cancelling
from lightspeed_providers.responses.config import LightspeedResponsesConfig, opened_profiles
from lightspeed_providers.responses.copies import Copies
from lightspeed_providers.responses.deadlines import after, within
from lightspeed_providers.responses.doors.door import guard_side_doors
from lightspeed_providers.responses.draining import Draining
from lightspeed_providers.responses.faults import as_error
from lightspeed_providers.responses.guarded import GuardedInference
from lightspeed_providers.responses.history import HistoryStore
from lightspeed_providers.responses.input_guard import HISTORY, InputGuard
from lightspeed_providers.responses.model_request import TURN
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.profiles.choosing import NO_PROFILE
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
from lightspeed_providers.responses.searching import SearchedStores
from lightspeed_providers.responses.store import CitedResponsesStore
from lightspeed_providers.responses.stored_prompts import StoredPrompts
from lightspeed_providers.responses.threads import Threads
from lightspeed_providers.responses.titles import Titles
from lightspeed_providers.responses.to_model import ClearedTexts


class LightspeedResponsesImpl(Responses):
    """Admits, prompts, guards and retrieves; the stock provider answers; the turn is recorded."""

    def __init__(
        self, config: LightspeedResponsesConfig, deps: dict[Api, Any], policy: list[Any]
    ) -> None:
        self.config = config
        self.profiles = opened_profiles(config)
        self._deps = deps
        self._policy = policy
        self._stock: Any = None  # Any: the stock provider's attributes are not a typed contract
        self._cleared = ClearedTexts()
        self._titles: Titles | None = None
        threads = Threads()
        stored_prompts = StoredPrompts(lambda: self._stock.openai_responses_impl)
        self._admission = Admission(config, self.profiles, deps, threads, stored_prompts)
        self._guard = InputGuard(self._cleared)
        self._retrieving = Retrieving(deps, self._guard)
        self._recorder = Recorder(cast(TurnSink | None, deps.get(Api("transcripts"))))
        self._answers = Answers(self._recorder, threads)
        self._draining = Draining(self._answers.end_all, config.shutdown_grace_s)

    async def initialize(self) -> None:
        """Build the stock provider over decorated dependencies.

        Raises a `ConfigurationError` where no provider enforces shields, or a profile names one
        that does not exist.
        """
        self._check_shields()
        know_users_by(self.config.user_header or "")
        ask_models_once()
        steady_completions(self._deps[Api.inference])
        # A copy that keeps no chat completions: what the loop asks and gets is stored as the
        # response and as the turn already.
        inference = inside(self._deps[Api.inference])
        guarded = GuardedInference(inference, self.config.checkpoint_chars, self._cleared)
        self._titles = Titles(inference, self._deps[Api.conversations])
        self._recorder.afterwards = self._titles.soon
        stores = SearchedStores(self._deps[Api.vector_io], self._retrieving, self._guard)
        stock_config = BuiltinResponsesImplConfig(
            persistence=self.config.persistence,
            vector_stores_config=self.config.vector_stores_config,
        )
        self._stock = await stock_provider(
            stock_config,
            {**self._deps, Api.inference: guarded, Api.vector_io: stores},
            self._policy,
        )
        loop = self._stock.openai_responses_impl
        history = HistoryStore(loop.responses_store, self._answers.turn_of, loop.files_api)
        self._answers.store = history
        longest_turn_s = max(p.deadlines.turn_s for p in self.profiles.all)
        self._cancelling = Cancelling(self._answers, loop, longest_turn_s)
        loop.responses_store = CitedResponsesStore(history, self._answers.stored)
        self.side_door = guard_side_doors(
            self._deps, self.config, self.profiles.chosen(None), self._all_shields, self._cleared
        )
        sink = self._recorder.sink
        if sink is not None:
            sink.copies_are_kept_by(Copies(history, self._deps[Api.conversations]))
            sink.texts_are_redacted_by(self._redacted)

    async def shutdown(self) -> None:
        """Stop background answers, then wait for the turns that are being recorded."""
        await self._stock.shutdown()
        await self._cancelling.aclose()
        await self._recorder.drained()
        await self.side_door.shutdown()
        if self._titles is not None:
            await self._titles.aclose()

    async def create_openai_response(
        self, request: CreateResponseRequest
    ) -> OpenAIResponseObject | AsyncIterator[OpenAIResponseObjectStream]:
        """Answer a request within the product's rules, streamed or whole.

        Raises a `LightspeedError` with an HTTP status for every fault that is known before the
        first event; later ones end a stream with `response.failed`.
        """
        self._draining.listen()
        turn = await self._admission.admitted(request)
        deadlines = turn.rules.deadlines
        until = after(deadlines.turn_s)
        try:
            governed = await within(self._governed(request, turn), until, deadlines.turn_late)
            if request.background:
                return await self._in_background(governed, turn)
            events = await self._stock.create_openai_response(
                governed.model_copy(update={"stream": True})
            )
        except asyncio.CancelledError:
            if request.store is not False:
                self._recorder.interrupted(turn)
            raise
        except Exception as fault:
            error = as_error(fault, turn.model)
            if request.store is not False:
                await self._recorder.record(turn, Outcome.ERROR, str(error))
            raise error from fault
        answer = self._answers.governed(
            events, turn, recorded=request.store is not False, until=until
        )
        if request.stream:
            return await begun(answer, turn, self.config.hold_first_event_s)
        return await last_response(answer, turn)

    async def _governed(
        self, request: CreateResponseRequest, turn: OpenTurn
    ) -> CreateResponseRequest:
        """Return the request that the stock loop may see: cleared texts and the turn.

        What the model is told first travels with the turn: the response shows the client its own.
        """
        runner = await self._shields(turn)
        named = [g if isinstance(g, str) else g.type for g in request.guardrails or []]
        # Ours are enforced here; the stock loop would ask them about the whole answer again and
        # again, as if it were a question.
        others = [name for name in named if name not in runner.shield_ids]
        ours = [name for name in named if name in runner.shield_ids]
        # The one that stands for all of them asks for all of them.
        if turn.rules.guardrails == "replace" and ours and self.config.shield_id not in ours:
            runner = runner.rewriting
        runner = runner.adding(ours)
        turn.shields = runner
        cleared = await self._guard_and_retrieve(within_rules(request, turn.rules), turn, runner)
        has_profile = turn.rules is not NO_PROFILE
        turn.budget = budget_of(request, turn.rules.budget, ends_in_text=has_profile)
        cleared = await self._retrieving.with_search(cleared, turn)
        return cleared.model_copy(
            update={
                "model": turn.model,
                "max_infer_iters": turn.budget.max_infer_iters,
                "max_tool_calls": turn.budget.max_tool_calls,
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
            self.profiles.check_shields(runner.shield_ids - {self.config.shield_id})
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
        return earlier[-HISTORY:]

    async def _guard_and_retrieve(
        self, request: CreateResponseRequest, turn: OpenTurn, runner: ShieldRunner
    ) -> CreateResponseRequest:
        """Return the request with replacements made; shields and retrieval run at one time."""
        texts = input_texts(request)
        turn.history = tuple(await self._history(request, texts))
        question = question_of(texts)
        late = turn.rules.deadlines.shields_late
        turn.shields_until = after(turn.rules.deadlines.shields_s)
        cleared, (passages, verdicts) = await both(
            within(self._guard.guarded(request, turn, runner), turn.shields_until, late),
            self._retrieving.passages(question, turn, runner),
        )
        turn.question = question_of(input_texts(cleared))
        turn.attachments = attachments_of(cleared)
        for call_id, output in client_results(cleared):
            turn.tools.client_gave(call_id, output)
        turn.verdicts.extend(verdicts)
        if turn.refusal is None:
            turn.grounding.retrieved(passages)
        return cleared

    async def _in_background(
        self, request: CreateResponseRequest, turn: OpenTurn
    ) -> OpenAIResponseObject:
        queued = await self._cancelling.queued(lambda: self._stock.create_openai_response(request))
        self._answers.begun(turn, queued.id)
        turn.in_background = True
        return queued

    async def get_openai_response(self, request: RetrieveResponseRequest) -> OpenAIResponseObject:
        """Return a stored response."""
        stored = cast(OpenAIResponseObject, await self._stock.get_openai_response(request))
        return await self._cancelling.as_it_is(stored)

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
        """Cancel a response, streamed, plain or in the background, and return it."""
        return await self._cancelling.cancelled(request.response_id)


async def both[A, B](first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Return what both give; if one fails, the other is cancelled and the fault raised."""
    try:
        async with asyncio.TaskGroup() as group:
            one, other = group.create_task(first), group.create_task(second)
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from None
    return one.result(), other.result()
