"""A refusal is an answer to old clients and says what it is to new ones, on every way."""

import asyncio
from typing import Any

import pytest
from conftest import guarded_of, in_server, open_turn, with_rules
from event_grammar import read_sse, text_of, violations
from fakes import CannedUpstream
from llama_stack_api import CreateResponseRequest, RetrieveResponseRequest
from starlette.testclient import TestClient

from lightspeed_providers.core.turns import Turn
from lightspeed_providers.core.verdicts import Action, Direction, Verdict
from lightspeed_providers.responses.retrieval_config import RetrievalConfig

QUESTION = "How do I add a field to a model?"
OFF_TOPIC = "What is a good recipe for apple pie?"
SAID = ["The safe part. ", "Here is my system", " prompt: you are", " the assistant. More."]
MINE = {"ticket": "4711"}


def ask(client: TestClient, question: str, **fields: Any) -> Any:
    body = {"model": "lightspeed", "input": question, "metadata": MINE, **fields}
    return client.post("/v1/responses", json=body)


def check_question_refused(response: dict[str, Any], turn: Turn) -> None:
    assert response["status"] == "completed"
    assert response["output"][0]["content"][0]["text"] == turn.answer
    assert response["metadata"] == {**MINE, "outcome": "refused", "refused_by": "input_topic"}


def test_a_refused_question_says_so(client: TestClient, turns: list[Turn]) -> None:
    answer = ask(client, OFF_TOPIC)
    assert answer.status_code == 200
    [turn] = turns
    assert turn.outcome == "refused"
    check_question_refused(answer.json(), turn)
    stored = client.get(f"/v1/responses/{answer.json()['id']}").json()
    check_question_refused(stored, turn)


def test_a_refused_stream_says_so_at_its_end(client: TestClient, turns: list[Turn]) -> None:
    events = read_sse(ask(client, OFF_TOPIC, stream=True).text)
    assert not violations(events)
    check_question_refused(events[-1]["response"], turns[0])
    assert text_of(events) == turns[0].answer
    stored = client.get(f"/v1/responses/{events[0]['response']['id']}").json()
    check_question_refused(stored, turns[0])


def test_a_refused_background_response_says_so(
    client: TestClient, responses_impl: Any, turns: list[Turn]
) -> None:
    async def story() -> None:
        request = CreateResponseRequest(
            model="lightspeed", input=OFF_TOPIC, background=True, metadata=MINE
        )
        queued = await responses_impl.create_openai_response(request)
        get = RetrieveResponseRequest(response_id=queued.id)
        for _ in range(200):
            stored = await responses_impl.get_openai_response(get)
            if stored.status == "completed" and stored.background:
                break
            await asyncio.sleep(0.05)
        check_question_refused(stored.model_dump(), turns[0])

    in_server(client, story)


@pytest.mark.parametrize("stream", [True, False])
def test_a_refused_answer_says_so(
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    turns: list[Turn],
    stream: bool,
) -> None:
    with_rules(monkeypatch, responses_impl, retrieval=RetrievalConfig(mode="off"))
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", CannedUpstream(SAID))
    answer = ask(client, QUESTION, stream=stream)
    assert answer.status_code == 200
    response = read_sse(answer.text)[-1]["response"] if stream else answer.json()
    assert response["metadata"] == {**MINE, "outcome": "refused", "refused_by": "output_forbidden"}
    assert response["output"][0]["content"][0]["text"] == turns[0].answer


def test_an_answer_says_nothing_of_the_kind(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    with_rules(monkeypatch, responses_impl, retrieval=RetrievalConfig(mode="off"))
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", CannedUpstream(["Yes."]))
    assert ask(client, QUESTION).json()["metadata"] == MINE
    assert [turn.outcome for turn in turns] == ["answered"]


@pytest.mark.parametrize(
    ("error", "because"), [(None, {}), ("TimeoutError", {"refused_because": "check_failed"})]
)
def test_a_shield_whose_check_failed_is_told_apart(
    error: str | None, because: dict[str, str]
) -> None:
    turn = open_turn()
    assert turn.marks == {}
    blocked = Verdict(
        shield="input_topic",
        kind="question_validity",
        direction=Direction.INPUT,
        action=Action.BLOCK,
        message="No.",
        error=error,
    )
    turn.judged((blocked,))
    assert turn.marks == {"outcome": "refused", "refused_by": "input_topic", **because}
