"""Which requests may be answered, and by which profile, model and prompt."""

from typing import Any

from llama_stack.core.request_headers import get_authenticated_user
from llama_stack_api import Api, CreateResponseRequest
from llama_stack_api.common.errors import LlamaStackError

from lightspeed_providers.core.errors import (
    InvalidRequestError,
    NotFoundError,
    RequestTooLargeError,
)
from lightspeed_providers.core.principals import principal_of
from lightspeed_providers.responses.config import LightspeedResponsesConfig
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.profiles.choosing import Profiles
from lightspeed_providers.responses.profiles.config import ProfileConfig
from lightspeed_providers.responses.prompts import effective_prompt, prompt_version
from lightspeed_providers.responses.request_texts import InputText, function_names, input_texts
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
    ) -> None:
        self._config = config
        self._profiles = profiles
        self._deps = deps
        self._threads = threads

    async def admitted(self, request: CreateResponseRequest) -> OpenTurn:
        """Return the open turn of a request; raises a `LightspeedError` for one that may not be."""
        rules = self._profiles.chosen(request.metadata)
        texts = input_texts(request)
        self._check_size(texts, request.instructions or "")
        own_prompt = rules.system_prompt or self._config.system_prompt
        prompt = effective_prompt(
            request.instructions,
            own_prompt,
            may_request=not self._config.disable_query_system_prompt,
        )
        await self._check_guardrails(request)
        await self._check_stores(request)
        user_id = principal_of(get_authenticated_user())
        wanted = request.model == self._config.model_alias
        model = self._model_of(rules) if wanted else request.model
        return OpenTurn(
            user_id=user_id,
            thread=self._threads.of(user_id, request.conversation, request.previous_response_id),
            rules=rules,
            prompt=prompt,
            prompt_version=prompt_version(own_prompt),
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
            input_items=1 if isinstance(request.input, str) else len(request.input),
        )

    def _model_of(self, rules: ProfileConfig) -> str:
        return rules.model or self._config.default_model

    def _check_size(self, texts: list[InputText], instructions: str) -> None:
        if not any(t.text.strip() for t in texts):
            raise InvalidRequestError("`input` holds no text: send the user's question in it.")
        size = sum(len(t.text) for t in texts) + len(instructions)
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
        raise NotFoundError(f"Model '{model}' does not exist here: choose one of {offered}.")
