"""Vector stores ask models too: about documents that they take in, and questions they rewrite.

A client may choose that model and what it is asked, so it is a way to a model as any other.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from lightspeed_providers.core.errors import UnprocessableError


class AskedByStores:
    """Inference as the host's vector stores see it: a refusal is an error, not a text to keep."""

    def __init__(self, inference: Any, ask: Callable[[Any], Awaitable[Any]]) -> None:
        self._inference = inference
        self._ask = ask

    def __getattr__(self, name: str) -> Any:  # Any: whatever the inference router offers
        return getattr(self._inference, name)

    async def openai_chat_completion(self, params: Any) -> Any:  # Any: the host's or an SDK's
        """Return a whole answer; raises where a shield has refused the question or the answer."""
        answer = await self._ask(params)
        for choice in answer.choices:
            if choice.finish_reason == "content_filter":
                raise UnprocessableError(f"A shield refused it: {choice.message.content}")
        return answer


def guard_stores(vector_io: Any, inference: Any, ask: Callable[[Any], Awaitable[Any]]) -> None:
    """Let the host's vector stores ask through a door; `inference` is what they hold now."""
    table = getattr(vector_io, "routing_table", None)
    providers = getattr(table, "impls_by_provider_id", {})
    for holder in (vector_io, *providers.values()):
        if getattr(holder, "inference_api", None) is inference:
            holder.inference_api = AskedByStores(inference, ask)
