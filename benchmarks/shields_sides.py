"""This product's Responses API and the stock one, over one canned upstream, in this process.

Neither stores its answers, so that only shields make a difference.
"""

import asyncio
import math
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from llama_stack_api import (
    Api,
    CreateResponseRequest,
    OpenAIChatCompletionChunk,
    OpenAIChatCompletionRequestWithExtraBody,
    OpenAIChoiceDelta,
    OpenAIChunkChoice,
    OpenAIUserMessageParam,
)
from llama_stack_api.safety import ModerationObject, ModerationObjectResults
from pydantic import Field
from shields_answer import QUESTION, spoken

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.responses.config import LightspeedResponsesConfig
from lightspeed_providers.responses.guarded import GuardedInference
from lightspeed_providers.responses.model_request import TURN
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.profiles.config import ProfileConfig
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Block,
    Models,
    Shield,
    ShieldOptions,
)

MODEL = "canned/model"
CHECKPOINT_CHARS = LightspeedResponsesConfig.model_fields["checkpoint_chars"].default


class SlowOptions(ShieldOptions):
    """A fake kind: it takes as long as a model would, and says what it is told to."""

    kind: Literal["slow"] = "slow"
    delay_ms: float = Field(ge=0, description="How long a check takes.")
    blocks: bool = Field(default=False, description="Whether it blocks every text.")

    def build(self, models: Models) -> "SlowShield":
        """Return the shield."""
        return SlowShield(self)


class SlowShield(Shield):
    """Sleeps; keeps how long each check took and when the last one ended."""

    def __init__(self, options: SlowOptions) -> None:
        self._options = options
        self.took_s: list[float] = []
        self.ended_at = math.inf

    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        """Answer after the delay."""
        began = time.perf_counter()
        await asyncio.sleep(self._options.delay_ms / 1000)
        self.ended_at = time.perf_counter()
        self.took_s.append(self.ended_at - began)
        return Block() if self._options.blocks else Allow()


def slow(shield_id: str, delay_ms: float, **options: Any) -> ConfiguredShield:
    """Return a configured slow shield."""
    chosen = SlowOptions(delay_ms=delay_ms, refusal="Refused.", **options)
    return ConfiguredShield(shield_id, chosen, chosen.build(no_models()))


def no_models() -> Models:
    """Return models for shields that ask none."""

    def none(model: str) -> Any:
        raise LookupError(f"a shield of this benchmark asks for the model {model!r}")

    return Models(none, none)


class CannedInference:
    """Says the same to everybody, and when it gave what."""

    def __init__(self, said: Sequence[str], pause_s: float, first_s: float = 0.0) -> None:
        self._said = said
        self._pause_s = pause_s
        self._first_s = first_s
        self.latest_at = self.latest_cpu = 0.0
        self.given = 0
        self.store = None

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[OpenAIChatCompletionChunk]:
        """Return the answer's chunks."""
        self.given = 0
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[OpenAIChatCompletionChunk]:
        async for text in spoken(self._said, self._pause_s, self._first_s):
            chunk = _chunk(text)
            self.given += 1
            self.latest_at, self.latest_cpu = time.perf_counter(), time.thread_time()
            yield chunk
        chunk = _chunk(None, "stop")
        self.latest_at, self.latest_cpu = time.perf_counter(), time.thread_time()
        yield chunk


def _chunk(text: str | None, finish_reason: Any = None) -> OpenAIChatCompletionChunk:
    delta = OpenAIChoiceDelta(content=text)
    choice = OpenAIChunkChoice(index=0, delta=delta, finish_reason=finish_reason)
    return OpenAIChatCompletionChunk(
        id="chatcmpl-canned", created=int(time.time()), model="model", choices=[choice]
    )


@dataclass
class StockSafety:
    """A safety provider of the stock shape whose every moderation takes as long."""

    delay_ms: float
    shield_ids: tuple[str, ...] = ("slow",)
    checks: int = 0

    @property
    def routing_table(self) -> Any:
        """What the stock loop looks shields up in."""
        return self

    async def list_shields(self) -> Any:
        """Return the shields; they are their own models."""
        return SimpleNamespace(
            data=[SimpleNamespace(identifier=i, provider_resource_id=i) for i in self.shield_ids]
        )

    async def run_moderation(self, request: Any) -> ModerationObject:
        """Flag nothing after the delay."""
        self.checks += 1
        await asyncio.sleep(self.delay_ms / 1000)
        result = ModerationObjectResults(
            flagged=False, categories={}, category_applied_input_types={}, category_scores={}
        )
        return ModerationObject(id="modr-canned", model=request.model, results=[result])


@dataclass
class Heard:
    """One streamed answer as its reader got it."""

    total_s: float = 0.0
    first_s: float | None = None
    first_at: float | None = None
    text: str = ""
    late_ms: list[float] = field(default_factory=list)
    """Of each text that left, the ms since the newest delta before it."""
    late_cpu_ms: list[float] = field(default_factory=list)
    """The same in the event loop's CPU time, which other programs on the machine don't change."""
    left: list[tuple[int, int]] = field(default_factory=list)
    """After each text that left: how many deltas had come, and how many characters had left."""


async def heard(
    asked: Awaitable[AsyncIterator[Any]],  # Any: chunks, or Responses events
    inference: CannedInference | None = None,
) -> Heard:
    """Ask and read the answer to its end; seconds count from the question."""
    seen = Heard()
    parts: list[str] = []
    began = time.perf_counter()
    async for item in await asked:
        text = _text_of(item)
        if not text:
            continue
        now = time.perf_counter()
        if seen.first_at is None:
            seen.first_at, seen.first_s = now, now - began
        if inference is not None:
            seen.late_ms.append((now - inference.latest_at) * 1000)
            seen.late_cpu_ms.append((time.thread_time() - inference.latest_cpu) * 1000)
            before = seen.left[-1][1] if seen.left else 0
            seen.left.append((inference.given, before + len(text)))
        parts.append(text)
    seen.total_s = time.perf_counter() - began
    seen.text = "".join(parts)
    return seen


def _text_of(item: Any) -> str:
    if isinstance(item, OpenAIChatCompletionChunk):
        return (item.choices[0].delta.content or "") if item.choices else ""
    if item.type in ("response.failed", "response.incomplete"):
        raise RuntimeError(f"the stream ended with {item.type}")
    return item.delta if item.type == "response.output_text.delta" else ""


def open_turn(instructions: str = "") -> OpenTurn:
    """Return a turn as the face opens one."""
    return OpenTurn(
        user_id="anonymous",
        rules=ProfileConfig(name="benchmark"),
        prompt=instructions,
        prompt_version="0123456789ab",
        model_requested=MODEL,
        model=MODEL,
        question=QUESTION,
        streamed=True,
    )


async def gated(inference: Any, policy: ShieldPolicy, turn: OpenTurn) -> AsyncIterator[Any]:
    """Return what our gate lets out of the upstream's answer."""
    guarded = GuardedInference(inference, CHECKPOINT_CHARS)
    params = OpenAIChatCompletionRequestWithExtraBody.model_validate(
        {
            "model": MODEL,
            "messages": [OpenAIUserMessageParam(content=QUESTION)],
            "stream": True,
            TURN: (turn, policy),
        }
    )
    return await guarded.openai_chat_completion(params)


class Sides:
    """Builds whole Responses providers, ours and the stock one."""

    def __init__(self, persistence: Any) -> None:
        self._persistence = persistence

    async def ours(self, inference: Any, shields: Sequence[ConfiguredShield]) -> Any:
        """Return `inline::lightspeed-responses` with these shields enforced."""
        from lightspeed_providers.responses import get_provider_impl

        config = LightspeedResponsesConfig.model_validate(
            {
                "persistence": self._persistence,
                "default_model": MODEL,
                "profiles": [{"retrieval": {"mode": "off"}}],
            }
        )
        policy = ShieldPolicy(shields)
        return await get_provider_impl(config, {**self._others(inference), **_ruled(policy)}, [])

    async def stock(self, inference: Any, safety: StockSafety | None) -> Any:
        """Return `inline::builtin` with this safety provider."""
        from llama_stack.providers.inline.responses.builtin import get_provider_impl
        from llama_stack.providers.inline.responses.builtin.config import (
            BuiltinResponsesImplConfig,
        )

        config = BuiltinResponsesImplConfig(persistence=self._persistence)
        return await get_provider_impl(config, {**self._others(inference), Api.safety: safety}, [])

    def _others(self, inference: Any) -> dict[Api, Any]:
        apis = ("vector_io", "tool_runtime", "tool_groups", "conversations", "prompts", "files")
        unused: dict[Api, Any] = {Api(name): None for name in (*apis, "connectors")}
        return {**unused, Api.inference: inference}


def _ruled(policy: ShieldPolicy) -> dict[Api, Any]:
    async def the_policy(shield_id: str) -> ShieldPolicy:
        return policy

    async def the_model(kind: str, model: str) -> Any:
        return SimpleNamespace(model_type="llm", provider_id="canned")

    shields = SimpleNamespace(
        impls_by_provider_id={"lightspeed": policy}, get_provider_impl=the_policy
    )
    return {
        Api.shields: shields,
        Api.models: SimpleNamespace(get_object_by_identifier=the_model),
    }


async def answered(impl: Any, guardrails: Sequence[str] = ()) -> AsyncIterator[Any]:
    """Ask a Responses provider and return its events."""
    request = CreateResponseRequest(
        model=MODEL, input=QUESTION, stream=True, store=False, guardrails=list(guardrails) or None
    )
    return await impl.create_openai_response(request)


@asynccontextmanager
async def both_sides() -> AsyncIterator[Sides]:
    """Give the sides over stores in a directory that goes away."""
    from llama_stack.core.storage.datatypes import SqliteKVStoreConfig, SqliteSqlStoreConfig
    from llama_stack.core.storage.kvstore import register_kvstore_backends
    from llama_stack.core.storage.sqlstore.sqlstore import register_sqlstore_backends

    Api.add("transcripts")  # the server learns it from `external_apis_dir`
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        register_kvstore_backends({"kv_default": SqliteKVStoreConfig(db_path=str(place / "kv.db"))})
        register_sqlstore_backends(
            {"sql_default": SqliteSqlStoreConfig(db_path=str(place / "sql.db"))}
        )
        yield Sides(
            {
                "agent_state": {"backend": "kv_default", "namespace": "agents"},
                "responses": {"backend": "sql_default", "table_name": "responses"},
            }
        )
