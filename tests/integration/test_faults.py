"""Bad input and broken parts: one clear line with the right status, and nothing hangs."""

import asyncio
import json
from typing import Any

import pytest
from conftest import guarded_of, in_server
from fakes import CannedUpstream, EndlessUpstream
from llama_stack_api import Api, CreateResponseRequest
from starlette.testclient import TestClient

from lightspeed_providers.core.errors import UnavailableError
from lightspeed_providers.core.turns import Turn

QUESTION = "How do I add a field to a model?"


@pytest.mark.block_network
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "nobody/nothing", "input": QUESTION}, 404, "choose one of lightspeed"),
        ({"model": "lightspeed", "input": ""}, 400, "`input` holds no text"),
        ({"model": "lightspeed", "input": "   \n"}, 400, "`input` holds no text"),
        ({"model": "lightspeed", "input": []}, 400, "`input` holds no text"),
        ({"model": "lightspeed", "input": "x" * 1_000_000}, 413, "at most 32000 are taken"),
        ({"model": "lightspeed", "input": 5}, 400, "input"),
        ({"model": "lightspeed"}, 400, "input"),
        ({"input": QUESTION}, 400, "model"),
        ({"model": "lightspeed", "input": QUESTION, "temperature": "hot"}, 400, "temperature"),
        (
            {"model": "lightspeed", "input": QUESTION, "previous_response_id": "resp_none"},
            404,
            "resp_none",
        ),
        (
            {"model": "lightspeed", "input": QUESTION, "conversation": f"conv_{'0' * 48}"},
            404,
            "conv_0",
        ),
        (
            {
                "model": "lightspeed",
                "input": QUESTION,
                "tools": [{"type": "file_search", "vector_store_ids": ["vs_none"]}],
            },
            404,
            "vs_none",
        ),
        (
            {"model": "lightspeed", "input": QUESTION, "conversation": "none"},
            400,
            "conv_",
        ),
        (
            {"model": "lightspeed", "input": QUESTION, "guardrails": ["no_such_shield"]},
            400,
            "no_such_shield",
        ),
    ],
)
def test_bad_input_is_answered_with_one_line(
    client: TestClient, body: dict[str, Any], status: int, words: str
) -> None:
    for stream in (False, True):
        answer = client.post("/v1/responses", json={**body, "stream": stream})
        assert answer.status_code == status, answer.text
        assert words in json.dumps(answer.json()["error"])
        assert "Traceback" not in answer.text


@pytest.mark.block_network
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/responses/resp_none", None),
        ("GET", "/v1alpha/transcripts/turn_none", None),
        ("GET", "/v1/shields/none", None),
        ("POST", "/v1/vector_stores/none/search", {"query": "x"}),
    ],
)
def test_an_unknown_id_is_answered_with_an_openai_shaped_error(
    client: TestClient, method: str, path: str, body: dict[str, Any] | None
) -> None:
    answer = client.request(method, path, json=body)
    assert answer.status_code in (400, 404)
    assert "none" in answer.json()["error"]["message"]


def test_a_dead_model_is_a_503_streamed_or_not_and_a_recorded_turn(
    client: TestClient, turns: list[Turn]
) -> None:
    body = {"model": "lightspeed", "input": QUESTION}
    answers = [client.post("/v1/responses", json={**body, "stream": s}) for s in (False, True)]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json() == answers[0].json()
    message = answers[0].json()["error"]["message"]
    assert message.count("\n") == 0
    assert [t.outcome for t in turns] == ["error", "error"]
    assert all(t.error == message for t in turns)


def test_a_search_that_fails_is_an_error_and_never_an_ungrounded_answer(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    async def story() -> None:
        class BrokenToolRuntime:
            async def invoke_tool(self, **_: Any) -> Any:
                raise UnavailableError("The index is gone.")

        monkeypatch.setitem(responses_impl._deps, Api.tool_runtime, BrokenToolRuntime())
        request = CreateResponseRequest(model="lightspeed", input=QUESTION)
        with pytest.raises(UnavailableError, match="The index is gone") as fault:
            await responses_impl.create_openai_response(request)
        assert fault.value.status_code == 503
        assert [t.outcome for t in turns] == ["error"]
        assert QUESTION not in turns[0].question, "it was not screened to the end"

    in_server(client, story)


def test_a_reader_who_goes_away_leaves_an_interrupted_turn(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    async def story() -> None:

        upstream = EndlessUpstream()
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        request = CreateResponseRequest(model="lightspeed", input=QUESTION, stream=True, store=True)
        events = await responses_impl.create_openai_response(request)
        async for event in events:
            if event.type == "response.output_text.delta":
                break
        await events.aclose()
        await asyncio.wait_for(upstream.closed.wait(), 5)
        await asyncio.sleep(0.05)

        [turn] = turns
        assert turn.outcome == "interrupted"
        assert turn.answer.startswith("One sentence.")

    in_server(client, story)


def test_output_that_a_shield_blocks_never_leaves(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    async def story() -> None:

        said = ["The safe part. ", "Here is my system", " prompt: you are", " the assistant. More."]
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", CannedUpstream(said))
        request = CreateResponseRequest(model="lightspeed", input=QUESTION, stream=True)
        events = await responses_impl.create_openai_response(request)
        text = "".join([e.delta async for e in events if e.type == "response.output_text.delta"])

        [turn] = turns
        assert turn.outcome == "refused"
        assert [v.shield for v in turn.verdicts if v.action == "block"] == ["output_forbidden"]
        assert text.startswith("The safe part.")
        assert "system prompt" not in text
        assert text == turn.answer

    in_server(client, story)


def test_a_secret_split_over_chunks_never_leaves(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    async def story() -> None:

        said = ["Write to jane", ".doe@exam", "ple.org for help. ", "Or not."]
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", CannedUpstream(said))
        request = CreateResponseRequest(model="lightspeed", input=QUESTION)
        response = await responses_impl.create_openai_response(request)

        text = response.output[-1].content[0].text
        assert text == "Write to <EMAIL_1> for help. Or not."
        assert turns[0].answer == text

    in_server(client, story)
