"""Texts of a request that are no turn of a conversation: instructions, functions, unknown fields.

They are the client's own, so nothing in them blocks; but what is rewritten in a question would
reach the model through them.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from llama_stack_api import CreateResponseRequest

_IDENTIFIERS = ("safety_identifier", "prompt_cache_key")

type Rewrite = Callable[[str], Awaitable[str]]


async def rewritten_settings(
    request: CreateResponseRequest, rewrite: Rewrite
) -> CreateResponseRequest:
    """Return the request with every text rewritten that the host sends to the model beside turns.

    Those are functions' descriptions and schemas, the answer's format, identifiers, and whatever
    fields the host does not know.
    """
    changed = {
        name: await _values(value, rewrite) for name, value in (request.model_extra or {}).items()
    }
    for name in _IDENTIFIERS:
        changed[name] = await _values(getattr(request, name), rewrite)
    if request.tools:
        changed["tools"] = [await _tool(tool, rewrite) for tool in request.tools]
    if request.text is not None:
        answer_format = await _values(request.text.format, rewrite)
        changed["text"] = request.text.model_copy(update={"format": answer_format})
    return request.model_copy(update=changed)


async def _tool(tool: Any, rewrite: Rewrite) -> Any:  # Any: the host's tools of many kinds
    return await _function(tool, rewrite) if tool.type == "function" else tool


async def _function(tool: Any, rewrite: Rewrite) -> Any:  # Any: the host's function tools
    return tool.model_copy(
        update={
            "description": await _values(tool.description, rewrite),
            "parameters": await _values(tool.parameters, rewrite),
        }
    )


async def _values(value: Any, rewrite: Rewrite) -> Any:  # Any: JSON
    """Return JSON with its texts rewritten, and its names as they are."""
    if isinstance(value, str):
        return await rewrite(value) if value.strip() else value
    if isinstance(value, Mapping):
        return {name: await _values(inner, rewrite) for name, inner in value.items()}
    if isinstance(value, list):
        return [await _values(inner, rewrite) for inner in value]
    return value
