"""Every text on its way to a model and from it is screened: a canary in each place is caught."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import guarded_of, in_server, with_rules
from fakes import CallingUpstream, CannedUpstream, LateUpstream, ThinkingUpstream
from llama_stack_api import CreateResponseRequest
from scripted_shields import Scripted, policy_of, scripted_policy
from starlette.testclient import TestClient

from lightspeed_providers.core.turns import Turn
from lightspeed_providers.core.verdicts import Release
from lightspeed_providers.responses.request_texts import text_of
from lightspeed_providers.responses.to_model import WITHHELD
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.safety.shields.base import Allow, Block

CANARY = "tangerine canary"
REFUSAL = "A canary was seen."
QUESTION = "How do I add a field to a model?"
PATTERN = {"kind": "patterns", "phrases": [CANARY], "refusal": REFUSAL}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}

type Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
def safety_impl(app: Any) -> Any:
    """The shields provider inside the server."""
    return next(
        i for i in app.stack.impls.values() if type(i).__name__ == "SafetyRouter"
    ).routing_table.impls_by_provider_id["lightspeed"]


@pytest.fixture
def shields(safety_impl: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[ShieldPolicy], None]:
    """Puts another policy in the place of the server's."""
    return lambda policy: monkeypatch.setattr(safety_impl, "_policy", policy)


@pytest.fixture
def canary(shields: Callable[[ShieldPolicy], None]) -> None:
    shields(policy_of({"inout_canary": PATTERN, "tool_canary": PATTERN}))


@pytest.fixture
def ask(responses_impl: Any, monkeypatch: pytest.MonkeyPatch) -> Ask:
    async def asked(upstream: Any, **fields: Any) -> Any:
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        request = {"model": "lightspeed", "input": QUESTION, **fields}
        answer = await responses_impl.create_openai_response(
            CreateResponseRequest.model_validate(request)
        )
        return [event async for event in answer] if fields.get("stream") else answer

    return asked


def said_to(upstream: Any) -> str:
    """All that a model was asked, as one text."""
    return "\n".join(p.model_dump_json() for p in upstream.asked)


def text_in(response: Any) -> str:
    return "".join(text_of(item.content) for item in response.output if item.type == "message")


FROM_THE_CLIENT = {
    "user turn": [{"type": "message", "role": "user", "content": f"What is {CANARY}?"}],
    "user turn in parts": [
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "What is tangerine"},
            {"type": "input_text", "text": "canary?"}]},
    ],
    "earlier question": [
        {"type": "message", "role": "user", "content": f"What is {CANARY}?"},
        {"type": "message", "role": "assistant", "content": "Nothing."},
        {"type": "message", "role": "user", "content": QUESTION},
    ],
    "earlier answer": [
        {"type": "message", "role": "user", "content": "Hello"},
        {"type": "message", "role": "assistant", "content": f"It is {CANARY}."},
        {"type": "message", "role": "user", "content": QUESTION},
    ],
    "tool result": [
        {"type": "message", "role": "user", "content": QUESTION},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": f"It is {CANARY}."},
    ],
    "arguments of an earlier call": [
        {"type": "message", "role": "user", "content": QUESTION},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": f'{{"a": "{CANARY}"}}'},
        {"type": "function_call_output", "call_id": "c", "output": "Fine."},
    ],
    "arguments as the only text": [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": f'{{"a": "{CANARY}"}}'},
    ],
    "earlier reasoning": [
        {"type": "reasoning", "id": "r", "summary": [],
         "content": [{"type": "reasoning_text", "text": f"I think of {CANARY}."}]},
        {"type": "message", "role": "assistant", "content": "Hm."},
        {"type": "message", "role": "user", "content": QUESTION},
    ],
}  # fmt: skip


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("place", FROM_THE_CLIENT)
def test_a_canary_that_a_client_sends_is_refused(
    place: str, client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    async def story() -> None:
        upstream = CallingUpstream([], ["An answer."])
        response = await ask(upstream, input=FROM_THE_CLIENT[place])
        assert text_in(response) == REFUSAL
        assert upstream.asked == []
        assert turns[0].outcome == "refused"

    in_server(client, story)


@pytest.mark.usefixtures("canary")
def test_a_canary_in_a_conversation_that_no_turn_wrote_is_withheld(
    client: TestClient, ask: Ask
) -> None:
    conversation = client.post("/v1/conversations", json={}).json()["id"]
    item = {"type": "message", "role": "user", "content": f"What is {CANARY}?"}
    posted = client.post(f"/v1/conversations/{conversation}/items", json={"items": [item]})
    assert posted.status_code == 200

    async def story() -> None:
        upstream = CallingUpstream([], ["An answer."])
        response = await ask(upstream, conversation=conversation)
        assert text_in(response) == "An answer."
        assert CANARY not in said_to(upstream)
        assert WITHHELD in said_to(upstream)

    in_server(client, story)


def test_a_canary_in_a_retrieved_passage_keeps_it_from_the_model(
    client: TestClient, ask: Ask, shields: Callable[[ShieldPolicy], None], turns: list[Turn]
) -> None:
    planted = "definitive source"  # stands in the small documentation
    shields(policy_of({"tool_canary": {"kind": "patterns", "phrases": [planted]}}))

    async def story() -> None:
        upstream = CallingUpstream([], ["An answer."])
        await ask(upstream, input="What is a model?")
        assert "[1]" in said_to(upstream)
        assert planted not in said_to(upstream)
        assert any(v.action == "block" for v in turns[0].verdicts)

    in_server(client, story)


def test_a_canary_in_a_tools_result_keeps_it_from_the_model(
    client: TestClient, ask: Ask, shields: Callable[[ShieldPolicy], None]
) -> None:
    shields(policy_of({"tool_canary": {"kind": "patterns", "phrases": ["keepdb"]}}))
    search = {"id": "call_1", "name": "file_search", "arguments": '{"query": "test database"}'}

    async def story() -> None:
        upstream = CallingUpstream([[search]], ["An answer."])
        stores = {"type": "file_search", "vector_store_ids": ["vs_small"]}
        await ask(upstream, tools=[stores], input="How do I make a view?")
        [result] = [text_of(m.content) for m in upstream.asked[1].messages if m.role == "tool"]
        assert "keepdb" not in result
        assert WITHHELD in result
        assert "definitive source" in result  # the passages beside it are harmless

    in_server(client, story)


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("stream", [True, False])
def test_a_canary_in_tool_arguments_is_refused_and_the_tool_never_called(
    stream: bool, client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    call = {"id": "c1", "name": "weather", "arguments": f'{{"city": "{CANARY}"}}'}

    async def story() -> None:
        answer = await ask(CallingUpstream([[call]], []), tools=[WEATHER], stream=stream)
        response = answer[-1].response if stream else answer
        assert text_in(response) == REFUSAL
        assert CANARY not in str(answer)
        assert [item.type for item in response.output] == ["message"]
        assert turns[0].outcome == "refused"

    in_server(client, story)


def test_tool_arguments_are_rewritten_and_stay_json(
    client: TestClient, ask: Ask, shields: Callable[[ShieldPolicy], None]
) -> None:
    shields(policy_of({"inout_redaction": {"kind": "redaction"}}))
    call = {"id": "c1", "name": "weather", "arguments": '{"for": "jane.doe@example.org"}'}

    async def story() -> None:
        response = await ask(CallingUpstream([[call]], []), tools=[WEATHER])
        assert response.output[0].arguments == '{"for": "<EMAIL_1>"}'

    in_server(client, story)


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("place", ["reasoning", "answer"])
def test_a_canary_in_what_the_model_says_never_leaves(
    place: str, client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    planted = ["I begin. ", "It is tanger", "ine can", "ary! And on."]

    async def story() -> None:
        thoughts, said = (planted, ["Fine."]) if place == "reasoning" else (["Hm."], planted)
        events = await ask(
            ThinkingUpstream(thoughts, said), stream=True, reasoning={"effort": "low"}
        )
        assert CANARY not in "".join(str(event) for event in events)
        text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert text.endswith(REFUSAL)
        if place == "answer":
            assert text.startswith("I begin.")
        assert events[-1].type == "response.completed"
        assert turns[0].outcome == "refused"

    in_server(client, story)


def test_reasoning_leaves_where_shields_clear_it(
    client: TestClient, ask: Ask, shields: Callable[[ShieldPolicy], None]
) -> None:
    shields(policy_of({"inout_redaction": {"kind": "redaction"}}))

    async def story() -> None:
        upstream = ThinkingUpstream(["Let me ", "think of a@b.org."], ["An answer."])
        response = await ask(upstream, reasoning={"effort": "low"})
        thought = next(item for item in response.output if item.type == "reasoning")
        assert thought.content[0].text == "Let me think of <EMAIL_1>."
        assert text_in(response) == "An answer."

    in_server(client, story)


def test_one_value_keeps_one_placeholder_in_a_conversation(
    client: TestClient, ask: Ask, shields: Callable[[ShieldPolicy], None]
) -> None:
    shields(policy_of({"inout_redaction": {"kind": "redaction"}}))

    async def story() -> None:
        first = CallingUpstream([], ["Write to a@b.org or c@d.org."])
        asked = await ask(first, input="Is a@b.org right for models?")
        assert "Is <EMAIL_1> right" in said_to(first)
        assert text_in(asked) == "Write to <EMAIL_1> or <EMAIL_2>."
        second = CallingUpstream([], ["Yes, c@d.org."])
        on = await ask(
            second, input="Which model is c@d.org or e@f.org?", previous_response_id=asked.id
        )
        assert "Which model is <EMAIL_2> or <EMAIL_3>?" in said_to(second)
        assert text_in(on) == "Yes, <EMAIL_2>."
        other = CallingUpstream([], ["Fine."])
        await ask(other, input="Which model is e@f.org?")
        assert "Which model is <EMAIL_1>?" in said_to(other)

    in_server(client, story)


def test_settings_of_a_client_are_rewritten_and_never_block(
    client: TestClient, ask: Ask, shields: Callable[[ShieldPolicy], None], turns: list[Turn]
) -> None:
    shields(policy_of({"inout_redaction": {"kind": "redaction"}, "input_canary": PATTERN}))
    schema = {"type": "object", "properties": {"a": {"description": f"{CANARY} or c@d.org"}}}
    tool = {"type": "function", "name": "f", "description": "Of a@b.org", "parameters": schema}

    async def story() -> None:
        upstream = CallingUpstream([], ["Fine."])
        await ask(
            upstream,
            tools=[tool],
            instructions=f"Jane is a@b.org, and {CANARY}.",
            safety_identifier="e@f.org",
            prompt_cache_key="g@h.org",
            text={"format": {"type": "json_schema", "name": "x", "schema": schema}},
            unknown_field={"for": ["i@j.org"]},
        )
        sent = said_to(upstream)
        assert f"Jane is <EMAIL_1>, and {CANARY}." in sent
        assert "Of <EMAIL_1>" in sent
        assert f"{CANARY} or <EMAIL_" in sent
        assert {f"<EMAIL_{n}>" for n in range(1, 6)} <= set(re.findall(r"<EMAIL_\d>", sent))
        assert "@" not in sent
        assert turns[0].outcome == "answered"

    in_server(client, story)


# Slow shields beside the model


async def timed(story: Awaitable[Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return await story, time.perf_counter() - began


def test_a_slow_shield_hides_behind_the_first_token(
    client: TestClient, ask: Ask, shields: Callable[[ShieldPolicy], None]
) -> None:
    async def story() -> None:
        slow = Scripted(Allow(), 0.3, beside_model=True, timeout_s=5)
        shields(scripted_policy(input_slow=slow))
        upstream = LateUpstream(0.5, ["An answer."])
        response, took = await timed(ask(upstream))
        assert text_in(response) == "An answer."
        assert took < 0.75
        assert slow.seen == [QUESTION]

    in_server(client, story)


@pytest.mark.parametrize(("shield_s", "model_s"), [(0.1, 0.6), (0.4, 0.0)])
def test_no_text_leaves_before_a_slow_shields_verdict(
    shield_s: float,
    model_s: float,
    client: TestClient,
    ask: Ask,
    shields: Callable[[ShieldPolicy], None],
    turns: list[Turn],
) -> None:
    async def story() -> None:
        shields(
            scripted_policy(input_slow=Scripted(Block(), shield_s, beside_model=True, timeout_s=5))
        )
        upstream = LateUpstream(model_s, ["An answer."])
        events, took = await timed(ask(upstream, stream=True))
        text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert text == "No: input_slow"
        assert upstream.asked
        assert upstream.stopped == (model_s > shield_s)
        assert took < 0.55
        [turn] = turns
        assert (turn.outcome, turn.answer) == ("refused", "No: input_slow")

    in_server(client, story)


def test_a_model_that_fails_meanwhile_does_not_undo_a_refusal(
    client: TestClient, ask: Ask, shields: Callable[[ShieldPolicy], None], turns: list[Turn]
) -> None:
    class Failing:
        async def openai_chat_completion(self, params: Any) -> Any:
            raise ConnectionError

    async def story() -> None:
        shields(scripted_policy(input_slow=Scripted(Block(), 0.1, beside_model=True)))
        assert text_in(await ask(Failing())) == "No: input_slow"
        assert turns[0].outcome == "refused"

    in_server(client, story)


def test_who_leaves_before_the_verdict_is_recorded_with_it(
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    shields: Callable[[ShieldPolicy], None],
    turns: list[Turn],
) -> None:
    async def story() -> None:
        shields(scripted_policy(input_slow=Scripted(Block(), 0.2, beside_model=True)))
        monkeypatch.setattr(
            guarded_of(responses_impl), "_inference", LateUpstream(5, ["An answer."])
        )
        request = CreateResponseRequest(model="lightspeed", input=QUESTION, stream=True)
        events = await responses_impl.create_openai_response(request)
        await anext(events)
        await events.aclose()
        await asyncio.sleep(0.4)
        [turn] = turns
        assert turn.outcome == "refused"
        assert [v.action for v in turn.verdicts] == ["block"]

    in_server(client, story)


# What a client may ask for


def test_guardrails_of_a_client_add_shields_and_cost_nothing_twice(
    client: TestClient, ask: Ask, shields: Callable[[ShieldPolicy], None], safety_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def story() -> None:
        watched, extra = Scripted(), Scripted(Block())
        policy = scripted_policy(output_watched=watched, output_topic=extra)
        shields(policy.choosing({"output": ("output_watched",)}))  # type: ignore[dict-item]  # a StrEnum's value
        answer = await ask(CannedUpstream(["An answer."] * 20), guardrails=["lightspeed"])
        assert text_in(answer) == "An answer." * 20
        assert len(watched.seen) <= 3
        assert extra.seen == []

    in_server(client, story)


def test_stream_first_is_a_profiles_choice(
    client: TestClient, ask: Ask, shields: Callable[[ShieldPolicy], None], responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def story() -> None:
        with_rules(monkeypatch, responses_impl, release=Release.STREAM_FIRST)
        slow = Scripted(lambda text: Block() if "wrong" in text else Allow(), 0.1)
        shields(scripted_policy(output_slow=slow))
        events = await ask(CannedUpstream(["This is wrong. ", "And more."]), stream=True)
        text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert text == "This is wrong. And more.\n\nNo: output_slow"

    in_server(client, story)
