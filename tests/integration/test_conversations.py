"""Whole conversations with the real embedded model, as it was recorded: prompts, tools, limits."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import with_rules
from starlette.testclient import TestClient
from test_answers import MODELS_PAGE, QUESTION, ask, sources_of, stream, text_of, turn_of

from lightspeed_providers.responses.retrieval_config import RetrievalConfig
from lightspeed_providers.responses.titles_config import TitlesConfig

Requests = Callable[[], list[dict[str, Any]]]

OWN = "Answer in one sentence."
TOOL_MODE = RetrievalConfig(mode="tool", max_passages=2)


def system_messages(request: dict[str, Any]) -> list[str]:
    return [m["content"] for m in request["messages"] if m["role"] == "system"]


@pytest.mark.vcr
@pytest.mark.parametrize("policy", ["append", "replace", "ignore"])
def test_a_profile_says_what_becomes_of_a_clients_prompt(
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    upstream_requests: Requests,
    policy: str,
) -> None:
    rules = with_rules(monkeypatch, responses_impl, client_prompt=policy)
    products = responses_impl.profiles.prompt(rules, None, datetime.now(UTC).date()).text
    first = ask(client, instructions=OWN)
    follow_up = {"instructions": OWN, "previous_response_id": first["id"]}
    ask(client, "And how do I test that model?", **follow_up)
    expected = {"append": f"{products}\n\n{OWN}", "replace": OWN, "ignore": products}[policy]
    assert [system_messages(r) for r in upstream_requests()] == [[expected], [expected]]
    assert first["instructions"] == OWN, "what the client sent, never the product's prompt"


@pytest.mark.vcr
def test_in_tool_mode_the_model_searches_and_what_it_found_is_cited(
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    upstream_requests: Requests,
) -> None:
    with_rules(monkeypatch, responses_impl, retrieval=TOOL_MODE)
    response = ask(client, tool_choice="required")
    search, message = response["output"]
    assert (search["type"], search["status"]) == ("file_search_call", "completed")
    assert MODELS_PAGE in sources_of(response)
    assert message["content"][0]["annotations"]
    assert "<|" not in text_of(response)

    searching, answering = upstream_requests()
    assert [t["function"]["name"] for t in searching["tools"]] == ["file_search"]
    assert "Documentation" not in searching["messages"][-1]["content"]
    assert answering["messages"][-1]["role"] == "tool"
    assert "makemigrations" in json.dumps(answering["messages"][-1]["content"])

    turn = turn_of(client, response)
    assert [c["name"] for c in turn["tool_calls"]] == ["file_search"]
    assert turn["tool_results"][0]["status"] == "completed"
    assert turn["passages"]


@pytest.mark.vcr
def test_tool_mode_streams_the_same(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rules(monkeypatch, responses_impl, retrieval=TOOL_MODE)
    events = stream(client, tool_choice="required")
    kinds = [e["type"] for e in events]
    assert kinds[-1] == "response.completed"
    assert "response.file_search_call.completed" in kinds
    text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    final = events[-1]["response"]
    assert text == text_of(final)
    added = [e for e in events if e["type"] == "response.output_text.annotation.added"]
    assert [e["annotation"]["url"] for e in added] == [
        a["url"] for a in final["output"][-1]["content"][0]["annotations"]
    ]
    assert MODELS_PAGE in sources_of(final)


FILLER = "My model has a field for the title of a book. "
"""Twelve tokens of the embedded model, which reads 4,096."""


@pytest.mark.vcr
def test_passages_that_do_not_fit_are_left_out_and_the_turn_says_so(
    client: TestClient, upstream_requests: Requests
) -> None:
    response = ask(client, FILLER * 315 + QUESTION)
    assert response["status"] == "completed"
    assert response["metadata"]["truncated"] == "true"
    assert turn_of(client, response)["outcome"] == "truncated"
    sizes = [len(r["messages"][-1]["content"]) for r in upstream_requests()]
    assert len(sizes) > 1, "the model said that it was too long"
    assert sizes == sorted(sizes, reverse=True)
    assert all(r["messages"][-1]["content"].endswith(QUESTION) for r in upstream_requests())


@pytest.mark.vcr
def test_a_question_that_does_not_fit_is_a_413_in_one_line(
    client: TestClient, upstream_requests: Requests
) -> None:
    body = {"model": "lightspeed", "input": FILLER * 500 + QUESTION, "stream": True}
    answer = client.post("/v1/responses", json=body)
    assert answer.status_code == 413, answer.text
    assert "too long" in answer.json()["error"]["message"]
    assert FILLER not in answer.text
    assert "Documentation:\n\n" not in upstream_requests()[-1]["messages"][-1]["content"]


@pytest.mark.vcr
def test_a_new_conversation_gets_its_title_from_the_model(
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    upstream_requests: Requests,
) -> None:
    with_rules(monkeypatch, responses_impl, titles=TitlesConfig(enabled=True, max_words=5))
    path = "/v1/conversations"
    conversation = client.post(path, json={"metadata": {"team": "docs"}}).json()["id"]
    response = ask(client, conversation=conversation)

    async def made() -> None:
        for task in tuple(responses_impl._titles._being_made):
            await task

    assert client.portal is not None
    client.portal.call(made)
    metadata = client.get(f"{path}/{conversation}").json()["metadata"]
    assert metadata["team"] == "docs"
    assert metadata["title_of"] == response["id"]
    assert 1 <= len(metadata["title"].split()) <= 5
    answer, title = upstream_requests()
    assert answer["stream"]
    assert text_of(response) in title["messages"][-1]["content"]
