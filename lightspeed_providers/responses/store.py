"""The stored response is the cited one."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from llama_stack_api import OpenAIMessageParam, OpenAIResponseInput, OpenAIResponseObject

from lightspeed_providers.responses.history import HistoryStore

Finish = Callable[[OpenAIResponseObject], Awaitable[OpenAIResponseObject]]


class CitedResponsesStore:
    """The stock store of responses; each goes through `finish` before it is written."""

    def __init__(self, store: HistoryStore, finish: Finish) -> None:
        self._store = store
        self._finish = finish

    def __getattr__(self, name: str) -> Any:  # Any: whatever the stock store offers
        return getattr(self._store, name)

    async def upsert_response_object(
        self,
        response_object: OpenAIResponseObject,
        input: list[OpenAIResponseInput],
        messages: Sequence[OpenAIMessageParam],
    ) -> None:
        """Write a response as it stands, cited if it is final."""
        cited = await self._finish(response_object)
        await self._store.upsert_response_object(cited, input, list(messages))

    async def update_response_object(self, response_object: OpenAIResponseObject) -> None:
        """Write a changed response, cited if it is final."""
        await self._store.update_response_object(await self._finish(response_object))
