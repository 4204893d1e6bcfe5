"""Chat completions and text completions pass the shields of the Responses API, or are closed."""

import asyncio
import json
import multiprocessing
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
import yaml
from conftest import OTHER_SWITCHES, in_server, run_config
from fakes import USAGE, AnsweringUpstream, EndlessUpstream
from llama_stack.core.datatypes import User
from llama_stack.core.library_client import AsyncLlamaStackAsLibraryClient
from llama_stack.core.request_headers import (
    get_authenticated_user,
    request_provider_data_context,
)
from llama_stack.core.server.server import create_app
from llama_stack_api import Api, OpenAIChatCompletionRequestWithExtraBody
from scripted_shields import Scripted, policy_of, scripted_policy
from starlette.testclient import TestClient

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.core.verdicts import Release
from lightspeed_providers.responses.doors.kept import Kept
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.safety.shields.base import Allow, Block

MODEL = "llama-cpp/gemma-3-270m"
CANARY = "tangerine canary"
REFUSAL = "A canary was seen."
PATTERN = {"kind": "patterns", "phrases": [CANARY], "refusal": REFUSAL}
EMAIL = "jane.doe@example.org"
QUESTION = "How do I add a field to a model?"
NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"

type Shields = Callable[[ShieldPolicy], None]
type Behind = Callable[[Any], Any]


@pytest.fixture
def shields(app: Any, monkeypatch: pytest.MonkeyPatch) -> Shields:
    """Puts another policy in the place of the server's."""
    safety = app.stack.impls[Api.safety].routing_table.impls_by_provider_id["lightspeed"]
    return lambda policy: monkeypatch.setattr(safety, "_policy", policy)


@pytest.fixture
def canary(shields: Shields) -> None:
    shields(policy_of({"inout_canary": PATTERN, "tool_canary": PATTERN}))


@pytest.fixture
def redaction(shields: Shields) -> None:
    shields(
        policy_of(
            {"inout_redaction": {"kind": "redaction"}, "tool_redaction": {"kind": "redaction"}}
        )
    )


@pytest.fixture
def door(responses_impl: Any) -> Any:
    """What stands before the inference router of the server."""
    return responses_impl.side_door


@pytest.fixture
def behind(door: Any, monkeypatch: pytest.MonkeyPatch) -> Behind:
    """Puts a model behind the door, and returns it."""

    def put[U](model: U) -> U:
        monkeypatch.setattr(door, "_inference", model)
        return model

    return put


def chat(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    said = messages or ({"role": "user", "content": QUESTION},)
    return {"model": MODEL, "messages": list(said), **fields}


def events(answer: Any) -> list[dict[str, Any]]:
    """The events of a stream, as they were sent."""
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    lines = answer.text.split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


def said_in(chunks: list[dict[str, Any]], index: int = 0, field: str = "content") -> str:
    choices = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
    return "".join((c["text"] if "text" in c else c["delta"].get(field)) or "" for c in choices)


def reasons_in(chunks: list[dict[str, Any]], index: int = 0) -> list[str]:
    choices = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
    return [c["finish_reason"] for c in choices if c["finish_reason"]]


def sent_to(model: Any) -> str:
    """All that a model was asked, as one text."""
    return "\n".join(p.model_dump_json() for p in model.asked)


# What a client sends


USER = {"role": "user", "content": QUESTION}
CALL = {
    "id": "c",
    "type": "function",
    "function": {"name": "f", "arguments": f'{{"a": "{CANARY}"}}'},
}
BLOCKED = {
    "a question": [{"role": "user", "content": f"What is {CANARY}?"}],
    "a question split over parts": [
        {"role": "user", "content": [
            {"type": "text", "text": "What is tangerine"}, {"type": "text", "text": "canary?"}]},
    ],
    "a name and a question": [{"role": "user", "name": "tangerine", "content": "canary?"}],
    "a text file": [
        {"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "file", "file": {
                "filename": "a.txt",
                "file_data": "data:text/plain;base64,dGFuZ2VyaW5lIGNhbmFyeQ=="}},
        ]},
    ],
    "an earlier question": [
        {"role": "user", "content": f"What is {CANARY}?"},
        {"role": "assistant", "content": "Nothing."},
        USER,
    ],
    "an earlier answer": [USER, {"role": "assistant", "content": f"It is {CANARY}."}, USER],
    "reasoning of an earlier answer": [
        USER, {"role": "assistant", "content": "Hm.", "reasoning_content": f"A {CANARY}."}, USER,
    ],
    "an earlier call": [
        USER,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "Fine."},
    ],
    "a tool's result": [
        USER,
        {"role": "assistant", "tool_calls": [
            {**CALL, "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": f"It is {CANARY}."},
    ],
}  # fmt: skip


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("place", BLOCKED)
@pytest.mark.parametrize("stream", [True, False])
def test_what_a_shield_blocks_reaches_no_model(
    place: str, stream: bool, client: TestClient, behind: Behind
) -> None:
    model = behind(AnsweringUpstream("An answer."))
    options = {"stream_options": {"include_usage": True}} if stream else {}
    answer = client.post(CHAT, json=chat(*BLOCKED[place], stream=stream, **options))
    assert answer.status_code == 200
    assert model.asked == []
    if stream:
        chunks = events(answer)
        assert said_in(chunks) == REFUSAL
        assert reasons_in(chunks) == ["content_filter"]
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        assert chunks[-1]["usage"] | NO_TOKENS == chunks[-1]["usage"]
        return
    body = answer.json()
    [choice] = body["choices"]
    assert choice["message"]["content"] == REFUSAL
    assert choice["finish_reason"] == "content_filter"
    assert body["model"] == MODEL
    assert body["usage"] | NO_TOKENS == body["usage"]


PARTS = [{"type": "text", "text": EMAIL}]
REWRITTEN = {
    "question": {"messages": [{"role": "user", "content": f"Is {EMAIL} right?"}]},
    "parts": {"messages": [{"role": "user", "content": PARTS}]},
    "name": {"messages": [{**USER, "name": EMAIL}]},
    "system": {"messages": [{"role": "system", "content": f"Jane is {EMAIL}."}, USER]},
    "developer": {"messages": [{"role": "developer", "content": PARTS, "name": EMAIL}, USER]},
    "answer": {"messages": [USER, {"role": "assistant", "content": EMAIL, "name": EMAIL}, USER]},
    "answer's unknown field": {
        "messages": [USER, {"role": "assistant", "content": "A", "x": [{"y": EMAIL}]}, USER]
    },
    "call": {
        "messages": [
            USER,
            {"role": "assistant", "tool_calls": [
                {"id": EMAIL, "type": "function",
                 "function": {"name": EMAIL, "arguments": f'{{"a": "{EMAIL}"}}'}}]},
            {"role": "tool", "tool_call_id": EMAIL, "content": EMAIL},
        ]
    },
    "image address": {
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "Look."},
            {"type": "image_url", "image_url": {"url": f"https://example.org/?q={EMAIL}"}}]}]
    },
    "file": {
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "Read."},
            {"type": "file", "file": {"filename": f"{EMAIL}.pdf", "file_id": EMAIL}}]}]
    },
    "tools": {"tools": [{"type": "function", "function": {
        "name": "f", "description": f"Of {EMAIL}", "parameters": {
            "type": "object", "properties": {"a": {"type": "string", "enum": [EMAIL]}}}}}]},
    "functions": {"functions": [{"name": "f", "description": EMAIL}], "function_call": EMAIL},
    "tool choice": {
        "tools": [{"type": "function", "function": {"name": EMAIL}}],
        "tool_choice": {"type": "function", "function": {"name": EMAIL}},
    },
    "format": {"response_format": {"type": "json_schema", "json_schema": {
        "name": EMAIL, "description": EMAIL, "schema": {"title": EMAIL}}}},
    "identifiers": {"user": EMAIL, "safety_identifier": EMAIL, "prompt_cache_key": EMAIL},
    "stop": {"stop": [EMAIL]},
    "stop text": {"stop": EMAIL},
    "stream options": {"stream_options": {"for": EMAIL}},
    "unknown fields": {"metadata": {"for": EMAIL}, "prediction": {"content": [{"text": EMAIL}]}},
}  # fmt: skip


@pytest.mark.usefixtures("redaction")
@pytest.mark.parametrize("place", REWRITTEN)
def test_personal_data_reaches_no_model_by_any_field(
    place: str, client: TestClient, behind: Behind
) -> None:
    model = behind(AnsweringUpstream("An answer."))
    answer = client.post(CHAT, json={**chat(), **REWRITTEN[place]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "An answer."
    assert "<EMAIL_1>" in sent_to(model)
    assert "example.org" not in sent_to(model).replace("https://example.org", "")


@pytest.mark.usefixtures("redaction")
def test_what_needs_no_change_reaches_the_model_as_it_was_sent(
    client: TestClient, behind: Behind
) -> None:
    model = behind(AnsweringUpstream("An answer."))
    schema = {"type": "object", "properties": {"city": {"type": "string", "default": None}}}
    request = chat(
        {"role": "system", "content": "Be short."},
        {"role": "user", "name": "jane", "content": [{"type": "text", "text": QUESTION}]},
        temperature=0.5,
        max_completion_tokens=9,
        tools=[{"type": "function", "function": {"name": "weather", "parameters": schema}}],
        tool_choice="auto",
        seed=3,
        logit_bias={"50256": -100},
        unknown={"a": [1, None, {"b": True}]},
    )
    assert client.post(CHAT, json=request).status_code == 200
    sent = model.asked[0].model_dump(exclude_none=True)
    assert sent["unknown"] == request["unknown"]
    assert sent["tools"] == request["tools"]
    assert {n: sent[n] for n in ("temperature", "max_completion_tokens", "seed", "logit_bias")} == {
        n: request[n] for n in ("temperature", "max_completion_tokens", "seed", "logit_bias")
    }
    assert sent["messages"] == request["messages"]


@pytest.mark.usefixtures("canary")
def test_a_conversation_goes_on_after_a_refusal(client: TestClient, behind: Behind) -> None:
    model = behind(AnsweringUpstream("An answer."))
    asked = {"role": "user", "content": f"What is {CANARY}?"}
    refusal = client.post(CHAT, json=chat(asked)).json()["choices"][0]["message"]
    answer = client.post(CHAT, json=chat(asked, refusal, USER)).json()
    assert answer["choices"][0]["message"]["content"] == "An answer."
    assert CANARY not in sent_to(model)


def test_shields_know_what_was_said_before_and_the_prompt(
    client: TestClient, behind: Behind, shields: Shields
) -> None:
    watching = Scripted()
    shields(scripted_policy(input_watching=watching))
    behind(AnsweringUpstream("An answer."))
    request = chat(
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "What is a model?"},
        {"role": "assistant", "content": "A class."},
        {"role": "user", "content": "And a field?"},
    )
    client.post(CHAT, json=request)
    assert watching.seen == ["What is a model?", "And a field?"]
    assert watching.contexts[-1].history == ("What is a model?",)
    assert watching.contexts[-1].instructions == "Be short."
    assert watching.contexts[-1].reference.startswith("chat_")
    client.post(CHAT, json=request)
    assert watching.seen[2:] == ["And a field?"]  # what was said before is known to pass


# What a model says


SAID = {
    "content": {"content": f"I begin. It is {CANARY}! And on."},
    "reasoning_content": {"content": "Fine.", "reasoning_content": f"I think of {CANARY}."},
    "reasoning": {"content": "Fine.", "reasoning": f"I think of {CANARY}."},
    "refusal": {"content": "", "refusal": f"Not {CANARY}."},
    "arguments": {"content": "", "tool_calls": [CALL]},
    "name": {"content": "", "tool_calls": [{
        "id": "c", "type": "function", "function": {"name": CANARY, "arguments": "{}"}}]},
    "function_call": {"content": "", "function_call": {"name": "f", "arguments": f'["{CANARY}"]'}},
    "audio": {"content": "", "audio": {
        "id": "a", "data": "UklGRg==", "expires_at": 1, "transcript": f"It is {CANARY}."}},
    "annotations": {"content": "Fine.", "annotations": [
        {"type": "url_citation", "url_citation": {"title": CANARY, "url": "https://a.example"}}]},
    "unknown field": {"content": f"{CANARY}", "thinking_blocks": [{"text": CANARY}]},
}  # fmt: skip


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("place", SAID)
def test_what_a_shield_blocks_never_leaves_in_a_whole_answer(
    place: str, client: TestClient, behind: Behind
) -> None:
    behind(AnsweringUpstream(SAID[place], "Another answer."))
    answer = client.post(CHAT, json=chat(n=2, logprobs=True))
    assert CANARY not in answer.text
    assert "secret-token" not in answer.text
    refused, other = answer.json()["choices"]
    assert refused["message"]["content"] == REFUSAL
    assert refused["finish_reason"] == "content_filter"
    assert not refused["message"].get("tool_calls")
    assert other["message"]["content"] == "Another answer."
    assert other["finish_reason"] == "stop"
    assert answer.json()["usage"] | USAGE == answer.json()["usage"]


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("place", SAID.keys() - {"audio", "annotations", "unknown field"})
def test_what_a_shield_blocks_never_leaves_in_a_stream(
    place: str, client: TestClient, behind: Behind
) -> None:
    behind(AnsweringUpstream(SAID[place], "Another answer."))
    request = chat(n=2, stream=True, logprobs=True, stream_options={"include_usage": True})
    chunks = events(client.post(CHAT, json=request))
    for field in ("content", "reasoning_content", "reasoning", "refusal"):
        assert "tangerine c" not in said_in(chunks, field=field)
    assert "canary" not in json.dumps(chunks).replace(REFUSAL, "")
    assert "secret-token" not in json.dumps(chunks)
    assert said_in(chunks).endswith(REFUSAL)
    if place == "content":
        assert said_in(chunks).startswith("I begin. ")
    assert reasons_in(chunks) == ["content_filter"]
    assert said_in(chunks, 1) == "Another answer."
    assert reasons_in(chunks, 1) == ["stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] | USAGE == chunks[-1]["usage"]


@pytest.mark.usefixtures("redaction")
@pytest.mark.parametrize("stream", [True, False])
def test_what_a_model_says_is_rewritten(stream: bool, client: TestClient, behind: Behind) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": f'["{EMAIL}"]'}}
    behind(
        AnsweringUpstream(
            {"content": f"Ask {EMAIL}.", "reasoning_content": EMAIL, "tool_calls": [call]}
        )
    )
    answer = client.post(CHAT, json=chat(stream=stream))
    assert "example.org" not in answer.text
    if stream:
        chunks = events(answer)
        assert said_in(chunks) == "Ask <EMAIL_1>."
        assert said_in(chunks, field="reasoning_content") == "<EMAIL_1>"
        [called] = [
            c for e in chunks for x in e["choices"] for c in x["delta"].get("tool_calls") or []
        ]
        assert reasons_in(chunks) == ["tool_calls"]
        assert called["index"] == 0
    else:
        [choice] = answer.json()["choices"]
        assert choice["message"]["content"] == "Ask <EMAIL_1>."
        assert choice["message"]["reasoning_content"] == "<EMAIL_1>"
        assert choice["finish_reason"] == "tool_calls"
        [called] = choice["message"]["tool_calls"]
    assert called["id"] == "c"
    assert called["function"] == {"name": "f", "arguments": '["<EMAIL_1>"]'}


def test_tokens_leave_with_their_probabilities_where_no_shield_looks(
    client: TestClient, behind: Behind, shields: Shields
) -> None:
    shields(policy_of({"input_canary": PATTERN}))
    behind(AnsweringUpstream({"content": "An answer.", "thinking_blocks": ["Hm."]}))
    whole = client.post(CHAT, json=chat(logprobs=True)).json()["choices"][0]
    assert whole["logprobs"]["content"][0]["token"] == "secret-token"
    assert whole["message"]["thinking_blocks"] == ["Hm."]
    chunks = events(client.post(CHAT, json=chat(logprobs=True, stream=True)))
    assert said_in(chunks) == "An answer."
    assert "secret-token" in json.dumps(chunks)


# Slow shields


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("shield_s", "model_s"), [(0.1, 5), (0.3, 0)])
def test_nothing_leaves_before_a_slow_shields_verdict(
    stream: bool,
    shield_s: float,
    model_s: float,
    client: TestClient,
    behind: Behind,
    shields: Shields,
    door: Any,
) -> None:
    slow = Scripted(Block(), shield_s, beside_model=True, timeout_s=5)
    shields(scripted_policy(input_slow=slow))
    model = behind(AnsweringUpstream("An answer.", seconds=model_s))
    answer = client.post(CHAT, json=chat(stream=stream))
    assert "An answer" not in answer.text
    assert "No: input_slow" in answer.text
    assert "content_filter" in answer.text
    assert len(model.asked) == 1
    assert model.stopped == (model_s > shield_s or stream)
    assert slow.seen == [QUESTION]
    answer = client.post(CHAT, json=chat(USER, {"role": "assistant", "content": "Hm."}, USER))
    assert len(slow.seen) == 3  # a question that was refused is not known to pass


def test_held_text_leaves_when_a_check_ends_though_the_model_is_silent(
    client: TestClient, behind: Behind, shields: Shields
) -> None:
    """A slow shield's verdict comes while nothing else does."""
    shields(scripted_policy(output_slow=Scripted(Allow(), 0.05, timeout_s=5)))

    class Pausing:
        paused = asyncio.Event()

        async def openai_chat_completion(self, params: Any) -> Any:
            return self._chunks()

        async def _chunks(self) -> AsyncIterator[Any]:
            async for chunk in await AnsweringUpstream(
                "It is first. And so"
            ).openai_chat_completion(
                OpenAIChatCompletionRequestWithExtraBody.model_validate(chat(stream=True))
            ):
                if not chunk.choices[0].finish_reason:
                    yield chunk
            await asyncio.wait_for(self.paused.wait(), 10)

    async def story() -> None:
        model = behind(Pausing())
        request = OpenAIChatCompletionRequestWithExtraBody.model_validate(chat(stream=True))
        chunks = await door_of(client).openai_chat_completion(request)
        text = ""
        async for chunk in chunks:
            text += chunk.choices[0].delta.content or ""
            if text.startswith("It is first."):
                model.paused.set()
        assert text == "It is first. And so"

    in_server(client, story)


def door_of(client: TestClient) -> Any:
    return client.app.stack.impls[Api.inference]  # type: ignore[attr-defined]  # the host's app


def test_stream_first_is_a_choice(
    client: TestClient, behind: Behind, shields: Shields, door: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    profile = door._profile.model_copy(update={"release": Release.STREAM_FIRST})
    monkeypatch.setattr(door, "_profile", profile)
    shields(
        scripted_policy(output_slow=Scripted(lambda t: Block() if "wrong" in t else Allow(), 0.1))
    )
    behind(AnsweringUpstream("This is wrong. And more."))
    chunks = events(client.post(CHAT, json=chat(stream=True)))
    assert said_in(chunks) == "This is wrong. And more.\n\nNo: output_slow"


# Text completions


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": f"What is {CANARY}?"},
        {"prompt": ["Hello", f"What is {CANARY}?"]},
        {"prompt": "What is tangerine", "suffix": "canary?"},
        {"prompt": "Hello", "suffix": CANARY},
    ],
)
def test_a_prompt_that_a_shield_blocks_reaches_no_model(
    fields: dict[str, Any], stream: bool, client: TestClient, behind: Behind
) -> None:
    model = behind(AnsweringUpstream("An answer."))
    answer = client.post(TEXT, json={"model": MODEL, "stream": stream, **fields})
    assert answer.status_code == 200
    assert model.asked == []
    prompts = 2 if isinstance(fields["prompt"], list) else 1
    if stream:
        chunks = events(answer)
        assert [said_in(chunks, n) for n in range(prompts)] == [REFUSAL] * prompts
        assert reasons_in(chunks) == ["content_filter"]
        return
    assert [c["text"] for c in answer.json()["choices"]] == [REFUSAL] * prompts
    assert {c["finish_reason"] for c in answer.json()["choices"]} == {"content_filter"}
    assert answer.json()["usage"] | NO_TOKENS == answer.json()["usage"]


@pytest.mark.usefixtures("redaction")
@pytest.mark.parametrize("stream", [True, False])
def test_texts_are_rewritten_on_both_ways(stream: bool, client: TestClient, behind: Behind) -> None:
    model = behind(AnsweringUpstream(f"is {EMAIL}.", "is known."))
    request = {
        "model": MODEL, "prompt": [f"Jane {EMAIL}", "Joe"], "suffix": EMAIL, "stop": EMAIL,
        "user": EMAIL, "echo": True, "stream": stream, "x": [EMAIL],
    }  # fmt: skip
    answer = client.post(TEXT, json=request)
    assert "example.org" not in sent_to(model) + answer.text
    assert model.asked[0].prompt == ["Jane <EMAIL_1>", "Joe"]
    if stream:
        chunks = events(answer)
        assert [said_in(chunks, n) for n in (0, 1)] == ["is <EMAIL_1>.", "is known."]
        assert reasons_in(chunks, 1) == ["length"]
    else:
        assert [c["text"] for c in answer.json()["choices"]] == ["is <EMAIL_1>.", "is known."]
        assert answer.json()["usage"] | USAGE == answer.json()["usage"]


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("stream", [True, False])
def test_a_continuation_that_a_shield_blocks_never_leaves(
    stream: bool, client: TestClient, behind: Behind
) -> None:
    behind(AnsweringUpstream(f"It is {CANARY}.", "Fine."))
    request = {"model": MODEL, "prompt": "Hello", "n": 2, "stream": stream}
    answer = client.post(TEXT, json=request)
    assert CANARY not in answer.text
    if stream:
        chunks = events(answer)
        assert said_in(chunks).endswith(REFUSAL)
        assert (reasons_in(chunks), said_in(chunks, 1)) == (["content_filter"], "Fine.")
    else:
        refused, other = answer.json()["choices"]
        assert (refused["text"], refused["finish_reason"]) == (REFUSAL, "content_filter")
        assert other["text"] == "Fine."


# What is answered with an error


@pytest.mark.parametrize(
    ("path", "request_", "status", "line"),
    [
        (TEXT, {"model": MODEL, "prompt": [1, 2]}, 400, "token ids"),
        (TEXT, {"model": MODEL, "prompt": [[1], [2]]}, 400, "token ids"),
        (TEXT, {"model": MODEL, "prompt": "a", "prompt_embeds": "AAAA"}, 400, "`prompt_embeds`"),
        (CHAT, chat(prompt_token_ids=["1"]), 400, "`prompt_token_ids`"),
        (CHAT, {**chat(), "model": "nobody/nothing"}, 404, "nobody/nothing"),
        (CHAT, {**chat(), "model": "nothing"}, 404, "nothing"),
        (CHAT, {**chat(), "model": "nothing", "stream": True}, 404, "nothing"),
        (TEXT, {"model": "nothing", "prompt": "a"}, 404, "nothing"),
        (CHAT, chat({"role": "user", "content": "a" * 40_000}), 413, "max_question_chars"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_line(
    path: str, request_: dict[str, Any], status: int, line: str, client: TestClient
) -> None:
    answer = client.post(path, json=request_)
    assert answer.status_code == status, answer.text
    assert line in answer.json()["error"]["message"]
    assert "\n" not in answer.json()["error"]["message"]


def test_prompts_of_clients_are_refused_where_responses_refuse_instructions(
    client: TestClient, behind: Behind, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind(AnsweringUpstream("An answer."))
    config = door._config.model_copy(update={"disable_query_system_prompt": True})
    monkeypatch.setattr(door, "_config", config)
    for role in ("system", "developer"):
        answer = client.post(CHAT, json=chat({"role": role, "content": "Be a pirate."}, USER))
        assert answer.status_code == 422
    assert client.post(CHAT, json=chat()).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_fault_before_the_first_byte_is_a_status(
    stream: bool, client: TestClient, behind: Behind
) -> None:
    class Unreachable:
        async def openai_chat_completion(self, params: Any) -> Any:
            raise ConnectionError

    behind(Unreachable())
    answer = client.post(CHAT, json=chat(stream=stream))
    assert answer.status_code == 503
    assert "can't be reached" in answer.json()["error"]["message"]


# What the host keeps


@pytest.mark.parametrize("stream", [True, False])
def test_what_is_kept_is_what_the_model_was_asked_and_what_left(
    stream: bool, client: TestClient, behind: Behind, door: Any, redaction: None
) -> None:
    class Numbered(AnsweringUpstream):
        async def openai_chat_completion(self, params: Any) -> Any:
            answer = await super().openai_chat_completion(params)
            if params.stream:
                return renamed(answer)
            answer.id = "chatcmpl-kept-whole"
            return answer

    async def renamed(chunks: Any) -> AsyncIterator[Any]:
        async for chunk in chunks:
            chunk.id = "chatcmpl-kept-stream"
            yield chunk

    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": f'["{EMAIL}"]'}}
    behind(Numbered({"content": f"Ask {EMAIL}.", "tool_calls": [call]}))
    question = {"role": "user", "content": f"Whom but {EMAIL}?"}
    assert client.post(CHAT, json=chat(question, stream=stream)).status_code == 200
    in_server(client, door.shutdown)
    kept = client.get(f"{CHAT}/chatcmpl-kept-{'stream' if stream else 'whole'}").json()
    assert kept["input_messages"][0]["content"] == "Whom but <EMAIL_1>?"
    [choice] = kept["choices"]
    assert choice["message"]["content"] == "Ask <EMAIL_1>."
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '["<EMAIL_1>"]'
    assert "example.org" not in json.dumps(kept)
    assert kept["model"] == (MODEL if not stream else "fake")


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("stream", [True, False])
def test_what_is_refused_or_not_to_be_stored_is_not_kept(
    stream: bool, client: TestClient, behind: Behind, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []

    async def keep(completion: Any, messages: list[Any]) -> None:
        kept.append((completion, messages))

    monkeypatch.setattr(door._kept, "keep", keep)
    behind(AnsweringUpstream("An answer."))
    client.post(CHAT, json=chat({"role": "user", "content": CANARY}, stream=stream))
    client.post(CHAT, json=chat(store=False, stream=stream))
    assert kept == []
    client.post(CHAT, json=chat(stream=stream))
    assert len(kept) == 1


def test_what_is_kept_belongs_to_who_asked_and_a_failing_store_stops_nothing(
    client: TestClient,
) -> None:
    class Store:
        def __init__(self) -> None:
            self.owners: list[tuple[str, str]] = []

        async def store_chat_completion(self, completion: str, messages: list[Any]) -> None:
            user = get_authenticated_user()
            if completion == "breaks":
                raise OSError
            self.owners.append((completion, user.principal if user else ""))

    async def story() -> None:
        kept = Kept(store := Store())
        for principal, completion in (("alice", "one"), ("bob", "breaks"), ("bob", "two")):
            with request_provider_data_context({}, User(principal, None)):
                await kept.keep(completion, [])
        await kept.written()
        assert store.owners == [("one", "alice"), ("two", "bob")]
        assert [t for t in asyncio.all_tasks() if "Kept" in repr(t)] == []

    in_server(client, story)


# Other ways that lead to the same doors


@pytest.mark.usefixtures("canary")
def test_vector_stores_ask_models_through_the_door(
    client: TestClient, behind: Behind, app: Any
) -> None:
    """A client may name the model that puts its documents into context, and what it is told."""
    model = behind(AnsweringUpstream(f"It is about {CANARY}."))
    router = app.stack.impls[Api.vector_io]
    holders = [router, *router.routing_table.impls_by_provider_id.values()]
    asking = [h.inference_api for h in holders if hasattr(h, "inference_api")]
    assert len(asking) > 1

    async def story() -> None:
        for inference in asking:
            for question, times in ((f"Tell me of {CANARY}", 0), (QUESTION, 1)):
                model.asked.clear()
                request = OpenAIChatCompletionRequestWithExtraBody.model_validate(
                    chat({"role": "user", "content": question})
                )
                with pytest.raises(LightspeedError, match=REFUSAL):
                    await inference.openai_chat_completion(request)
                assert len(model.asked) == times

    in_server(client, story)


def test_shields_ask_their_models_without_passing_the_door(app: Any, door: Any) -> None:
    safety = app.stack.impls[Api.safety].routing_table.impls_by_provider_id["lightspeed"]
    router = app.stack.impls[Api.inference]
    assert router.openai_chat_completion == door.openai_chat_completion
    assert safety._inference.openai_chat_completion != door.openai_chat_completion
    assert safety._inference.store is None
    assert safety._inference.routing_table is router.routing_table


# As clients see it


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The server on a real port, in its own event loop."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([listening]))
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            await serving


@pytest.mark.usefixtures("canary")
def test_openai_clients_read_every_stream(client: TestClient, behind: Behind, app: Any) -> None:
    behind(AnsweringUpstream(f"It is {CANARY}.", {"content": "", "tool_calls": [CALL]}, "Fine."))

    async def story() -> None:
        async with served(app) as url, openai.AsyncOpenAI(base_url=url, api_key="none") as user:
            async with user.chat.completions.stream(
                model=MODEL, messages=[{"role": "user", "content": QUESTION}], n=3
            ) as stream:
                async for _ in stream:
                    pass
                completion = stream.current_completion_snapshot
                with pytest.raises(openai.ContentFilterFinishReasonError):
                    await stream.get_final_completion()
            assert [c.finish_reason for c in completion.choices] == [
                "content_filter", "content_filter", "stop",
            ]  # fmt: skip
            first, second, third = [c.message.content for c in completion.choices]
            assert first is not None
            assert first.endswith(REFUSAL)
            assert (second, third) == (REFUSAL, "Fine.")
            texts = await user.completions.create(model=MODEL, prompt="Hello", stream=True, n=3)
            said = "".join([c.text async for chunk in texts for c in chunk.choices])
            assert CANARY not in said
            assert said.endswith("Fine.")
            with pytest.raises(openai.NotFoundError):
                await user.completions.create(model="nothing", prompt="Hello")

    in_server(client, story)


def test_a_fault_on_the_way_is_an_error_event(
    client: TestClient, behind: Behind, shields: Shields, app: Any
) -> None:
    shields(policy_of({"inout_canary": PATTERN}))
    behind(AnsweringUpstream("This is the begin", fault=ConnectionError()))

    async def story() -> None:
        async with served(app) as url, openai.AsyncOpenAI(base_url=url, api_key="none") as user:
            stream = await user.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": QUESTION}], stream=True
            )
            with pytest.raises(openai.APIError, match="can't be reached"):
                async for _ in stream:
                    pass

    in_server(client, story)


@pytest.mark.usefixtures("canary")
def test_a_client_that_goes_away_stops_the_model(
    client: TestClient, behind: Behind, app: Any
) -> None:
    async def story() -> None:
        model = behind(EndlessUpstream())
        async with served(app) as url, openai.AsyncOpenAI(base_url=url, api_key="none") as user:
            stream = await user.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": QUESTION}], stream=True
            )
            await anext(aiter(stream))
            await stream.close()
            await asyncio.wait_for(model.closed.wait(), 5)

    in_server(client, story)


# Closed, and from the library client


def test_doors_are_closed_or_guarded_from_the_start(tmp_path: Path) -> None:
    # A process of its own: Llama Stack knows one set of stores a process.
    story = multiprocessing.get_context("spawn").Process(target=doors_story, args=(tmp_path,))
    story.start()
    story.join(timeout=300)
    assert story.exitcode == 0


def doors_story(state: Path) -> None:
    """A server whose doors are closed, then a library client whose doors are guarded."""
    log = state / "log"
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    for name in OTHER_SWITCHES & os.environ.keys():
        del os.environ[name]
    file = state / "run.yaml"
    os.environ |= {
        "LIGHTSPEED_STATE_DIR": str(state),
        "LLAMA_CPP_URL": "http://127.0.0.1:9/v1",
        "LLAMA_STACK_CONFIG": str(file),
        "LIGHTSPEED_SIDE_DOORS": "closed",
    }
    file.write_text(yaml.safe_dump(_without_documents(run_config())))
    with TestClient(create_app()) as client:
        for path, fields in ((CHAT, chat()), (CHAT, chat(stream=True)), (TEXT, {"prompt": "a"})):
            answer = client.post(path, json={"model": MODEL, **fields})
            assert answer.status_code == 403
            assert "/v1/responses" in answer.json()["error"]["message"]
            assert "LIGHTSPEED_SIDE_DOORS=guarded" in answer.json()["error"]["message"]
        assert client.get(CHAT).status_code == 200
    assert "mode=closed" in log.read_text()
    os.environ["LIGHTSPEED_SIDE_DOORS"] = "guarded"
    asyncio.run(_library_story(file))
    assert "mode=guarded" in log.read_text()


async def _library_story(file: Path) -> None:
    async with AsyncLlamaStackAsLibraryClient(str(file)) as client:
        question: Any = [{"role": "user", "content": f"What is {CANARY}?"}]
        answer = await client.chat.completions.create(model=MODEL, messages=question)
        assert answer.choices[0].message.content == REFUSAL
        stream = await client.chat.completions.create(model=MODEL, messages=question, stream=True)
        said = "".join([c.choices[0].delta.content or "" async for c in stream])
        assert said == REFUSAL


def _without_documents(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out what needs an embedding model, which takes long to load."""
    providers = config["providers"]
    providers["inference"] = [p for p in providers["inference"] if p["provider_id"] == "llama-cpp"]
    providers["vector_io"] = [p for p in providers["vector_io"] if p["provider_id"] == "faiss"]
    providers["tool_runtime"] = []
    providers["safety"][0]["config"]["shields"] = {"inout_canary": PATTERN}
    [responses] = providers["responses"]
    responses["config"]["profiles"] = [{"name": "plain", "retrieval": {"mode": "off"}}]
    return {**config, "vector_stores": None}
