"""What an answer cites: what it was given, the same streaming or not, and nothing else."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import guarded_of, in_server, with_rules
from fakes import CallingUpstream, CannedUpstream
from llama_stack_api import (
    CreateResponseRequest,
    VectorStoreContent,
    VectorStoreSearchResponse,
    VectorStoreSearchResponsePage,
)
from scripted_shields import policy_of
from starlette.testclient import TestClient

from lightspeed_providers.core.turns import Passage, Turn
from lightspeed_providers.responses.citations import referenced_documents
from lightspeed_providers.responses.events import annotations
from lightspeed_providers.responses.request_texts import text_of
from lightspeed_providers.responses.retrieval_config import RetrievalConfig
from lightspeed_providers.safety.policy import ShieldPolicy

QUESTION = "How do I keep the test database between runs?"
SEARCH = {"id": "call_1", "name": "file_search", "arguments": '{"query": "keep test database"}'}
OWN = {"type": "file_search", "vector_store_ids": ["vs_own"]}

Ask = Callable[..., Awaitable[Any]]
Shields = Callable[[ShieldPolicy], None]

FOUND: list[tuple[str, dict[str, Any]]] = [
    ("Our runbook says: keep it.", {"title": "Runbook", "link": "https://wiki.example/runbook"}),
    ("Our notes say: --keepdb.", {"filename": "notes.txt", "document_id": "file-77"}),
    ("Our runbook says: twice.", {"title": "Runbook", "docs_url": "https://wiki.example/runbook"}),
]


class OwnStore:
    """A store of the customer's own documents, and of nothing else."""

    def __init__(self, vector_io: Any) -> None:
        self._vector_io = vector_io

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vector_io, name)

    async def openai_search_vector_store(self, store: str, request: Any) -> Any:
        if store != "vs_own":
            return await self._vector_io.openai_search_vector_store(store, request)
        return VectorStoreSearchResponsePage(
            search_query=["q"],
            data=[
                VectorStoreSearchResponse(
                    file_id=f"file-7{number}",
                    filename=f"file-7{number}",
                    score=0.5,
                    attributes=attributes,
                    content=[VectorStoreContent(type="text", text=text)],
                )
                for number, (text, attributes) in enumerate(FOUND)
            ],
        )


@pytest.fixture(autouse=True)
def _own_store(responses_impl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = responses_impl._stock.openai_responses_impl.tool_executor.vector_io_api
    monkeypatch.setattr(stores, "_vector_io", OwnStore(stores._vector_io))

    async def known(request: Any) -> None:
        """Stores that exist."""

    monkeypatch.setattr(responses_impl._admission, "_check_stores", known)


@pytest.fixture
def ask(responses_impl: Any, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask with a fake upstream, in a retrieval mode; gives the events and the final response."""

    async def asked(upstream: Any, mode: str, **fields: Any) -> tuple[list[Any], Any]:
        retrieval = RetrievalConfig.model_validate({"mode": mode, "max_passages": 3})
        with_rules(monkeypatch, responses_impl, retrieval=retrieval)
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        body = {"model": "lightspeed", "input": QUESTION, **fields}
        answer = await responses_impl.create_openai_response(
            CreateResponseRequest.model_validate(body)
        )
        if not fields.get("stream"):
            return [], answer
        events = [event async for event in answer]
        return events, events[-1].response

    return asked


@pytest.fixture
def shields(app: Any, monkeypatch: pytest.MonkeyPatch) -> Shields:
    """Puts another policy in the place of the server's."""
    router = next(i for i in app.stack.impls.values() if type(i).__name__ == "SafetyRouter")
    safety = router.routing_table.impls_by_provider_id["lightspeed"]
    return lambda policy: monkeypatch.setattr(safety, "_policy", policy)


def documents_of(response: Any) -> list[dict[str, str]]:
    metadata = response["metadata"] if isinstance(response, dict) else response.metadata
    return list(json.loads((metadata or {}).get("referenced_documents", "[]")))


def cited(part: Any) -> list[Any]:
    return [annotation.model_dump() for annotation in part.annotations]


@pytest.mark.parametrize("mode", ["always", "tool", "off"])
def test_the_same_is_cited_however_the_answer_is_fetched(
    mode: str, client: TestClient, ask: Ask, responses_impl: Any, turns: list[Turn]
) -> None:
    """Streamed, whole, in the background and read again."""
    rounds = [] if mode == "always" else [[SEARCH]]
    fields = {"tools": [OWN]} if mode == "off" else {}
    responses: list[dict[str, Any]] = []

    async def story() -> None:
        for stream in (True, False):
            upstream = CallingUpstream(rounds, ["Use ", "--keepdb 🎉."])
            events, response = await ask(upstream, mode, stream=stream, **fields)
            [part] = response.output[-1].content
            responses.append(response.model_dump(mode="json"))
            if stream:
                added = [e for e in events if e.type == "response.output_text.annotation.added"]
                assert [e.annotation.model_dump() for e in added] == cited(part)
                assert [e.annotation_index for e in added] == list(range(len(added)))
                assert {e.output_index for e in added} == {len(response.output) - 1}
        upstream = CallingUpstream(rounds, ["Use ", "--keepdb 🎉."])
        _, queued = await ask(upstream, mode, background=True, **fields)
        responses.append(queued.model_dump(mode="json"))

    in_server(client, story)
    deadline = time.monotonic() + 60
    while responses[-1]["status"] in ("queued", "in_progress") and time.monotonic() < deadline:
        time.sleep(0.1)
        responses[-1] = client.get(f"/v1/responses/{responses[-1]['id']}").json()
    responses += [client.get(f"/v1/responses/{r['id']}").json() for r in responses[:2]]

    expected = documents_of(responses[0])
    assert expected
    for response in responses:
        [part] = response["output"][-1]["content"]
        assert part["text"] == "Use --keepdb 🎉."
        assert documents_of(response) == expected
        assert len(part["annotations"]) == len(expected)
        for annotation, document in zip(part["annotations"], expected, strict=True):
            if annotation["type"] == "url_citation":
                assert annotation["url"] == document["doc_url"]
                assert annotation["title"] == document["doc_title"]
                assert part["text"][annotation["start_index"] : annotation["end_index"]]
                assert annotation["end_index"] <= len(part["text"])
            else:
                assert annotation["file_id"] == document["document_id"]
                assert annotation["index"] <= len(part["text"])
    assert {len(turn.passages) for turn in turns} == {3}


def test_a_customers_file_without_an_address_is_cited_as_a_file(
    client: TestClient, ask: Ask
) -> None:
    async def story() -> None:
        upstream = CallingUpstream([[SEARCH]], ["Keep it."])
        _, response = await ask(upstream, "off", tools=[OWN])
        [part] = response.output[-1].content
        assert cited(part) == [
            {
                "type": "url_citation",
                "title": "Runbook",
                "url": "https://wiki.example/runbook",
                "start_index": 0,
                "end_index": 8,
            },
            {"type": "file_citation", "file_id": "file-77", "filename": "notes.txt", "index": 8},
        ]
        assert documents_of(response) == [
            {
                "doc_url": "https://wiki.example/runbook",
                "doc_title": "Runbook",
                "source": "vs_own",
                "document_id": "file-70",
            },
            {
                "doc_url": "",
                "doc_title": "notes.txt",
                "source": "vs_own",
                "document_id": "file-77",
            },
        ]

    in_server(client, story)


def test_what_came_before_the_question_and_what_was_searched_are_cited_together(
    client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    async def story() -> None:
        upstream = CallingUpstream([[SEARCH]], ["Keep it."])
        _, response = await ask(upstream, "always", tools=[OWN])
        sources = [document["source"] for document in documents_of(response)]
        assert set(sources) == {"small", "vs_own"}

    in_server(client, story)
    assert len(turns[0].passages) == 6


@pytest.mark.parametrize("stream", [True, False])
def test_a_passage_that_a_shield_withheld_is_neither_cited_nor_shown(
    stream: bool,
    client: TestClient,
    ask: Ask,
    shields: Shields,
    turns: list[Turn],
) -> None:
    policy = policy_of({"tool_notes": {"kind": "patterns", "phrases": ["our notes say"]}})
    shields(policy)

    async def story() -> None:
        upstream = CallingUpstream([[SEARCH]], ["Keep it."])
        events, response = await ask(upstream, "off", tools=[OWN], stream=stream)
        assert [d["doc_title"] for d in documents_of(response)] == ["Runbook"]
        everything = json.dumps([e.model_dump(mode="json") for e in [*events, response]])
        assert "Our notes say" not in everything
        assert "notes.txt" not in everything
        [result] = [text_of(m.content) for m in upstream.asked[1].messages if m.role == "tool"]
        assert "[withheld by a shield]" in result

    in_server(client, story)
    [turn] = turns
    assert {p.title for p in turn.passages} == {"Runbook"}
    assert any(v.action == "block" for v in turn.verdicts)


def test_a_title_is_screened_with_its_passage(
    client: TestClient,
    ask: Ask,
    shields: Shields,
) -> None:
    policy = policy_of({"tool_books": {"kind": "patterns", "phrases": ["runbook"]}})
    shields(policy)

    async def story() -> None:
        upstream = CallingUpstream([[SEARCH]], ["Keep it."])
        _, response = await ask(upstream, "off", tools=[OWN])
        assert [d["doc_title"] for d in documents_of(response)] == ["notes.txt"]
        assert "Runbook" not in str(upstream.asked[1].messages)

    in_server(client, story)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_a_shield_refuses_cites_nothing(
    stream: bool,
    client: TestClient,
    ask: Ask,
    shields: Shields,
    turns: list[Turn],
) -> None:
    policy = policy_of({"output_canary": {"kind": "patterns", "phrases": ["tangerine"]}})
    shields(policy)

    async def story() -> None:
        events, response = await ask(CannedUpstream(["A tangerine."]), "always", stream=stream)
        assert documents_of(response) == []
        assert response.output[-1].content[0].annotations == []
        assert not [e for e in events if e.type == "response.output_text.annotation.added"]

    in_server(client, story)
    assert turns[0].outcome == "refused"


def passage(**fields: Any) -> Passage:
    about = {"passage_id": "p", "document_id": "d", "title": "T", "content": "c", "doc_url": ""}
    return Passage.model_validate(about | fields)


@pytest.mark.parametrize("text", ["Plain.", "Emoji 🎉👩‍👩‍👧 and 漢字。", "", " \n"])
def test_indices_stay_within_the_text(text: str) -> None:
    urls = ["https://x.example/a", "", "/docs/a#b", "notes.txt"]
    documents = referenced_documents(
        [passage(doc_url=url, title=f"{n}") for n, url in enumerate(urls)]
    )
    found = annotations(documents, text)
    if not text.strip():
        assert found == []
        return
    assert [a.type for a in found] == [
        "url_citation",
        "file_citation",
        "url_citation",
        "file_citation",
    ]
    for annotation in found:
        if annotation.type == "url_citation":
            assert text[annotation.start_index : annotation.end_index] == text
        else:
            assert annotation.index == len(text)
