"""Which requests may be answered, and by which profile, model and prompt."""

from datetime import UTC, datetime
from typing import Any

from llama_stack.core.request_headers import get_authenticated_user
from llama_stack_api import Api, CreateResponseRequest, ResponseTruncation
from llama_stack_api.common.errors import LlamaStackError, ModelNotFoundError

from lightspeed_providers.core.errors import (
    InvalidRequestError,
    NotFoundError,
    RequestTooLargeError,
    UnprocessableError,
)
from lightspeed_providers.core.principals import principal_of
from lightspeed_providers.responses.config import LightspeedResponsesConfig
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.ownership import check_conversation
from lightspeed_providers.responses.profiles.choosing import Profiles
from lightspeed_providers.responses.profiles.config import ProfileConfig
from lightspeed_providers.responses.prompts import Prompting, customizing_disabled
from lightspeed_providers.responses.request_texts import (
    InputText,
    function_names,
    holds_something,
    input_texts,
)
from lightspeed_providers.responses.stored_prompts import StoredPrompts
from lightspeed_providers.responses.system_messages import (
    brings_system_message,
    without_system_messages,
)
from lightspeed_providers.responses.threads import Threads
from lightspeed_providers.responses.tool_use import ToolUse

NOT_SCREENED = "[not screened]"
"""Stands for a question in the record until the shields have seen it."""


class Admission:
    """Opens turns for requests that may be answered; nothing costly has been done by then."""

    def __init__(
        self,
        config: LightspeedResponsesConfig,
        profiles: Profiles,
        deps: dict[Api, Any],
        threads: Threads,
        stored_prompts: StoredPrompts,
    ) -> None:
        self._config = config
        self._profiles = profiles
        self._deps = deps
        self._threads = threads
        self._stored_prompts = stored_prompts

    async def admitted(self, request: CreateResponseRequest) -> OpenTurn:
        """Return the open turn of a request; raises a `LightspeedError` for one that may not be."""
        rules = self._profiles.chosen(request.metadata)
        self._check_locked(request, rules)
        self._check_customizing(request)
        if request.previous_response_id and request.conversation:
            raise InvalidRequestError(
                "`previous_response_id` and `conversation` are both provided: send one of them."
            )
        if request.truncation == ResponseTruncation.auto:
            raise InvalidRequestError(
                "`truncation` 'auto' is not supported: leave it out, or send 'disabled'."
            )
        stored = await self._stored_prompts.said_by(request.prompt)
        request = within_rules(request, rules)
        if not holds_something(request):
            raise InvalidRequestError("`input` holds no text: send the user's question in it.")
        self._check_size(input_texts(request), request.instructions or "", stored or "")
        product = self._profiles.prompt(rules, request.metadata, datetime.now(UTC).date())
        prompting = Prompting(
            product=product.text,
            client=(stored or "", request.instructions or ""),
            policy=rules.client_prompt,
            inserted=bool(stored) + bool(request.instructions),
            keeps_messages=not (
                rules.client_prompt == "ignore" or self._config.disable_query_system_prompt
            ),
        )
        await check_conversation(request, self._deps[Api.conversations])
        await self._check_guardrails(request)
        await self._check_stores(request)
        user_id = principal_of(get_authenticated_user())
        wanted = request.model == self._config.model_alias
        model = self._model_of(rules) if wanted else request.model
        return OpenTurn(
            user_id=user_id,
            thread=self._threads.of(user_id, request.conversation, request.previous_response_id),
            rules=rules,
            prompt=prompting.effective,
            prompting=prompting,
            prompt_version=product.version,
            other_refusals=self._profiles.refusals,
            model_requested=request.model,
            provider_requested=None if wanted else request.model.partition("/")[0],
            model=model,
            provider=await self._provider_of(model),
            question=NOT_SCREENED,
            streamed=bool(request.stream),
            conversation_id=request.conversation,
            previous_response_id=request.previous_response_id,
            retrieves=rules.retrieval.mode == "always",
            tools=ToolUse(function_names(request)),
            names_tools=getattr(request.tool_choice, "type", None) == "allowed_tools",
            input_items=1 if isinstance(request.input, str) else len(request.input),
        )

    def _model_of(self, rules: ProfileConfig) -> str:
        return rules.model or self._config.default_model

    def _check_locked(self, request: CreateResponseRequest, rules: ProfileConfig) -> None:
        """Refuse a request that sets what the profile keeps for itself; a default sets nothing."""
        for name in rules.locked:
            value = getattr(request, name)
            default = type(request).model_fields[name].get_default(call_default_factory=True)
            chooses_nothing = name == "model" and value == self._config.model_alias
            if name in request.model_fields_set and value != default and not chooses_nothing:
                raise UnprocessableError(
                    f"Profile '{rules.name}' does not let requests set `{name}`: remove it."
                )

    def _check_customizing(self, request: CreateResponseRequest) -> None:
        """Refuse a client's own prompt, by whichever road it comes, where there may be none."""
        if not self._config.disable_query_system_prompt:
            return
        if (request.instructions or "").strip():
            raise customizing_disabled("`instructions`")
        if request.prompt is not None and request.prompt.id:
            raise customizing_disabled("`prompt`")
        if brings_system_message(request):
            raise customizing_disabled("messages of the roles `system` and `developer`")

    def _check_size(self, texts: list[InputText], *prompts: str) -> None:
        size = sum(len(t.text) for t in texts) + sum(map(len, prompts))
        if size > self._config.max_question_chars:
            raise RequestTooLargeError(
                f"The request has {size} characters and at most "
                f"{self._config.max_question_chars} are taken: shorten it, or raise "
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
        offered = ", ".join([self._config.model_alias, *sorted(chat)][:20])
        # The host's words first: clients look for them.
        raise NotFoundError(f"{ModelNotFoundError(model)} Or choose one of {offered}.")


def within_rules(request: CreateResponseRequest, rules: ProfileConfig) -> CreateResponseRequest:
    """Return a request as its profile leaves it: with its sampling, without what it ignores."""
    if rules.client_prompt == "ignore":
        request = without_system_messages(request)
    given = rules.sampling.model_dump(exclude_none=True)
    missing = {name: value for name, value in given.items() if getattr(request, name) is None}
    return request.model_copy(update=missing) if missing else request
