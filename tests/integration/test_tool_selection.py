"""With many tools, the model is offered those that have to do with the question."""

from typing import Any

import numpy as np
import pytest
from conftest import guarded_of, in_server, with_rules
from fakes import CallingUpstream
from llama_stack_api import Api, CreateResponseRequest
from starlette.testclient import TestClient

from lightspeed_providers.responses.tool_ranking import called_names, nearest, text_of
from lightspeed_providers.responses.tool_selection_config import ToolSelectionConfig

SUBJECTS = {
    "create_superuser": "Creates a superuser account of a Django project.",
    "run_migrations": "Applies the database migrations of a Django project.",
    "run_tests": "Runs the test suite of a Django project.",
    "book_flight": "Books a seat in an aeroplane.",
    "water_plants": "Opens the valve of the garden's sprinkler.",
    "play_music": "Plays a song in the living room.",
    "order_pizza": "Orders a pizza and pays for it.",
    "walk_dog": "Tells a neighbour that the dog wants to go out.",
}
TOOLS = [
    {"type": "function", "name": name, "description": text, "parameters": {"type": "object"}}
    for name, text in SUBJECTS.items()
]
FEW = ToolSelectionConfig(above=4, keep=3, always=("walk_dog",), certain=0.2)


def offered(upstream: CallingUpstream) -> list[set[str]]:
    """The names of the tools that each call of the model was offered."""
    return [{t["function"]["name"] for t in asked.tools or []} for asked in upstream.asked]


@pytest.fixture
def ask(client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asks with the tools above, and returns what the model was offered."""

    def asked(rules: ToolSelectionConfig, question: str, **fields: Any) -> list[set[str]]:
        upstream = CallingUpstream([], ["Use createsuperuser."])

        async def story() -> None:
            with_rules(monkeypatch, responses_impl, tool_selection=rules)
            monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
            request = {"model": "lightspeed", "input": question, "tools": TOOLS, **fields}
            await responses_impl.create_openai_response(
                CreateResponseRequest.model_validate(request)
            )

        in_server(client, story)
        return offered(upstream)

    return asked


QUESTION = "How do I create a superuser in Django?"


def test_near_tools_and_those_that_are_always_wanted_are_offered(ask: Any) -> None:
    [names] = ask(FEW, QUESTION)
    assert names == {"walk_dog", "create_superuser", *names}
    assert len(names) == 3
    assert "book_flight" not in names


@pytest.mark.parametrize(
    ("rules", "fields"),
    [
        (ToolSelectionConfig(), {}),
        (ToolSelectionConfig(above=8, keep=1), {}),
        (FEW.model_copy(update={"certain": 1.0}), {}),
        (FEW.model_copy(update={"embedding_model": "nowhere/none"}), {}),
    ],
    ids=["not asked for", "not many", "none is near", "no embedding model"],
)
def test_on_any_doubt_nothing_is_dropped(
    ask: Any, rules: ToolSelectionConfig, fields: dict[str, Any]
) -> None:
    assert ask(rules, QUESTION, **fields) == [set(SUBJECTS)]


def test_tools_that_a_client_names_are_offered(ask: Any) -> None:
    named = [{"type": "function", "name": n} for n in sorted(SUBJECTS) if n != "walk_dog"]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": named}
    assert ask(FEW, QUESTION, tool_choice=choice) == [set(SUBJECTS) - {"walk_dog"}]
    forced = {"type": "function", "name": "book_flight"}
    assert ask(FEW, QUESTION, tool_choice=forced) == [set(SUBJECTS)]


def test_what_is_offered_stays_the_same_through_a_turns_rounds(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = {"id": "call_1", "name": "file_search", "arguments": '{"query": "superuser"}'}
    upstream = CallingUpstream([[search]], ["Use createsuperuser."])

    async def story() -> None:
        with_rules(monkeypatch, responses_impl, tool_selection=FEW)
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        stores = await responses_impl._deps[Api.vector_io].openai_list_vector_stores()
        files = {"type": "file_search", "vector_store_ids": [stores.data[0].id]}
        request = {"model": "lightspeed", "input": QUESTION, "tools": [*TOOLS, files]}
        await responses_impl.create_openai_response(CreateResponseRequest.model_validate(request))

    in_server(client, story)
    first, second = offered(upstream)
    assert first == second
    assert "file_search" in first
    assert "book_flight" not in first


def vectors(*rows: tuple[float, ...]) -> Any:
    return np.array(rows, dtype=np.float32)


def test_the_nearest_to_any_text_are_kept_beside_those_always_offered() -> None:
    tools = [{"function": {"name": name}} for name in "abcd"]
    near = vectors((1, 0), (0, 1), (0.6, 0.8), (-1, 0))
    asked = vectors((1, 0), (0, 1))

    def kept(keep: int, always: str = "", certain: float = 0.3) -> str:
        names = nearest(tools, near, asked, keep=keep, certain=certain, always=frozenset(always))
        return "".join(sorted(names))

    assert kept(2) == "ab"
    assert kept(2, always="d") == "ad"
    assert kept(1, always="cdx") == "cd"
    assert kept(1, certain=1.1) == "abcd"


def test_a_tools_text_holds_its_name_description_and_parameters() -> None:
    schema = {"type": "object", "properties": {"city": {}, "unit": {}}}
    tool = {"function": {"name": "get_weather", "description": "Says it.", "parameters": schema}}
    assert text_of(tool) == "get weather. Says it. city, unit"
    assert text_of({"type": "web_search"}) == ""
    assert called_names([object()]) == frozenset()
