"""The host's own Responses provider, built as ours builds it, with nothing of ours around it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from llama_stack.providers.inline.responses.builtin import get_provider_impl
from llama_stack.providers.inline.responses.builtin.config import BuiltinResponsesImplConfig
from llama_stack_api import Api


@asynccontextmanager
async def stock_alone(responses_impl: Any, upstream: Any) -> AsyncIterator[Any]:
    """Yield the stock provider over the server's own dependencies, but for the model."""
    config = BuiltinResponsesImplConfig(
        persistence=responses_impl.config.persistence,
        vector_stores_config=responses_impl.config.vector_stores_config,
    )
    deps = {**responses_impl._deps, Api.inference: upstream}
    stock = await get_provider_impl(config, deps, responses_impl._policy)
    # The host knows one set of stores a process, and another test may have named its own.
    stock.responses_store.sql_store = responses_impl._stock.responses_store.sql_store
    yield stock
    # A background worker that is stopped amid a response takes that for the response's end.
    going_on = stock.openai_responses_impl._background_response_tasks.values()
    await asyncio.gather(*going_on, return_exceptions=True)
    await asyncio.wait_for(stock.shutdown(), timeout=10)
