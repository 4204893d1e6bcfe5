"""How documentation reaches the model: before the question, by its own search, or not at all."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import answered, guarded_of, in_server, with_rules
from fakes import CallingUpstream, CannedUpstream, SearchingUpstream
from llama_stack_api import (
    Api,
    CreateResponseRequest,
    VectorStoreContent,
    VectorStoreSearchResponse,
    VectorStoreSearchResponsePage,
)
from starlette.testclient import TestClient

from lightspeed_providers.core.errors import LightspeedError, UnavailableError
from lightspeed_providers.core.turns import Turn
from lightspeed_providers.responses.follow_ups import searched_for
from lightspeed_providers.responses.request_texts import text_of
from lightspeed_providers.responses.retrieval_config import RetrievalConfig
from lightspeed_providers.responses.retrieving import with_release

QUESTION = "How do I keep the test database between runs?"
SEARCH = {"id": "call_1", "name": "file_search", "arguments": '{"query": "keep test database"}'}
KEEPDB = "--keepdb"
TESTING_PAGE = "https://docs.example/5.2/testing/"

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
def ask(responses_impl: Any, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask with a fake upstream, in a retrieval mode; gives the final response."""

    async def asked(upstream: Any, mode: str = "tool", **fields: Any) -> Any:
        rules = {"mode": mode, "max_passages": 2, **fields.pop("retrieval", {})}
        with_rules(monkeypatch, responses_impl, retrieval=RetrievalConfig.model_validate(rules))
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        return await answered(responses_impl, **{"input": QUESTION, **fields})

    return asked


def tools_of(params: Any) -> list[str]:
    return [tool["function"]["name"] for tool in params.tools or []]


def sent(params: Any) -> str:
    return "\n".join(text_of(message.content) for message in params.messages)


def sources_of(response: Any) -> list[str]:
    documents = (response.metadata or {}).get("referenced_documents", "[]")
    return [document["doc_url"] for document in json.loads(documents)]


def test_always_searches_before_and_offers_no_search(client: TestClient, ask: Ask) -> None:
    async def story() -> None:
        upstream = CallingUpstream([], ["Use it."])
        response = await ask(upstream, "always")
        assert KEEPDB in sent(upstream.asked[0])
        assert tools_of(upstream.asked[0]) == []
        assert sources_of(response)[0].startswith(TESTING_PAGE)

    in_server(client, story)


def test_always_searches_while_the_input_shields_run(
    client: TestClient, ask: Ask, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, retrieving = responses_impl._guard, responses_impl._retrieving
    guarding, searching = asyncio.Event(), asyncio.Event()
    guarded, found = guard.guarded, retrieving.found

    async def guarding_until_searched(*args: Any) -> Any:
        guarding.set()
        await asyncio.wait_for(searching.wait(), 20)
        return await guarded(*args)

    async def searching_until_guarded(*args: Any) -> Any:
        searching.set()
        await asyncio.wait_for(guarding.wait(), 20)
        return await found(*args)

    async def story() -> None:
        monkeypatch.setattr(guard, "guarded", guarding_until_searched)
        monkeypatch.setattr(retrieving, "found", searching_until_guarded)
        response = await ask(CannedUpstream(["Use it."]), "always")
        assert response.status == "completed"

    in_server(client, story)


@pytest.mark.parametrize(
    ("question", "leans"),
    [
        ("And how do I remove it?", True),
        ("Is that slower?", True),
        ("Which command do I run then?", True),
        ("How do I test those?", True),
        ("What are their defaults?", True),
        ("And how do I test that model?", False),
        ("How do I restart this server?", False),
        ("How do I create a superuser?", False),
        ("And how do I run tests?", False),
        ("I wrote a view, and when I open it in my browser it shows an error page", False),
        ("", False),
    ],
)
def test_a_question_that_only_points_is_searched_with_the_one_before(
    question: str, leans: bool
) -> None:
    before = "How do I add a field to a model?"
    assert searched_for(question, ["Hello", before]) == (
        f"{before} {question}" if leans else question
    )
    assert searched_for(question, []) == question


def test_a_follow_up_finds_what_the_question_before_was_about(
    client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    async def story() -> None:
        rules = {"max_passages": 1}
        first = await ask(CannedUpstream(["Use --keepdb."]), "always", retrieval=rules)
        upstream = CallingUpstream([], ["A bit."])
        await ask(
            upstream,
            "always",
            retrieval=rules,
            input="Is that slower?",
            previous_response_id=first.id,
        )
        asked = text_of(upstream.asked[0].messages[-1].content)
        assert asked.endswith("Question: Is that slower?"), "the model's question stays as it is"

    in_server(client, story)
    assert [p.title for turn in turns for p in turn.passages] == ["Testing", "Testing"]


def test_off_never_searches(client: TestClient, ask: Ask, turns: list[Turn]) -> None:
    async def story() -> None:
        upstream = CallingUpstream([], ["I don't know."])
        response = await ask(upstream, "off")
        assert sent(upstream.asked[0]).endswith(QUESTION)
        assert KEEPDB not in sent(upstream.asked[0])
        assert tools_of(upstream.asked[0]) == []
        assert sources_of(response) == []
        assert response.output[-1].content[0].annotations == []

    in_server(client, story)
    assert turns[0].passages == ()


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_searches_is_given_passages_and_its_answer_cites_them(
    stream: bool, client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    async def story() -> None:
        upstream = CallingUpstream([[SEARCH]], ["Use --keepdb."])
        response = await ask(upstream, stream=stream)
        first, second = upstream.asked
        assert tools_of(first) == ["file_search"]
        assert KEEPDB not in sent(first)
        [result] = [text_of(m.content) for m in second.messages if m.role == "tool"]
        assert "Testing\n" in result
        assert KEEPDB in result
        for noise in ("file-", "score", "document_id", "attributes", "cite"):
            assert noise not in result.removeprefix("file_search tool found")
        assert sources_of(response)[0].startswith(TESTING_PAGE)
        [part] = response.output[-1].content
        assert [a.url for a in part.annotations] == sources_of(response)
        [call] = [item for item in response.output if item.type == "file_search_call"]
        assert len(call.results) == 2
        assert KEEPDB in call.results[0].text

    in_server(client, story)
    [turn] = turns
    assert turn.passages[0].doc_url.startswith(TESTING_PAGE)
    assert len(turn.passages) == 2
    assert turn.tool_calls[0].type == "file_search_call"


def test_a_stream_over_http_searches_for_its_own_turn(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    rules = RetrievalConfig(mode="tool", max_passages=2)
    with_rules(monkeypatch, responses_impl, retrieval=rules)
    upstream = CallingUpstream([[SEARCH]], ["Use --keepdb."])
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
    body = {"model": "lightspeed", "input": QUESTION, "stream": True}
    answer = client.post("/v1/responses", json=body)
    events = [
        json.loads(line.removeprefix("data: "))
        for line in answer.text.splitlines()
        if line.startswith("data: ")
    ]
    assert events[-1]["type"] == "response.completed"
    documents = json.loads(events[-1]["response"]["metadata"]["referenced_documents"])
    added = [e for e in events if e["type"] == "response.output_text.annotation.added"]
    assert [e["annotation"]["url"] for e in added] == [d["doc_url"] for d in documents]
    assert documents[0]["doc_url"].startswith(TESTING_PAGE)
    assert len(turns[0].passages) == 2


def test_a_model_that_does_not_search_cites_nothing(
    client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    async def story() -> None:
        response = await ask(CallingUpstream([], ["Hello."]))
        assert sources_of(response) == []
        assert response.output[-1].content[0].annotations == []

    in_server(client, story)
    assert turns[0].passages == ()


def test_a_background_answer_searches_too(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    import time

    rules = RetrievalConfig(mode="tool", max_passages=2)
    with_rules(monkeypatch, responses_impl, retrieval=rules)
    upstream = CallingUpstream([[SEARCH]], ["Use --keepdb."])
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
    body = {"model": "lightspeed", "input": QUESTION, "background": True}
    response = client.post("/v1/responses", json=body).json()
    deadline = time.monotonic() + 60
    while response["status"] in ("queued", "in_progress") and time.monotonic() < deadline:
        time.sleep(0.1)
        response = client.get(f"/v1/responses/{response['id']}").json()
    assert response["status"] == "completed", response
    documents = json.loads(response["metadata"]["referenced_documents"])
    assert documents[0]["doc_url"].startswith(TESTING_PAGE)
    assert response["output"][-1]["content"][0]["annotations"][0]["url"] == documents[0]["doc_url"]
    assert len(turns[0].passages) == 2


def test_the_profiles_limits_hold_for_a_model_that_searches(
    client: TestClient, ask: Ask, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    runtime = responses_impl._deps[Api.tool_runtime]
    invoke = runtime.invoke_tool

    async def noting(tool_name: str, kwargs: dict[str, Any]) -> Any:
        calls.append(kwargs)
        return await invoke(tool_name=tool_name, kwargs=kwargs)

    async def story() -> None:
        monkeypatch.setattr(runtime, "invoke_tool", noting)
        limits = {"product": "Django", "version": "latest", "language": "en", "max_passages": 1}
        upstream = CallingUpstream([[SEARCH]], ["Fine."])
        response = await ask(upstream, retrieval=limits)
        assert calls == [
            {
                "query": "keep test database",
                "max_results": 1,
                "product": "Django",
                "version": "latest",
                "language": "en",
            }
        ]
        [call] = [item for item in response.output if item.type == "file_search_call"]
        assert len(call.results) == 1

    in_server(client, story)


@pytest.mark.parametrize(
    ("query", "question", "searched"),
    [
        ("createsuperuser", "How in Django 4.2?", "createsuperuser (version 4.2)"),
        ("createsuperuser 5.2", "How in Django 4.2?", "createsuperuser 5.2"),
        ("what changed", "From v4.2 to 5.2.1?", "what changed (version 4.2, 5.2.1)"),
        ("createsuperuser", "How do I do it in 3 steps?", "createsuperuser"),
    ],
)
def test_a_release_that_the_user_names_holds_for_the_models_query(
    query: str, question: str, searched: str
) -> None:
    assert with_release(query, question) == searched


def test_a_clients_own_file_search_stays_as_it_is(client: TestClient, ask: Ask) -> None:
    async def story() -> None:
        upstream = CallingUpstream([[SEARCH]], ["Use --keepdb."])
        own = {"type": "file_search", "vector_store_ids": ["vs_small"], "max_num_results": 3}
        response = await ask(upstream, tools=[own])
        assert tools_of(upstream.asked[0]) == ["file_search"]
        assert [t.max_num_results for t in response.tools] == [3]
        assert len(next(i for i in response.output if i.type == "file_search_call").results) == 3
        assert sources_of(response)[0].startswith(TESTING_PAGE)

    in_server(client, story)


def test_functions_of_the_client_are_offered_beside_the_search(
    client: TestClient, ask: Ask
) -> None:
    weather = {"type": "function", "name": "weather", "parameters": {"type": "object"}}

    async def story() -> None:
        upstream = CallingUpstream([], ["Hello."])
        await ask(upstream, tools=[weather])
        assert set(tools_of(upstream.asked[0])) == {"weather", "file_search"}

    in_server(client, story)


class BrokenStores:
    """Vector stores of which some answer and others fail."""

    def __init__(self, vector_io: Any, broken: set[str]) -> None:
        self._vector_io, self._broken = vector_io, broken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vector_io, name)

    async def openai_retrieve_vector_store(self, store: str) -> Any:
        return None

    async def openai_search_vector_store(self, store: str, request: Any) -> Any:
        if store in self._broken:
            raise ConnectionError("secret address")
        return page_of(("Use --keepdb.", {"title": "Own notes"}))


def page_of(*found: tuple[str, dict[str, Any]]) -> VectorStoreSearchResponsePage:
    """A page of results of a store of the customer's."""
    return VectorStoreSearchResponsePage(
        search_query=["q"],
        data=[
            VectorStoreSearchResponse(
                file_id=f"file-{n}",
                filename=f"file-{n}",
                score=1.0 / (n + 1),
                attributes=attributes,
                content=[VectorStoreContent(type="text", text=text)],
            )
            for n, (text, attributes) in enumerate(found)
        ],
    )


@pytest.mark.parametrize("stream", [True, False])
def test_a_search_that_fails_is_a_failed_answer_and_no_empty_context(
    stream: bool,
    client: TestClient,
    ask: Ask,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    turns: list[Turn],
) -> None:
    async def failing(*args: Any) -> Any:
        raise UnavailableError("Every index failed.")

    async def story() -> None:
        monkeypatch.setattr(responses_impl._retrieving, "found", failing)
        upstream = CallingUpstream([[SEARCH]], ["I made it up."])
        if stream:
            response = await ask(upstream, stream=True)
            assert response.status == "failed"
            assert response.error.message == "Every index failed."
        else:
            with pytest.raises(LightspeedError, match=r"Every index failed\.") as raised:
                await ask(upstream)
            assert raised.value.status_code == 503
        assert len(upstream.asked) == 1

    in_server(client, story)
    assert turns[0].outcome == "error"
    assert turns[0].error == "Every index failed."


@pytest.mark.parametrize("broken", [{"vs_a"}, {"vs_a", "vs_b"}])
def test_stores_of_the_customer_that_fail_fail_the_answer_only_together(
    broken: set[str],
    client: TestClient,
    ask: Ask,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores = responses_impl._stock.openai_responses_impl.tool_executor.vector_io_api
    monkeypatch.setattr(stores, "_vector_io", BrokenStores(stores._vector_io, broken))

    async def known(request: Any) -> None:
        """Stores that exist."""

    monkeypatch.setattr(responses_impl._admission, "_check_stores", known)
    own = {"type": "file_search", "vector_store_ids": ["vs_a", "vs_b"]}

    async def story() -> None:
        upstream = CallingUpstream([[SEARCH]], ["Use --keepdb."])
        if len(broken) == 1:
            response = await ask(upstream, "off", tools=[own])
            assert response.status == "completed"
            assert KEEPDB in sent(upstream.asked[1])
            return
        with pytest.raises(LightspeedError, match="Vector store 'vs_a' could not be") as raised:
            await ask(upstream, "off", tools=[own])
        assert raised.value.status_code == 503
        assert "secret" not in str(raised.value)

    in_server(client, story)


def test_two_turns_at_a_time_get_their_own_passages(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    async def story() -> None:
        rules = RetrievalConfig(mode="tool", max_passages=1)
        with_rules(monkeypatch, responses_impl, retrieval=rules)

        class Both:
            """Searches for what it is asked, once a turn."""

            async def openai_chat_completion(self, params: Any) -> Any:
                asked = next(text_of(m.content) for m in params.messages if m.role == "user")
                upstream = SearchingUpstream(["Done."], query=asked)
                if any(m.role == "tool" for m in params.messages):
                    return upstream._answering()
                return upstream._calling()

        monkeypatch.setattr(guarded_of(responses_impl), "_inference", Both())
        questions = ["How do I keep the test database?", "How do I create a superuser?"] * 4
        requests = [
            CreateResponseRequest.model_validate({"model": "lightspeed", "input": question})
            for question in questions
        ]
        await asyncio.gather(*(responses_impl.create_openai_response(r) for r in requests))

    in_server(client, story)
    pages = {(turn.question[:15], p.title) for turn in turns for p in turn.passages}
    assert pages == {("How do I keep t", "Testing"), ("How do I create", "Authentication")}
    assert all(len(turn.passages) == 1 for turn in turns)
