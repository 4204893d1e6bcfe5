"""The documentation index is a vector store that any client can search and none can change."""

import json
import math
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import in_server
from fakes import chunk
from llama_stack_api import (
    Api,
    CreateResponseRequest,
    OpenAIChatCompletionToolCall,
    OpenAIChatCompletionToolCallFunction,
)
from starlette.testclient import TestClient

from lightspeed_providers.core.embedder import shared_embedder
from lightspeed_providers.core.errors import InvalidRequestError
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.product_rag.filters import Condition, Together
from lightspeed_providers.product_rag.question_vectors import embedder_here, question_embedder
from lightspeed_providers.product_rag.store_requests import where_of

STORE = "vs_small"
SUPERUSER = "How do I create a superuser?"


def found(client: TestClient, query: Any = SUPERUSER, **body: Any) -> list[dict[str, Any]]:
    answer = client.post(f"/v1/vector_stores/{STORE}/search", json={"query": query, **body})
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def refused(client: TestClient, method: str, path: str, body: Any = None) -> str:
    answer = client.request(method, f"/v1/vector_stores{path}", json=body)
    assert 400 <= answer.status_code < 500, (method, path, answer.status_code, answer.text)
    message = str(answer.json()["error"]["message"])
    assert "\n" not in message
    return message


def test_the_index_is_listed_without_being_created(client: TestClient) -> None:
    listed = client.get("/v1/vector_stores").json()["data"]
    [store] = [store for store in listed if store["id"] == STORE]
    assert store["name"] == "Django 5.2"
    assert store["file_counts"]["completed"] == 4
    assert store["metadata"]["provider_id"] == "lightspeed-index"
    assert client.get(f"/v1/vector_stores/{STORE}").json() == store


def test_it_is_never_written_to_the_registry(client: TestClient, app: Any) -> None:
    async def story() -> None:
        table = app.stack.impls[Api.vector_stores]
        on_disk = await super(type(table.dist_registry), table.dist_registry).get_all()
        assert [obj for obj in on_disk if obj.identifier == STORE] == []
        assert [s for s in await table.list_vector_stores() if s.identifier == STORE]

    in_server(client, story)


def test_a_question_finds_its_passage_with_everything_to_cite_it(client: TestClient) -> None:
    first, *others = found(client)
    assert first["filename"] == "Authentication"
    assert "createsuperuser" in first["content"][0]["text"]
    assert first["attributes"]["doc_url"] == "https://docs.example/5.2/auth/#creating-superusers"
    assert first["attributes"]["product"] == "Django"
    assert first["attributes"]["version"] == "5.2"
    assert first["file_id"].startswith("file-")
    assert all(math.isfinite(hit["score"]) for hit in (first, *others))
    assert all(first["score"] >= other["score"] for other in others)


@pytest.mark.parametrize("mode", ["vector", "keyword", "hybrid"])
def test_every_search_mode_answers(client: TestClient, mode: str) -> None:
    assert found(client, search_mode=mode)[0]["filename"] == "Authentication"


def test_several_queries_are_one_search(client: TestClient) -> None:
    assert found(client, ["create", "superuser"])[0]["filename"] == "Authentication"


def test_the_number_and_the_score_limit_what_comes(client: TestClient) -> None:
    assert len(found(client, max_num_results=2)) == 2
    best = found(client)[0]["score"]
    limited = found(client, ranking_options={"score_threshold": best})
    assert [hit["filename"] for hit in limited] == ["Authentication"]


def matches(kind: str, key: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "key": key, "value": value}


@pytest.mark.parametrize(
    ("filters", "some"),
    [
        (matches("eq", "version", "5.2"), True),
        (matches("ne", "version", "5.2"), False),
        (matches("gt", "version", "4.9"), True),
        (matches("gt", "version", "5.10"), False),
        (matches("gte", "version", "5.2"), True),
        (matches("lt", "version", "5.10"), True),
        (matches("lte", "version", "5.1"), False),
        (matches("in", "product", ["Django", "Flask"]), True),
        (matches("nin", "product", ["Django"]), False),
        ({"type": "and", "filters": [matches("eq", "product", "django")]}, True),
        (
            {
                "type": "or",
                "filters": [matches("eq", "language", "de"), matches("eq", "language", "en")],
            },
            True,
        ),
        (
            {
                "type": "and",
                "filters": [matches("eq", "version", "5.2"), matches("ne", "version", "5.2")],
            },
            False,
        ),
    ],
)
def test_filters_mean_what_they_say(client: TestClient, filters: Any, some: bool) -> None:
    assert bool(found(client, filters=filters)) is some
    query = {"vector_store_id": STORE, "query": SUPERUSER, "params": {"filters": filters}}
    assert bool(client.post("/v1/vector-io/query", json=query).json()["chunks"]) is some


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (matches("eq", "colour", "red"), "Unknown filter field 'colour'"),
        (matches("like", "version", "5"), "Unknown filter type 'like'"),
        (matches("in", "version", "5.2"), "needs a list"),
        (matches("eq", "version", {"a": 1}), "needs a text"),
        ({"type": "and", "filters": []}, "needs a list"),
        ({"type": "eq", "value": "5.2"}, "`key`"),
    ],
)
def test_a_wrong_filter_is_refused_in_one_line(client: TestClient, filters: Any, said: str) -> None:
    path = f"/{STORE}/search"
    message = refused(client, "POST", path, {"query": SUPERUSER, "filters": filters})
    assert said in message
    if said.startswith("Unknown filter field"):
        assert "language, product, version" in message


def test_filters_become_conditions_at_any_depth() -> None:
    given = {"type": "or", "filters": [matches("eq", "a", 1), {"type": "and", "filters": []}]}
    with pytest.raises(InvalidRequestError):
        where_of(given)
    given["filters"][1] = {"type": "and", "filters": [matches("in", "b", ["x", True])]}
    assert where_of(given) == Together(
        "any",
        (Condition("a", "eq", 1), Together("all", (Condition("b", "in", ("x", True)),))),
    )
    deep: dict[str, Any] = matches("eq", "a", 1)
    for _ in range(50):
        deep = {"type": "and", "filters": [deep]}
    with pytest.raises(InvalidRequestError, match="deep"):
        where_of(deep)


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_senseless_numbers_of_results_are_refused(client: TestClient, count: int) -> None:
    body = {"query": SUPERUSER, "max_num_results": count}
    assert "ask for 1 to 50" in refused(client, "POST", f"/{STORE}/search", body)


@pytest.mark.parametrize("query", ["", "   ", "\x00", []])
def test_an_empty_query_is_refused(client: TestClient, query: Any) -> None:
    assert "is empty" in refused(client, "POST", f"/{STORE}/search", {"query": query})


@pytest.mark.parametrize(
    "query",
    [
        "superuser " * 10_000,
        "a" * 100_000,
        '" OR NEAR(superuser, 5) AND NOT title:* ^"',
        "superuser\x00\x07\x1b[2J\ud7ff",
        "createsuperuser -- ; DROP TABLE texts",
        "超级用户 superuser 🙂",
    ],
    ids=["long", "one-word", "operators", "control", "sql", "unicode"],
)
def test_odd_queries_are_answered_too(client: TestClient, query: str) -> None:
    assert found(client, query)


def test_pages_are_files_that_can_be_paged_and_read(client: TestClient) -> None:
    path = f"/v1/vector_stores/{STORE}/files"
    whole = client.get(path, params={"order": "asc"}).json()["data"]
    assert sorted(f["attributes"]["title"] for f in whole) == [
        "Authentication",
        "Models",
        "Testing",
        "Views",
    ]
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = client.get(path, params={"order": "asc", "limit": 3, **after}).json()
        seen += [file["id"] for file in page["data"]]
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert seen == [file["id"] for file in whole]
    reverse = client.get(path).json()["data"]
    assert [file["id"] for file in reverse] == seen[::-1]

    [testing] = [f for f in whole if f["attributes"]["title"] == "Testing"]
    assert client.get(f"{path}/{testing['id']}").json() == testing
    content = client.get(f"{path}/{testing['id']}/content").json()["data"]
    assert "--keepdb" in " ".join(part["text"] for part in content)
    assert "No file 'file-none'" in refused(client, "GET", f"/{STORE}/files/file-none")
    assert "No 'file-none'" in refused(client, "GET", f"/{STORE}/files?after=file-none")


def test_the_hosts_own_query_route_answers_with_vectors(client: TestClient) -> None:
    body = {"vector_store_id": STORE, "query": SUPERUSER, "params": {"max_chunks": 2}}
    answer = client.post("/v1/vector-io/query", json=body).json()
    assert len(answer["chunks"]) == len(answer["scores"]) == 2
    assert answer["chunks"][0]["metadata"]["title"] == "Authentication"
    assert math.isclose(sum(x * x for x in answer["chunks"][0]["embedding"]), 1, rel_tol=1e-3)


WRITES: list[tuple[str, str, Any]] = [
    ("POST", "", {"name": "mine", "provider_id": "lightspeed-index"}),
    ("POST", f"/{STORE}", {"name": "renamed"}),
    ("DELETE", f"/{STORE}", None),
    ("POST", f"/{STORE}/files", {"file_id": "file-1"}),
    ("POST", f"/{STORE}/files/file-1", {"attributes": {"a": "b"}}),
    ("DELETE", f"/{STORE}/files/file-1", None),
    ("POST", f"/{STORE}/file_batches", {"file_ids": ["file-1"]}),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_whatever_would_write_is_refused(
    client: TestClient, method: str, path: str, body: Any
) -> None:
    assert "`lightspeed ingest`" in refused(client, method, path, body)
    assert client.get(f"/v1/vector_stores/{STORE}").status_code == 200


def test_chunks_can_not_be_inserted(client: TestClient) -> None:
    body = {"vector_store_id": STORE, "query": SUPERUSER, "params": {"max_chunks": 1}}
    chunk = client.post("/v1/vector-io/query", json=body).json()["chunks"][0]
    answer = client.post("/v1/vector-io/insert", json={"vector_store_id": STORE, "chunks": [chunk]})
    assert answer.status_code == 400
    assert "`lightspeed ingest`" in answer.json()["error"]["message"]


def test_there_are_no_batches(client: TestClient) -> None:
    for method, path in (("GET", ""), ("GET", "/files"), ("POST", "/cancel")):
        said = refused(client, method, f"/{STORE}/file_batches/batch_1{path}")
        assert "No batch 'batch_1'" in said


def test_customers_stores_still_go_to_faiss(client: TestClient) -> None:
    created = client.post("/v1/vector_stores", json={"name": "own documents"}).json()
    assert created["metadata"]["provider_id"] == "faiss"
    assert client.delete(f"/v1/vector_stores/{created['id']}").status_code == 200


def test_both_faces_search_one_open_index(app: Any) -> None:
    table = app.stack.impls[Api.vector_stores].impls_by_provider_id["lightspeed-index"]
    tools = app.stack.impls[Api.tool_groups].impls_by_provider_id["lightspeed"]
    assert table._opened.indexes[0] is tools._opened.indexes[0]


def test_questions_are_embedded_in_this_process(client: TestClient, app: Any) -> None:
    async def story() -> None:
        inference = app.stack.impls[Api.inference]
        model = f"lightspeed-embeddings/{DEFAULT_EMBEDDING_MODEL}"
        here = await embedder_here(inference, model)
        assert here is shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto")
        assert await embedder_here(inference, "llama-cpp/gemma-3-270m") is None

        class Elsewhere:
            """The inference API, without a way to see who serves a model."""

            asked = 0

            async def openai_embeddings(self, params: Any) -> Any:
                self.asked += 1
                return await inference.openai_embeddings(params)

        elsewhere = Elsewhere()
        direct = await question_embedder(inference, model)(SUPERUSER)
        through = await question_embedder(elsewhere, model)(SUPERUSER)  # type: ignore[arg-type]
        assert elsewhere.asked == 1
        assert abs(float(direct @ through) - 1) < 1e-5

    in_server(client, story)


class SearchingUpstream:
    """A model that searches first and cites what it found; the embedded one can't call tools.

    It writes a marker of its own where it was shown no id.
    """

    def __init__(self) -> None:
        self.told = ""

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[Any]:
        self.told = str(params.messages[-1].content)
        if params.messages[-1].role != "tool":
            return self._search()
        cited = re.search(r"file-[0-9a-f]{24}", self.told)
        return self._answer(cited.group() if cited else f"file-{'0' * 24}")

    async def _search(self) -> AsyncIterator[Any]:
        call = OpenAIChatCompletionToolCall(
            index=0,
            id="call_1",
            function=OpenAIChatCompletionToolCallFunction(
                name="file_search", arguments=json.dumps({"query": SUPERUSER})
            ),
        )
        start = chunk(None)
        start.choices[0].delta.tool_calls = [call]
        yield start
        yield chunk(None, "tool_calls")

    async def _answer(self, cited: str) -> AsyncIterator[Any]:
        yield chunk(f"Use the createsuperuser command <|{cited}|>.")
        yield chunk(None, "stop")


def test_file_search_of_the_responses_api_finds_and_cites_pages(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = SearchingUpstream()
    guarded = responses_impl._stock.openai_responses_impl.inference_api
    monkeypatch.setattr(guarded, "_inference", upstream)
    answer = client.post(
        "/v1/responses",
        json={
            "model": "lightspeed",
            "input": SUPERUSER,
            "tools": [{"type": "file_search", "vector_store_ids": [STORE]}],
            "include": ["file_search_call.results"],
        },
    )
    assert answer.status_code == 200, answer.text
    output = answer.json()["output"]
    [call] = [item for item in output if item["type"] == "file_search_call"]
    assert call["status"] == "completed"
    assert "createsuperuser" in call["results"][0]["text"]
    assert call["results"][0]["attributes"]["doc_url"].endswith("/auth/#creating-superusers")
    [text] = output[-1]["content"]
    assert text["text"] == "Use the createsuperuser command."
    assert text["annotations"][0]["title"] == "Authentication"


def test_the_stock_responses_loop_cites_a_page_by_its_title(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        stock = responses_impl._stock
        loop = stock.openai_responses_impl
        monkeypatch.setattr(loop, "inference_api", SearchingUpstream())
        request = CreateResponseRequest.model_validate(
            {
                "model": "llama-cpp/gemma-3-270m",
                "input": SUPERUSER,
                "tools": [{"type": "file_search", "vector_store_ids": [STORE]}],
            }
        )
        answer = await stock.create_openai_response(request)
        [cited] = answer.output[-1].content[0].annotations
        assert cited.type == "file_citation"
        assert cited.filename == "Authentication"

    in_server(client, story)
