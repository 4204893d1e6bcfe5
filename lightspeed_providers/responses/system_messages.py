"""System messages on the way to a model: the one prompt that holds comes first, and only once."""

from collections.abc import Sequence
from typing import Any

from llama_stack_api import (
    CreateResponseRequest,
    OpenAIDeveloperMessageParam,
    OpenAIMessageParam,
    OpenAIResponseMessage,
    OpenAISystemMessageParam,
)

from lightspeed_providers.responses.prompts import Prompting
from lightspeed_providers.responses.request_texts import text_of

ROLES = frozenset({"system", "developer"})


def without_inserted(
    messages: Sequence[OpenAIMessageParam], prompting: Prompting
) -> list[OpenAIMessageParam]:
    """Return messages without those that the stock loop puts first for a client's own prompt.

    Where clients may have none, what came with a conversation goes too.
    """
    first = 0
    while first < prompting.inserted and isinstance(messages[first], OpenAISystemMessageParam):
        first += 1
    others = messages[first:]
    return list(others) if prompting.keeps_messages else [m for m in others if not _instructs(m)]


def with_prompt(messages: Sequence[OpenAIMessageParam], prompt: str) -> list[OpenAIMessageParam]:
    """Return messages after the prompt that holds, if there is one."""
    return [OpenAISystemMessageParam(content=prompt), *messages] if prompt else list(messages)


def brings_system_message(request: CreateResponseRequest) -> bool:
    """Tell whether a request's input tells the model how to behave."""
    return any(_is_system(item) and text_of(item.content).strip() for item in _items(request))


def without_system_messages(request: CreateResponseRequest) -> CreateResponseRequest:
    """Return the request without system messages in its input."""
    if not any(map(_is_system, _items(request))):
        return request
    kept = [item for item in _items(request) if not _is_system(item)]
    return request.model_copy(update={"input": kept})


def _items(request: CreateResponseRequest) -> Sequence[Any]:  # Any: input items of many kinds
    return () if isinstance(request.input, str) else request.input


def _is_system(item: Any) -> bool:  # Any: as above
    return isinstance(item, OpenAIResponseMessage) and item.role in ROLES


def _instructs(message: OpenAIMessageParam) -> bool:
    return isinstance(message, OpenAISystemMessageParam | OpenAIDeveloperMessageParam)
