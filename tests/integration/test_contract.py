"""What we promise the host: complete protocols, distinct types, no field of a request lost."""

import importlib
import inspect
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import in_server
from llama_stack_api import (
    Api,
    CreateResponseRequest,
    InferenceProvider,
    ModelsProtocolPrivate,
    ProviderSpec,
    Responses,
    Safety,
    ShieldsProtocolPrivate,
    ToolGroupsProtocolPrivate,
    ToolRuntime,
    VectorIO,
)
from starlette.testclient import TestClient

from lightspeed_providers.core.turns import TurnSink
from lightspeed_providers.core.verdicts import ShieldRunner
from lightspeed_providers.provider import get_provider_spec
from lightspeed_providers.readiness.api import Readiness
from lightspeed_providers.transcripts.api import Transcripts

SPECS = {spec.provider_type: spec for spec in get_provider_spec()}

CLAIMS = [
    ("llama_cpp.llama_cpp", "LlamaCppImpl", [InferenceProvider, ModelsProtocolPrivate]),
    (
        "embeddings.embeddings",
        "LightspeedEmbeddingsImpl",
        [InferenceProvider, ModelsProtocolPrivate],
    ),
    ("safety.safety", "LightspeedShieldsImpl", [Safety, ShieldsProtocolPrivate, ShieldRunner]),
    ("product_rag.product_rag", "LightspeedRagImpl", [ToolRuntime, ToolGroupsProtocolPrivate]),
    ("product_rag.vector_io", "LightspeedIndexImpl", [VectorIO]),
    ("responses.responses", "LightspeedResponsesImpl", [Responses]),
    ("transcripts.transcripts", "LightspeedTranscriptsImpl", [Transcripts, TurnSink]),
    ("readiness.readiness", "LightspeedReadinessImpl", [Readiness]),
]


def methods_of(protocol: type) -> set[str]:
    return {
        name
        for name, member in inspect.getmembers(protocol, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(("module", "name", "protocols"), CLAIMS, ids=lambda v: str(v))
def test_every_method_of_every_protocol_is_implemented(
    module: str, name: str, protocols: list[type]
) -> None:
    claimed = getattr(importlib.import_module(f"lightspeed_providers.{module}"), name)
    for protocol in protocols:
        for method in methods_of(protocol):
            ours = inspect.getattr_static(claimed, method, None)
            assert ours is not None, f"{name} lacks {protocol.__name__}.{method}"
            assert ours is not inspect.getattr_static(protocol, method), (
                f"{name} inherits {protocol.__name__}.{method} from the protocol itself"
            )


def test_all_provider_types_differ() -> None:
    types = [spec.provider_type for spec in get_provider_spec()]
    assert len(types) == len(set(types))
    assert set(types) >= {
        "inline::llama-cpp",
        "inline::lightspeed-shields",
        "inline::lightspeed-rag",
        "inline::lightspeed-index",
        "inline::lightspeed-responses",
        "inline::lightspeed-transcripts",
    }


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_a_spec_names_a_module_and_a_config_that_exist(spec: ProviderSpec) -> None:
    module = importlib.import_module(str(spec.module))
    assert inspect.iscoroutinefunction(module.get_provider_impl)
    package, name = spec.config_class.rsplit(".", 1)
    config = getattr(importlib.import_module(package), name)
    assert config.model_config["extra"] == "forbid"
    for field, info in config.model_fields.items():
        inherited = any(field in getattr(b, "model_fields", {}) for b in config.__mro__[1:])
        assert info.description or inherited, f"{name}.{field} lacks a description"


REQUEST: dict[str, Any] = {
    "input": [{"role": "user", "content": "How do I add a field to a model?"}],
    "model": "llama-cpp/gemma-3-270m",
    "background": False,
    "prompt": None,
    "instructions": "Answer in one line.",
    "parallel_tool_calls": False,
    "previous_response_id": None,
    "prompt_cache_key": "key",
    "conversation": None,
    "store": False,
    "stream": True,
    "temperature": 0.3,
    "top_p": 0.8,
    "frequency_penalty": 0.1,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    "include": ["message.output_text.logprobs"],
    "max_infer_iters": 3,
    "guardrails": ["lightspeed"],
    "max_tool_calls": 2,
    "max_output_tokens": 64,
    "reasoning": {"effort": "low"},
    "safety_identifier": "someone",
    "service_tier": "default",
    "metadata": {"ticket": "42"},
    "truncation": "disabled",
    "top_logprobs": 2,
    "presence_penalty": 0.2,
    "stream_options": {"include_obfuscation": False},
    "an_extra_field": {"kept": True},
}


class SpyingStock:
    """Stands where the stock provider does and keeps what reaches it."""

    def __init__(self, stock: Any) -> None:
        self.openai_responses_impl = stock.openai_responses_impl
        self.seen: CreateResponseRequest | None = None

    async def create_openai_response(self, request: CreateResponseRequest) -> AsyncIterator[Any]:
        self.seen = request
        return self._one_event()

    async def _one_event(self) -> AsyncIterator[Any]:
        yield SimpleNamespace(type="response.spied", sequence_number=0)


def test_every_field_of_a_request_survives_to_the_stock_provider(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = client.post("/v1/prompts", json={"prompt": "Answer politely."}).json()["prompt_id"]

    async def story() -> None:
        assert set(REQUEST) >= set(CreateResponseRequest.model_fields), (
            "a field is not covered here"
        )
        named = {"prompt": {"id": stored, "version": "1"}}
        request = CreateResponseRequest.model_validate(REQUEST | named)
        before = request.model_copy(deep=True)
        spy = SpyingStock(responses_impl._stock)
        monkeypatch.setattr(responses_impl, "_stock", spy)

        events = await responses_impl.create_openai_response(request)
        assert [event.type async for event in events] == ["response.spied"]

        assert spy.seen is not None
        # The shields that it names are enforced before and after the stock loop, not in it.
        assert spy.seen.guardrails is None
        for field in set(CreateResponseRequest.model_fields) - {"guardrails"}:
            assert getattr(spy.seen, field) == getattr(before, field), field
        assert (spy.seen.model_extra or {})["an_extra_field"] == {"kept": True}
        assert request == before, "the caller's request was changed in place"

    in_server(client, story)


def test_the_responses_spec_depends_on_what_its_face_uses() -> None:
    spec = SPECS["inline::lightspeed-responses"]
    assert {Api.safety, Api.shields, Api.models, Api.tool_runtime} <= set(spec.api_dependencies)
    assert Api("transcripts") in spec.optional_api_dependencies
