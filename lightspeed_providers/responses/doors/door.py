"""What stands before the host's inference router: every other way to a model passes here."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from llama_stack.core.request_headers import get_authenticated_user
from llama_stack.log import get_logger
from llama_stack_api import (
    Api,
    ModelType,
    OpenAIChatCompletionRequestWithExtraBody,
    OpenAICompletionRequestWithExtraBody,
)
from llama_stack_api.common.errors import OpenAIErrorResponse
from pydantic import ValidationError

from lightspeed_providers.core.errors import (
    ForbiddenError,
    InvalidRequestError,
    LightspeedError,
    RequestTooLargeError,
    UnprocessableError,
)
from lightspeed_providers.core.inside import DOORS, inside
from lightspeed_providers.core.principals import ANONYMOUS, principal_of
from lightspeed_providers.core.verdicts import Context, Direction, ShieldRunner
from lightspeed_providers.responses.config import LightspeedResponsesConfig
from lightspeed_providers.responses.doors.answers import BlockedError, Output
from lightspeed_providers.responses.doors.asking import Asked, asked
from lightspeed_providers.responses.doors.chat import Chats
from lightspeed_providers.responses.doors.config import SideDoors
from lightspeed_providers.responses.doors.kept import Assembled, Kept
from lightspeed_providers.responses.doors.kind import Kind
from lightspeed_providers.responses.doors.places import Text
from lightspeed_providers.responses.doors.stores import guard_stores
from lightspeed_providers.responses.doors.streaming import screened_chunks
from lightspeed_providers.responses.doors.text import TextCompletions
from lightspeed_providers.responses.doors.upstream import Upstream
from lightspeed_providers.responses.faults import as_error
from lightspeed_providers.responses.interrupting import in_one_task
from lightspeed_providers.responses.profiles.config import ProfileConfig
from lightspeed_providers.responses.request_texts import text_of
from lightspeed_providers.responses.to_model import ClearedTexts, without_refused_turns

logger = get_logger(name=__name__, category="inference")

type Call = Callable[[Any], Awaitable[Any]]  # Any: requests and answers of either kind


def guard_side_doors(
    deps: dict[Api, Any],  # Any: the host's routers are no typed contract
    config: LightspeedResponsesConfig,
    profile: ProfileConfig,
    shields: Callable[[], Awaitable[ShieldRunner]],
    cleared: ClearedTexts,
) -> "SideDoor":
    """Put a door before the host's router: whoever holds the router passes it from now on."""
    inference = deps[Api.inference]
    door = SideDoor(inference, config, profile, shields, cleared)
    for name in DOORS:
        setattr(inference, name, getattr(door, name))
    guard_stores(deps[Api.vector_io], inference, door.openai_chat_completion)
    paths = "/v1/chat/completions, /v1/completions"
    logger.info("Other ways to the models", mode=config.side_doors.value, paths=paths)
    return door


class SideDoor:
    """Chat completions and text completions within the shields of the Responses API."""

    def __init__(
        self,
        inference: Any,  # Any: the host's router
        config: LightspeedResponsesConfig,
        profile: ProfileConfig,
        shields: Callable[[], Awaitable[ShieldRunner]],
        cleared: ClearedTexts,
    ) -> None:
        self._router = self._inference = inside(inference)
        self._kept = Kept(inference.store)
        self._config = config
        self._profile = profile
        self._all_shields = shields
        self._cleared = cleared

    async def shutdown(self) -> None:
        """Wait until every completion is kept."""
        await self._kept.written()

    async def openai_chat_completion(self, params: OpenAIChatCompletionRequestWithExtraBody) -> Any:
        """Return the answer, or its chunks, as the shields leave them."""
        self._check_open()
        runner = await self._shields()
        messages = without_refused_turns(params.messages, runner.refusals)
        if not messages:
            # Nothing was asked after the refusal: it is asked again.
            messages = params.messages
        request = params.model_copy(update={"messages": messages})
        first = next((text_of(m.content) for m in messages if m.role == "user"), "")
        return await self._answered(
            Chats(), self._inference.openai_chat_completion, request, runner, first
        )

    async def openai_completion(self, params: OpenAICompletionRequestWithExtraBody) -> Any:
        """Return the continuation of a text, or its chunks, as the shields leave them."""
        self._check_open()
        runner = await self._shields()
        return await self._answered(
            TextCompletions(), self._inference.openai_completion, params, runner, ""
        )

    async def _answered(
        self, kind: Kind, call: Call, request: Any, runner: ShieldRunner, first: str
    ) -> Any:
        model = request.model
        try:
            await self._router._get_model_provider(model, ModelType.llm)
            texts = kind.texts(request)
            self._check_texts(texts)
            context = Context(thread=_thread(first), reference=f"chat_{uuid.uuid4().hex}")
            may_ask = await asked(request, texts, kind, runner, self._cleared, context)
            output = Output(
                runner,
                may_ask.context,
                self._profile.release,
                self._config.checkpoint_chars,
                kind.names(request),
            )
            if request.stream:
                return await self._streamed(kind, call, may_ask, output)
            return await self._whole(kind, call, may_ask, output)
        except ValidationError as fault:
            raise InvalidRequestError(_invalid(fault)) from None
        except Exception as fault:
            raise as_error(fault, model) from fault

    async def _whole(self, kind: Kind, call: Call, may_ask: Asked[Any], output: Output) -> Any:
        request = may_ask.request
        if may_ask.refusal is not None:
            return kind.refused(request, may_ask.refusal)
        # The router changes what it is given.
        answer = asyncio.ensure_future(call(request.model_copy()))
        try:
            if (refusal := await may_ask.settled()) is not None:
                return kind.refused(request, refusal)
            completion = await answer
        finally:
            if not answer.done():
                answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
        completion.model = request.model
        if output.screens:
            choices = [await self._choice(kind, choice, output) for choice in completion.choices]
            completion = kind.answer(completion, choices)
        if isinstance(kind, Chats):
            for choice in completion.choices:
                self._note_said(output.runner, choice.message.content)
            if self._kept.takes(may_ask):
                await self._kept.keep(completion, request.messages)
        return completion

    async def _choice(self, kind: Kind, choice: Any, output: Output) -> dict[str, Any]:
        try:
            return kind.choice(choice, await output.cleared(kind.said(choice)))
        except BlockedError as blocked:
            return kind.refused_choice(choice.index, str(blocked))

    async def _streamed(
        self, kind: Kind, call: Call, may_ask: Asked[Any], output: Output
    ) -> AsyncIterator[Any]:
        """Return the chunks once the first has come: a fault before it is an HTTP status."""
        request = may_ask.request
        upstream = Upstream(lambda: call(request.model_copy()))
        chunks = in_one_task(screened_chunks(upstream, kind, may_ask, output))
        try:
            first = await anext(chunks, None)
        except BaseException:
            await chunks.aclose()
            raise
        if first is None:
            raise as_error(None, request.model)
        keeps = isinstance(kind, Chats) and self._kept.takes(may_ask)
        return self._all(first, chunks, request, output, keeps=keeps)

    async def _all(
        self,
        first: Any,
        chunks: AsyncGenerator[Any],
        request: Any,
        output: Output,
        *,
        keeps: bool,
    ) -> AsyncIterator[Any]:
        """Yield all chunks; a fault on the way ends them with an error event."""
        assembled = Assembled()
        try:
            async with aclosing(chunks):
                if keeps:
                    assembled.take(first)
                yield first
                async for chunk in chunks:
                    if keeps:
                        assembled.take(chunk)
                    yield chunk
        except Exception as fault:
            error = as_error(fault, request.model)
            logger.error("Answer broke off", model=request.model, status=error.status_code)
            yield _event(error)
        finally:
            if keeps and (completion := assembled.completion) is not None:
                for choice in completion.choices:
                    self._note_said(output.runner, choice.message.content)
                await self._kept.keep(completion, request.messages)

    def _note_said(self, runner: ShieldRunner, text: str | None) -> None:
        """Remember what was said: it comes back as history."""
        if text:
            self._cleared.note(runner, Direction.TOOL, text)

    def _check_open(self) -> None:
        if self._config.side_doors is SideDoors.CLOSED:
            raise ForbiddenError(
                "This server answers at /v1/responses only: ask there, or the operator sets "
                "LIGHTSPEED_SIDE_DOORS=guarded (`side_doors` of inline::lightspeed-responses) to "
                "answer here through the same shields."
            )

    def _check_texts(self, texts: list[Text]) -> None:
        takes_prompts = not self._config.disable_query_system_prompt
        if not takes_prompts and any(text.prompt for text in texts):
            raise UnprocessableError(
                "This instance does not support customizing the system prompt: remove system and "
                "developer messages from the request."
            )
        size = sum(len(t.text) for t in texts if t.direction is not None or t.prompt)
        most = self._config.max_question_chars
        if size > most:
            raise RequestTooLargeError(
                f"The request has {size} characters and at most {most} are taken: shorten it, or "
                "raise `max_question_chars`."
            )

    async def _shields(self) -> ShieldRunner:
        runner = await self._all_shields()
        chosen = self._profile.shields.by_direction()
        return runner.choosing(chosen) if chosen else runner


def _thread(first: str) -> str:
    """Name a conversation by who asks and how it began: its client sends all of it every time.

    Nobody can tell conversations of unknown users apart, so none of theirs is taken up again.
    """
    user = principal_of(get_authenticated_user())
    if user == ANONYMOUS or not first:
        return f"{user}:{uuid.uuid4().hex}"
    began = hashlib.sha256(first.encode(errors="surrogatepass")).hexdigest()
    return f"{user}:chat:{began}"


def _invalid(fault: ValidationError) -> str:
    """Return what is wrong in one line, without the request's values."""
    first = fault.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part)[:50] for part in first["loc"])
    return f"Invalid request: {where}: {first['msg'].splitlines()[0]}."


def _event(error: LightspeedError) -> dict[str, Any]:
    return OpenAIErrorResponse.from_message(
        str(error), type="server_error", code=str(error.status_code)
    ).to_dict()
