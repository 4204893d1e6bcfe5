"""`inline::lightspeed-responses`: the stock Responses API with this product's rules around it."""

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, cast

from llama_stack.core.request_headers import get_authenticated_user
from llama_stack.log import get_logger
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
from llama_stack_api.common.errors import LlamaStackError

from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    RequestTooLargeError,
    UnavailableError,
)
from lightspeed_providers.core.principals import principal_of
from lightspeed_providers.core.turns import Outcome, Passage, TurnSink
from lightspeed_providers.core.verdicts import Action, Direction, Screening, ShieldRunner, Verdict
from lightspeed_providers.responses.client_texts import rewritten_settings
from lightspeed_providers.responses.config import LightspeedResponsesConfig
from lightspeed_providers.responses.copies import Copies
from lightspeed_providers.responses.events import TERMINAL, CitedEvents, cited_response
from lightspeed_providers.responses.faults import as_error
from lightspeed_providers.responses.guarded import TURN, GuardedInference
from lightspeed_providers.responses.history import HistoryStore
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.prompts import effective_prompt, prompt_version
from lightspeed_providers.responses.request_texts import (
    InputText,
    attachments_of,
    client_results,
    function_names,
    input_texts,
    joined_parts,
    question_of,
    text_of,
    with_texts,
)
from lightspeed_providers.responses.store import CitedResponsesStore
from lightspeed_providers.responses.threads import Threads
from lightspeed_providers.responses.to_model import ClearedTexts
from lightspeed_providers.responses.tool_use import ToolUse, tool_statuses

logger = get_logger(name=__name__, category="openai_responses")

_FINAL = {
    "completed": Outcome.ANSWERED,
    "incomplete": Outcome.TRUNCATED,
    "failed": Outcome.ERROR,
    "cancelled": Outcome.INTERRUPTED,
}
NOT_SCREENED = "[not screened]"
"""Stands for a question in the record until the shields have seen it."""
_HISTORY = 4  # earlier questions that a shield may need to judge a follow-up


class LightspeedResponsesImpl(Responses):
    """Admits, prompts, guards and retrieves; the stock provider answers; the turn is recorded."""

    def __init__(
        self, config: LightspeedResponsesConfig, deps: dict[Api, Any], policy: list[Any]
    ) -> None:
        self.config = config
        self._deps = deps
        self._policy = policy
        self._stock: Any = None  # Any: the stock provider's attributes are not a typed contract
        self._sink: TurnSink | None = deps.get(Api("transcripts"))
        self._going_on: dict[str, OpenTurn] = {}
        self._cleared = ClearedTexts()
        self._threads = Threads()
        self._recordings: set[asyncio.Task[None]] = set()

    async def initialize(self) -> None:
        """Build the stock provider over decorated dependencies.

        Raises a `ConfigurationError` where no provider enforces shields, or the profile names one
        that does not exist.
        """
        self._check_shields()
        # A copy that keeps no chat completions: what the loop asks and gets is stored as the
        # response and as the turn already.
        inference = copy.copy(self._deps[Api.inference])
        inference.store = None
        guarded = GuardedInference(
            inference, self.config.checkpoint_chars, self.config.profile.release, self._cleared
        )
        stock_config = BuiltinResponsesImplConfig(
            persistence=self.config.persistence,
            vector_stores_config=self.config.vector_stores_config,
        )
        self._stock = await stock_provider(
            stock_config, {**self._deps, Api.inference: guarded}, self._policy
        )
        loop = self._stock.openai_responses_impl
        history = HistoryStore(loop.responses_store, self._going_on.get, loop.files_api)
        loop.responses_store = CitedResponsesStore(history, self._stored)
        if self._sink is not None:
            self._sink.copies_are_kept_by(Copies(history, self._deps[Api.conversations]))
            self._sink.texts_are_redacted_by(self._redacted)

    async def shutdown(self) -> None:
        """Stop background answers, then wait for the turns that are being recorded."""
        await self._stock.shutdown()
        if self._recordings:
            await asyncio.wait(self._recordings, timeout=5)

    async def create_openai_response(
        self, request: CreateResponseRequest
    ) -> OpenAIResponseObject | AsyncIterator[OpenAIResponseObjectStream]:
        """Answer a request within the product's rules, streamed or whole.

        Raises a `LightspeedError` with an HTTP status for every fault that is known before the
        first event; later ones end a stream with `response.failed`.
        """
        turn = await self._admit(request)
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
                await self._record(turn, Outcome.ERROR, str(error))
            raise error from fault
        governed_events = self._govern(events, turn, recorded=request.store is not False)
        if request.stream:
            return await _begun(governed_events, turn)
        return await _last_response(governed_events, turn)

    async def _admit(self, request: CreateResponseRequest) -> OpenTurn:
        """Return the open turn of a request that may be answered; nothing costly has been done."""
        texts = input_texts(request)
        self._check_size(texts, request.instructions or "")
        prompt = effective_prompt(
            request.instructions,
            self.config.profile.system_prompt,
            may_request=not self.config.disable_query_system_prompt,
        )
        await self._check_guardrails(request)
        await self._check_stores(request)
        user_id = principal_of(get_authenticated_user())
        wanted = request.model == self.config.model_alias
        model = self.config.default_model if wanted else request.model
        return OpenTurn(
            user_id=user_id,
            thread=self._threads.of(user_id, request.conversation, request.previous_response_id),
            profile=self.config.profile.name,
            prompt=prompt,
            prompt_version=prompt_version(self.config.profile.system_prompt),
            model_requested=request.model,
            provider_requested=None if wanted else request.model.partition("/")[0],
            model=model,
            provider=await self._provider_of(model),
            question=NOT_SCREENED,
            streamed=bool(request.stream),
            conversation_id=request.conversation,
            previous_response_id=request.previous_response_id,
            retrieves=self.config.profile.retrieval.mode == "always",
            tools=ToolUse(function_names(request)),
            input_items=1 if isinstance(request.input, str) else len(request.input),
        )

    async def _governed(
        self, request: CreateResponseRequest, turn: OpenTurn
    ) -> CreateResponseRequest:
        """Return the request that the stock loop may see: cleared texts, our prompt, the turn."""
        runner = await self._shields()
        named = [g if isinstance(g, str) else g.type for g in request.guardrails or []]
        # Ours are enforced here; the stock loop would ask them about the whole answer again and
        # again, as if it were a question.
        others = [name for name in named if name not in runner.shield_ids]
        runner = runner.adding([name for name in named if name in runner.shield_ids])
        cleared = await self._guard_and_retrieve(request, turn, runner)
        return cleared.model_copy(
            update={
                "model": turn.model,
                "instructions": turn.prompt,
                "guardrails": others or None,
                TURN: (turn, runner),
            }
        )

    def _check_size(self, texts: list[InputText], instructions: str) -> None:
        if not any(t.text.strip() for t in texts):
            raise InvalidRequestError("`input` holds no text: send the user's question in it.")
        size = sum(len(t.text) for t in texts) + len(instructions)
        if size > self.config.max_question_chars:
            raise RequestTooLargeError(
                f"The request has {size} characters and at most "
                f"{self.config.max_question_chars} are taken: shorten it, or raise "
                "`max_question_chars`."
            )

    async def _check_guardrails(self, request: CreateResponseRequest) -> None:
        """Refuse unknown shields before the first event; the stock loop finds them after it."""
        named = {g if isinstance(g, str) else g.type for g in request.guardrails or []}
        if not named:
            return
        known = {s.identifier for s in (await self._deps[Api.shields].list_shields()).data}
        for shield in sorted(named - known):
            raise InvalidRequestError(
                f"Shield '{shield}' in `guardrails` does not exist: "
                f"choose from {', '.join(sorted(known))}."
            )

    async def _check_stores(self, request: CreateResponseRequest) -> None:
        """Refuse unknown vector stores; the stock loop would search nothing and say nothing."""
        named = [s for tool in request.tools or [] for s in getattr(tool, "vector_store_ids", [])]
        for store in named:
            try:
                await self._deps[Api.vector_io].openai_retrieve_vector_store(store)
            except (LlamaStackError, ValueError) as fault:
                raise NotFoundError(
                    f"Vector store '{store}' does not exist: see `GET /v1/vector_stores`."
                ) from fault

    async def _provider_of(self, model: str) -> str:
        """Return the id of the provider that a model belongs to, or say which models there are.

        As in Llama Stack, a provider may know more models than it has listed, or not be up yet.
        """
        table = self._deps[Api.models]
        known = await table.get_object_by_identifier("model", model)
        if known is not None and known.model_type == "llm":
            return str(known.provider_id)
        # Only now: listing parses the whole registry again every few seconds.
        listed = {m.identifier: m for m in (await table.list_models()).data}
        chat = {name: m for name, m in listed.items() if m.model_type == "llm"}
        if model in chat:
            return str(chat[model].provider_id)
        provider = model.partition("/")[0]
        if model not in listed and provider != model and provider in table.impls_by_provider_id:
            return provider
        offered = ", ".join([self.config.model_alias, *sorted(chat)][:20])
        raise NotFoundError(f"Model '{model}' does not exist here: choose one of {offered}.")

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
            runner.choosing(self.config.profile.shields.by_direction())

    async def _shields(self) -> ShieldRunner:
        """Return the shields of the profile."""
        try:
            runner = await self._deps[Api.shields].get_provider_impl(self.config.shield_id)
        except Exception as fault:
            raise UnavailableError(
                f"Shield '{self.config.shield_id}' is not registered, so nothing may be answered: "
                "add it to `registered_resources.shields`."
            ) from fault
        await runner.ready()
        chosen = self.config.profile.shields.by_direction()
        return cast(ShieldRunner, runner.choosing(chosen) if chosen else runner)

    async def _redacted(self, direction: Direction, text: str) -> str:
        """Return what may be kept of a text about a turn: one that is refused is kept all the same.

        Where a check failed, what it would have rewritten may still be there.
        """
        screening = await (await self._shields()).screen(direction, text)
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
            self._guard(request, texts, turn, runner), self._retrieve(question, turn, runner)
        )
        turn.question = question_of(input_texts(cleared))
        turn.attachments = attachments_of(cleared)
        for call_id, output in client_results(cleared):
            turn.tools.client_gave(call_id, output)
        turn.verdicts.extend(verdicts)
        if turn.refusal is None:
            turn.passages = passages
        return cleared

    async def _guard(
        self,
        request: CreateResponseRequest,
        texts: list[InputText],
        turn: OpenTurn,
        runner: ShieldRunner,
    ) -> CreateResponseRequest:
        """Return the request with replacements made; slow shields go on beside the model."""
        rewritten: dict[InputText, str] = {}
        for text, screening in await _screen_all(texts, turn, runner.before_model):
            turn.judged(screening.verdicts)
            if screening.text != text.text:
                rewritten[text] = screening.text
        cleared = with_texts(request, rewritten)
        if turn.refusal is not None:
            return cleared
        cleared = await self._without_personal_data(cleared, turn, runner.rewriting)
        if turn.refusal is not None:
            return cleared
        passing = input_texts(cleared)
        for _, screening in await _screen_all(joined_parts(passing), turn, runner.before_model):
            turn.judged(tuple(v for v in screening.verdicts if v.action is Action.BLOCK))
        if turn.refusal is not None:
            return cleared
        for text in passing:
            self._cleared.note(runner, _direction_of(text), text.text)
        late = runner.beside_model
        if any(late.screens(direction) for direction in Direction):
            turn.late_verdicts = asyncio.create_task(_verdicts(passing, turn, late))
        return cleared

    async def _without_personal_data(
        self, request: CreateResponseRequest, turn: OpenTurn, runner: ShieldRunner
    ) -> CreateResponseRequest:
        """Return the request with the client's own instructions and settings rewritten."""
        if not runner.screens(Direction.INPUT):
            return request

        async def rewrite(text: str) -> str:
            screening = await runner.screen(Direction.INPUT, text, turn.context)
            turn.judged(tuple(v for v in screening.verdicts if v.action is not Action.ALLOW))
            return screening.text

        if turn.prompt == request.instructions:
            turn.prompt = await rewrite(turn.prompt)
        return await rewritten_settings(request, rewrite)

    async def _retrieve(
        self, question: str, turn: OpenTurn, runner: ShieldRunner
    ) -> tuple[tuple[Passage, ...], tuple[Verdict, ...]]:
        """Return the passages for a question that the tool shields let through."""
        retrieval = self.config.profile.retrieval
        turn.retrieves = turn.retrieves and bool(question.strip())
        if not turn.retrieves:
            return (), ()
        result = await self._deps[Api.tool_runtime].invoke_tool(
            tool_name=retrieval.tool, kwargs=retrieval.arguments(question)
        )
        if result.error_message:
            raise UnavailableError(f"Documentation search failed: {result.error_message}")
        found = [Passage.model_validate(p) for p in (result.metadata or {}).get("passages", [])]
        if not runner.screens(Direction.TOOL):
            return tuple(found), ()
        screenings = await asyncio.gather(
            *(self._screened_passage(p.content, turn, runner) for p in found)
        )
        kept = tuple(
            p.model_copy(update={"content": s.text})
            for p, s in zip(found, screenings, strict=True)
            if s.blocked_by is None
        )
        return kept, tuple(v for s in screenings for v in s.verdicts)

    async def _screened_passage(self, text: str, turn: OpenTurn, runner: ShieldRunner) -> Screening:
        """Return a passage as the tool shields leave it; one that they know is not asked about."""
        if self._cleared.holds(runner, Direction.TOOL, text):
            return Screening(text=text)
        screening = await runner.screen(Direction.TOOL, text, turn.context)
        if screening.blocked_by is None and screening.text == text:
            self._cleared.note(runner, Direction.TOOL, text)
        return screening

    async def _govern(
        self, events: AsyncIterator[Any], turn: OpenTurn, *, recorded: bool
    ) -> AsyncGenerator[Any]:  # Any: one of the host's event classes
        """Yield the stock loop's events, cited; the turn is recorded before its last event."""
        cited = CitedEvents()
        open_ = recorded
        try:
            async for event in events:
                if event.type == "response.created":
                    turn.response_id = event.response.id
                    self._threads.note(event.response.id, turn.thread)
                    self._going_on[event.response.id] = turn
                if event.type in TERMINAL and open_:
                    open_ = False
                    await self._record_response(turn, event.response)
                for out in cited.of(event, turn.documents):
                    yield out
        except Exception as fault:
            error = as_error(fault, turn.model)
            if open_:
                open_ = False
                await self._record(turn, Outcome.ERROR, str(error))
            raise error from fault
        finally:
            self._going_on.pop(turn.response_id or "", None)
            if open_:
                self._record_soon(turn)

    async def _in_background(
        self, request: CreateResponseRequest, turn: OpenTurn
    ) -> OpenAIResponseObject:
        queued = cast(OpenAIResponseObject, await self._stock.create_openai_response(request))
        turn.response_id = queued.id
        self._threads.note(queued.id, turn.thread)
        turn.in_background = True
        self._going_on[queued.id] = turn
        return queued

    async def _stored(self, response: OpenAIResponseObject) -> OpenAIResponseObject:
        """Return what the store writes for a response: a final one is cited.

        A background answer is recorded here, before its final state can be read; the stock loop
        writes that state twice, the second time as a background response.
        """
        turn = self._going_on.get(response.id)
        if turn is None or response.status not in _FINAL:
            return response
        if turn.in_background and not turn.recorded:
            turn.recorded = True
            await self._record_response(turn, response)
        if response.background:
            del self._going_on[response.id]
        return cited_response(response, turn.documents)

    async def _record_response(self, turn: OpenTurn, response: OpenAIResponseObject) -> None:
        turn.tools.ended(tool_statuses(response))
        error = response.error.message if response.error else None
        await self._record(turn, _FINAL[response.status], error)

    async def _record(self, turn: OpenTurn, outcome: Outcome, error: str | None = None) -> None:
        # Who went away before the verdict is recorded with it all the same.
        await turn.settled()
        closed = turn.closed(outcome, error)
        logger.info(
            "Turn finished",
            turn_id=closed.turn_id,
            outcome=closed.outcome.value,
            model=closed.model,
            blocked_by=[v.shield for v in closed.verdicts if v.action is Action.BLOCK],
            passages=len(closed.passages),
        )
        if self._sink is not None:
            await self._sink.record(closed)

    def _record_soon(self, turn: OpenTurn) -> None:
        """Record a turn that ended without a last event, while its own task is being cancelled."""
        task = asyncio.get_running_loop().create_task(self._record(turn, Outcome.INTERRUPTED))
        self._recordings.add(task)
        task.add_done_callback(self._recordings.discard)

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


def _direction_of(text: InputText) -> Direction:
    """Return how a client's text is screened.

    What a user wrote is input; everything else that a client sends (tool outputs, other roles)
    is screened as text from outside.
    """
    return Direction.INPUT if text.role == "user" else Direction.TOOL


async def _screen_all(
    texts: list[InputText], turn: OpenTurn, runner: ShieldRunner
) -> list[tuple[InputText, Screening]]:
    """Return each text with what the shields of its direction say."""
    results = []
    for text in texts:
        direction = _direction_of(text)
        if runner.screens(direction) and text.text.strip():
            history = turn.history if direction is Direction.INPUT else ()
            context = turn.context_with(history)
            results.append((text, await runner.screen(direction, text.text, context)))
    return results


async def _verdicts(texts: list[InputText], turn: OpenTurn, runner: ShieldRunner) -> list[Verdict]:
    return [v for _, s in await _screen_all(texts, turn, runner) for v in s.verdicts]


async def _begun(events: AsyncGenerator[Any], turn: OpenTurn) -> AsyncIterator[Any]:
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


async def _last_response(events: AsyncGenerator[Any], turn: OpenTurn) -> OpenAIResponseObject:
    """Return the final response of a stream, or raise what failed it."""
    async with aclosing(events):
        async for event in events:
            if event.type == "response.failed":
                raise turn.fault or as_error(None, turn.model)
            if event.type in TERMINAL:
                return cast(OpenAIResponseObject, event.response)
    raise as_error(None, turn.model)
