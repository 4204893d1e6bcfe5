"""Every field of a request reaches the stock loop and the model as it does without us.

The stock provider alone, over the same dependencies and the same fake upstream, is what ours is
held against. A field that the host adds fails here until somebody has said what it means to us.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from conftest import guarded_of, in_server, with_rules
from fakes import ScriptedUpstream
from llama_stack_api import (
    CreateConversationRequest,
    CreatePromptRequest,
    CreateResponseRequest,
    OpenAIResponseObject,
    RetrieveResponseRequest,
)
from starlette.testclient import TestClient
from stock_alone import stock_alone

from lightspeed_providers.responses.model_request import TURN
from lightspeed_providers.responses.retrieval_config import RetrievalConfig

QUESTION = "How do I add a field to a model?"
MODEL = "llama-cpp/gemma-3-270m"
PROMPT = "You answer questions about Django."
STORE = {"type": "file_search", "vector_store_ids": ["vs_small"], "max_num_results": 2}
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
SEARCH = {"id": "call_1", "name": "file_search", "arguments": '{"query": "keepdb"}'}
ANSWER: tuple[Any, ...] = (["Write it as a class attribute."],)

type Prepare = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True)
class Given:
    """A value of a field that means something, with what it needs to mean it."""

    value: Any = None
    beside: dict[str, Any] = field(default_factory=dict)
    script: tuple[Any, ...] = ANSWER
    prepared: Prepare | None = None
    """Makes the value where it names something that has to exist."""


async def _conversation(responses_impl: Any) -> str:
    api = responses_impl._stock.openai_responses_impl.conversations_api
    said = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "Hello."}],
    }
    request = CreateConversationRequest.model_validate({"items": [said]})
    return str((await api.create_conversation(request)).id)


async def _earlier_response(responses_impl: Any) -> str:
    request = CreateResponseRequest(model=MODEL, input=QUESTION, instructions=PROMPT)
    return str((await responses_impl.create_openai_response(request)).id)


async def _prompt(responses_impl: Any) -> dict[str, Any]:
    api = responses_impl._stock.openai_responses_impl.prompts_api
    text = "Speak to {{ who }}."
    prompt = await api.create_prompt(CreatePromptRequest(prompt=text, variables=["who"]))
    variables = {"who": {"type": "input_text", "text": "a child"}}
    return {"id": prompt.prompt_id, "version": str(prompt.version), "variables": variables}


FIELDS: dict[str, Given] = {
    "input": Given(
        [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": QUESTION},
                    {"type": "input_image", "image_url": "https://files.example/a.png"},
                ],
            },
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "Rain."},
        ]
    ),
    "model": Given("llama-cpp/another-model"),
    "background": Given(True),
    "prompt": Given(prepared=_prompt),
    "instructions": Given("Answer in one word."),
    "parallel_tool_calls": Given(False, {"tools": [WEATHER]}),
    "previous_response_id": Given(prepared=_earlier_response),
    "prompt_cache_key": Given("cache-7"),
    "conversation": Given(prepared=_conversation),
    "store": Given(False),
    "stream": Given(True),
    "temperature": Given(0.25),
    "top_p": Given(0.5),
    "frequency_penalty": Given(0.75),
    "text": Given(
        {
            "format": {
                "type": "json_schema",
                "name": "answer",
                "schema": {"type": "object", "properties": {"a": {"type": "string"}}},
                "strict": True,
            }
        }
    ),
    "tool_choice": Given({"type": "function", "name": "weather"}, {"tools": [WEATHER]}),
    "tools": Given([STORE, WEATHER], script=([SEARCH], *ANSWER)),
    "include": Given(["message.output_text.logprobs"]),
    "max_infer_iters": Given(2, {"tools": [STORE]}, script=([SEARCH],)),
    "guardrails": Given(["lightspeed"]),
    "max_tool_calls": Given(1, {"tools": [STORE]}, script=([SEARCH], *ANSWER)),
    "max_output_tokens": Given(64),
    "reasoning": Given({"effort": "low", "summary": "auto"}),
    "safety_identifier": Given("user-7"),
    "service_tier": Given("priority"),
    "metadata": Given({"channel": "docs"}),
    "truncation": Given("disabled"),
    "top_logprobs": Given(3),
    "presence_penalty": Given(-0.5),
    "stream_options": Given({"include_obfuscation": False}),
}
EXTRAS = {
    "chat_template_kwargs": {"enable_thinking": False},
    "seed": 7,
    "logit_bias": {"50256": -1},
}

TO_THE_LOOP = {
    "stream": "the loop is always read event by event; a whole answer is its last event",
    "guardrails": "the server's own shields run around the loop, never in it",
}
"""What our face changes on its way to the stock loop, on purpose."""

OURS_ALONE = {TURN: "carries the open turn to the decorated inference, which takes it off again"}


FOUND = "what a search found is told in our words, the same in every mode"
CITED = "what a search found is cited"
LAST = "the last call that may be made has no tools, so that it gives an answer"
SEARCHED = {
    "sent.1.messages.3.content": FOUND,
    "response.metadata": CITED,
    "response.output.1.content.0.annotations": CITED,
}
CHANGED: dict[str, dict[str, str]] = {
    "prompt": {"sent.0.messages": "a stored prompt and the instructions are one system message"},
    "previous_response_id": {
        "sent.0.messages.2.lightspeed_response": "a mark of ours on stored messages: ours takes it "
        "off before the model, the stock provider finds it there"
    },
    "tools": SEARCHED,
    "max_infer_iters": {
        "sent.1.messages.3.content": FOUND,
        "sent.1.parallel_tool_calls": LAST,
        "sent.1.tools": LAST,
        "response.output.1": LAST,
        "response.status": LAST,
        "response.incomplete_details": LAST,
    },
    "max_tool_calls": {
        **SEARCHED,
        "sent.1.parallel_tool_calls": LAST,
        "sent.1.tools": LAST,
    },
}
"""Where a model, or a client, gets something else than without us, on purpose, by field."""


def test_every_field_of_the_host_is_known_here() -> None:
    assert set(FIELDS) == set(CreateResponseRequest.model_fields)


@dataclass(frozen=True)
class Outcome:
    """What one provider made of a request."""

    sent: list[dict[str, Any]]
    response: dict[str, Any]


async def outcome(
    provider: Any, upstream: ScriptedUpstream, asked: CreateResponseRequest
) -> Outcome:
    """Ask a provider, to the end."""
    answer = await provider.create_openai_response(asked)
    if isinstance(answer, AsyncIterator):
        answer = [event async for event in answer][-1].response
    async with asyncio.timeout(30):
        # The loop writes a background response twice; only the second says that it is one.
        while answer.status in ("queued", "in_progress") or answer.background != bool(
            asked.background
        ):
            await asyncio.sleep(0.02)
            request = RetrieveResponseRequest(response_id=answer.id)
            answer = await provider.get_openai_response(request)
    assert type(answer) is OpenAIResponseObject
    return Outcome([params.model_dump() for params in upstream.asked], comparable(answer))


def comparable(response: OpenAIResponseObject) -> dict[str, Any]:
    """Return a response without what differs between any two."""
    dumped = response.model_dump(exclude={"id", "created_at", "completed_at"})
    for item in dumped["output"]:
        item.pop("id")
    return dumped


def differences(ours: Any, theirs: Any, place: str) -> list[str]:
    """Return where two values of JSON differ, and how."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = sorted(ours.keys() | theirs.keys())
        pairs = [(f"{place}.{n}", ours.get(n, "(none)"), theirs.get(n, "(none)")) for n in names]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = [(f"{place}.{n}", *pair) for n, pair in enumerate(zip(ours, theirs, strict=True))]
    else:
        return [] if ours == theirs else [f"{place}: {ours!r} instead of {theirs!r}"]
    return [found for where, our, their in pairs for found in differences(our, their, where)]


async def request_of(name: str, given: Given, responses_impl: Any) -> CreateResponseRequest:
    value = await given.prepared(responses_impl) if given.prepared else given.value
    whole = {"model": MODEL, "input": QUESTION, "instructions": PROMPT, **given.beside, name: value}
    return CreateResponseRequest.model_validate(whole)


@pytest.fixture
def received(responses_impl: Any, monkeypatch: pytest.MonkeyPatch) -> list[CreateResponseRequest]:
    """The requests that the stock loop gets from our face."""
    seen: list[CreateResponseRequest] = []
    stock = responses_impl._stock
    create = stock.create_openai_response

    async def noting(request: CreateResponseRequest) -> Any:
        seen.append(request)
        return await create(request)

    monkeypatch.setattr(stock, "create_openai_response", noting)
    return seen


@pytest.fixture
def ungrounded(responses_impl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No retrieval: passages are what a profile adds on purpose."""
    with_rules(monkeypatch, responses_impl, retrieval=RetrievalConfig(mode="off"))


@pytest.mark.usefixtures("ungrounded")
@pytest.mark.parametrize("name", CreateResponseRequest.model_fields)
def test_a_field_means_what_it_means_to_the_stock_provider(
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    received: list[CreateResponseRequest],
    name: str,
) -> None:
    given = FIELDS[name]

    async def story() -> None:
        preparing = ScriptedUpstream(*ANSWER)
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", preparing)
        asked = await request_of(name, given, responses_impl)
        before = asked.model_copy(deep=True)
        received.clear()
        upstream = ScriptedUpstream(*given.script)
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        ours = await outcome(responses_impl, upstream, asked)
        assert asked == before, "the caller's request is the caller's"
        [got] = received
        unchanged = [f for f in CreateResponseRequest.model_fields if f not in TO_THE_LOOP]
        assert {f: getattr(got, f) for f in unchanged} == {f: getattr(asked, f) for f in unchanged}
        assert set(got.model_extra or {}) == set(OURS_ALONE)

        alone = ScriptedUpstream(*given.script)
        if name == "conversation":  # ours has added its turn to the other one
            asked = await request_of(name, given, responses_impl)
        async with stock_alone(responses_impl, alone) as stock:
            theirs = await outcome(stock, alone, asked)
        found = [
            *differences(ours.sent, theirs.sent, "sent"),
            *differences(ours.response, theirs.response, "response"),
        ]
        changed = CHANGED.get(name, {})
        unknown = [f for f in found if not any(f.startswith(place) for place in changed)]
        assert not unknown, "\n".join(unknown)
        assert all(any(f.startswith(place) for f in found) for place in changed), found

    in_server(client, story)


async def both(
    asked: CreateResponseRequest, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[Outcome, Outcome]:
    """Return what ours makes of a request, and what the stock provider alone does."""
    upstream, alone = ScriptedUpstream(*ANSWER), ScriptedUpstream(*ANSWER)
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
    async with stock_alone(responses_impl, alone) as stock:
        return await outcome(responses_impl, upstream, asked), await outcome(stock, alone, asked)


@pytest.mark.usefixtures("ungrounded")
def test_fields_that_the_host_does_not_know_reach_the_model(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        asked = CreateResponseRequest.model_validate(
            {"model": MODEL, "input": QUESTION, "instructions": PROMPT, **EXTRAS}
        )
        before = asked.model_copy(deep=True)
        ours, theirs = await both(asked, responses_impl, monkeypatch)
        assert asked == before
        assert {name: ours.sent[0][name] for name in EXTRAS} == EXTRAS
        assert differences(ours.sent, theirs.sent, "sent") == []
        assert differences(ours.response, theirs.response, "response") == []

    in_server(client, story)


@pytest.mark.usefixtures("ungrounded")
@pytest.mark.parametrize("name", ["top_p", "prompt_cache_key", "top_logprobs", "stream_options"])
def test_what_the_stock_loop_loses_in_the_background_is_lost_with_us_too(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Llama Stack 0.7.3 does not hand these fields to its background workers."""

    async def story() -> None:
        given = Given(FIELDS[name].value, {"background": True})
        asked = await request_of(name, given, responses_impl)
        ours, theirs = await both(asked, responses_impl, monkeypatch)
        assert differences(ours.sent, theirs.sent, "sent") == []
        assert differences(ours.response, theirs.response, "response") == []
        assert str(FIELDS[name].value) not in str(theirs.sent[0].get(name)), "the host keeps it now"

    in_server(client, story)


def test_without_any_field_the_profile_changes_prompt_passages_and_citations_only(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        asked = CreateResponseRequest(model=MODEL, input=QUESTION)
        ours, theirs = await both(asked, responses_impl, monkeypatch)
        found = [
            *differences(ours.sent, theirs.sent, "sent"),
            *differences(ours.response, theirs.response, "response"),
        ]
        changed = {
            "sent.0.messages": "the profile's prompt and the passages",
            "response.output.0.content.0.annotations": "the documents that the answer rests on",
            "response.metadata": "the same documents, for clients of Lightspeed",
        }
        assert {next((c for c in changed if f.startswith(c)), f) for f in found} == set(changed)
        assert set(ours.response["metadata"]) == {"referenced_documents"}

    in_server(client, story)
