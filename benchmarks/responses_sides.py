"""This product's Responses API and the stock one in this process, with all that each stores.

Both have a real router and real SQLite stores of their own, as each has them by default: the
stock one keeps responses and chat completions in one file, ours keeps responses and, in files of
their own, chat completions and transcripts. Only the model is canned.
"""

import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llama_stack_api import (
    Api,
    CreateResponseRequest,
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionUsage,
    OpenAIChoiceDelta,
    OpenAIChunkChoice,
)
from responses_upstream import INSTANT, QUESTION, answer_of
from shields_sides import slow

from lightspeed_providers.responses.config import LightspeedResponsesConfig
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.transcripts.config import LightspeedTranscriptsConfig
from lightspeed_providers.transcripts.transcripts import LightspeedTranscriptsImpl

PROVIDER = "canned"
_OTHER_APIS = ("vector_io", "tool_groups", "conversations", "prompts", "files", "connectors")


class CannedProvider:
    """An inference provider that says at once what its model is known to say."""

    __provider_id__ = PROVIDER

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[OpenAIChatCompletionChunk]:
        """Return the answer's chunks."""
        return _chunks(params.model)

    async def openai_chat_completions_with_reasoning(self, params: Any) -> Any:
        """Say, as most providers do, that there is no reasoning."""
        raise NotImplementedError


async def _chunks(model: str) -> AsyncIterator[OpenAIChatCompletionChunk]:
    said = answer_of(model)
    for number, text in enumerate(said):
        role = "assistant" if number == 0 else None
        yield _chunk(model, OpenAIChoiceDelta(role=role, content=text))
    usage = OpenAIChatCompletionUsage(
        prompt_tokens=60, completion_tokens=len(said), total_tokens=60 + len(said)
    )
    last = _chunk(model, OpenAIChoiceDelta(), "stop")
    yield last.model_copy(update={"usage": usage})


def _chunk(
    model: str, delta: OpenAIChoiceDelta, finish_reason: Any = None
) -> OpenAIChatCompletionChunk:
    choice = OpenAIChunkChoice(index=0, delta=delta, finish_reason=finish_reason)
    return OpenAIChatCompletionChunk(
        id=f"chatcmpl-{time.perf_counter_ns()}", created=1, model=model, choices=[choice]
    )


class _OneProvider:
    """A routing table in which every model is the canned provider's."""

    def __init__(self) -> None:
        self._provider = CannedProvider()
        self.impls_by_provider_id = {PROVIDER: self._provider}

    async def get_object_by_identifier(self, kind: str, model: str) -> Any:
        return SimpleNamespace(
            identifier=model,
            model_type="llm",
            provider_id=PROVIDER,
            provider_resource_id=model.partition("/")[2],
        )

    async def get_provider_impl(self, model: str) -> CannedProvider:
        return self._provider


@dataclass(frozen=True)
class SlowSearch:
    """A documentation search that finds nothing, after a while."""

    seconds: float

    async def invoke_tool(self, tool_name: str, kwargs: dict[str, Any], **_: Any) -> Any:
        """Return no passages."""
        import asyncio

        await asyncio.sleep(self.seconds)
        return SimpleNamespace(error_message=None, metadata={"passages": []})


@dataclass
class Side:
    """One of the two providers, and what is to be ended with it."""

    name: str
    impl: Any  # Any: a Responses provider of the host's contract
    recorder: LightspeedTranscriptsImpl | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)

    async def ask(self, model: str = INSTANT, *, stream: bool = False) -> Any:
        """Return what the provider gives for the question."""
        request = CreateResponseRequest(model=f"{PROVIDER}/{model}", input=QUESTION, stream=stream)
        return await self.impl.create_openai_response(request)


@asynccontextmanager
async def both_sides(
    shield_ms: Sequence[float] = (), search_ms: float | None = None
) -> AsyncIterator[tuple[Side, Side]]:
    """Give ours, with so slow input shields and search, and the stock provider without."""
    from llama_stack.core.storage.datatypes import SqliteKVStoreConfig, SqliteSqlStoreConfig
    from llama_stack.core.storage.kvstore import register_kvstore_backends
    from llama_stack.core.storage.sqlstore.sqlstore import (
        register_sqlstore_backends,
        shutdown_sqlstore_backends,
    )

    Api.add("transcripts")  # the server learns it from `external_apis_dir`
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        os.environ["LIGHTSPEED_STATE_DIR"] = directory
        register_kvstore_backends({"kv_default": SqliteKVStoreConfig(db_path=str(place / "kv.db"))})
        register_sqlstore_backends(
            {
                name: SqliteSqlStoreConfig(db_path=str(place / f"{name}.db"))
                for name in ("sql_stock", "sql_ours", "sql_inference", "sql_transcripts")
            }
        )
        ours, stock = await _ours(shield_ms, search_ms), await _stock()
        try:
            yield ours, stock
        finally:
            await ours.impl.shutdown()
            if ours.recorder is not None:
                await ours.recorder.shutdown()
            await stock.impl.shutdown()
            await shutdown_sqlstore_backends()


async def _ours(shield_ms: Sequence[float], search_ms: float | None) -> Side:
    from lightspeed_providers.responses import get_provider_impl

    shields = [slow(f"input_slow_{n}", ms) for n, ms in enumerate(shield_ms)]
    policy = ShieldPolicy(shields)
    config = LightspeedResponsesConfig.model_validate(
        {
            "persistence": _persistence("sql_ours"),
            "default_model": f"{PROVIDER}/{INSTANT}",
            "profiles": [{"retrieval": {"mode": "off" if search_ms is None else "always"}}],
        }
    )
    recorder = LightspeedTranscriptsImpl(
        LightspeedTranscriptsConfig.model_validate({"store": _table("sql_transcripts", "turns")})
    )
    await recorder.initialize()

    async def the_policy(shield_id: str) -> ShieldPolicy:
        return policy

    deps = {
        **await _deps("sql_inference"),
        Api.tool_runtime: SlowSearch((search_ms or 0) / 1000),
        Api.shields: SimpleNamespace(
            impls_by_provider_id={"lightspeed": policy}, get_provider_impl=the_policy
        ),
        Api.models: _OneProvider(),
        Api("transcripts"): recorder,
    }
    return Side("ours", await get_provider_impl(config, deps, []), recorder)


async def _stock() -> Side:
    from llama_stack.providers.inline.responses.builtin import get_provider_impl
    from llama_stack.providers.inline.responses.builtin.config import BuiltinResponsesImplConfig

    config = BuiltinResponsesImplConfig(persistence=_persistence("sql_stock"))
    return Side("stock", await get_provider_impl(config, await _deps("sql_stock"), []))


async def _deps(inference_backend: str) -> dict[Api, Any]:
    from llama_stack.core.routers.inference import InferenceRouter
    from llama_stack.core.storage.datatypes import InferenceStoreReference
    from llama_stack.core.storage.sqlstore.authorized_sqlstore import AuthorizedSqlStore
    from llama_stack.core.storage.sqlstore.sqlstore import sqlstore_impl
    from llama_stack.providers.utils.inference.inference_store import InferenceStore

    reference = InferenceStoreReference.model_validate(_table(inference_backend, "inference_store"))
    store = InferenceStore(reference, [])
    await store.initialize()
    apart = AuthorizedSqlStore(sqlstore_impl(reference), [])
    unused: dict[Api, Any] = {Api(name): None for name in (*_OTHER_APIS, "tool_runtime", "safety")}
    return {
        **unused,
        Api.conversations: SimpleNamespace(sql_store=apart),
        Api.inference: InferenceRouter(_OneProvider(), store),  # type: ignore[arg-type]  # as much of a table as the router asks
    }


def _persistence(backend: str) -> dict[str, Any]:
    return {
        "agent_state": {"backend": "kv_default", "namespace": "agents"},
        "responses": _table(backend, "responses"),
    }


def _table(backend: str, table_name: str) -> dict[str, str]:
    return {"backend": backend, "table_name": table_name}
