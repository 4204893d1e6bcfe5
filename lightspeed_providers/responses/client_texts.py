"""Texts of a request that are no turn of a conversation: its instructions, its functions.

They are the client's own, so nothing in them blocks; but what is rewritten in a question would
reach the model through them.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from llama_stack_api import CreateResponseRequest

type Rewrite = Callable[[str], Awaitable[str]]


async def rewritten_functions(
    request: CreateResponseRequest, rewrite: Rewrite
) -> CreateResponseRequest:
    """Return the request with the texts of its functions' descriptions and schemas rewritten."""
    if not any(tool.type == "function" for tool in request.tools or []):
        return request
    tools = [
        await _function(tool, rewrite) if tool.type == "function" else tool
        for tool in request.tools or []
    ]
    return request.model_copy(update={"tools": tools})


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
