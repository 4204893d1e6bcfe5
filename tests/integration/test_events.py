"""A stream's events are valid, whatever happens, and the published clients accept each of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from conftest import guarded_of, in_server, with_rules
from event_grammar import Event, read_sse, text_of, violations
from fakes import ScriptedUpstream, Thought
from llama_stack_api import CreateResponseRequest
from llama_stack_api.responses.fastapi_routes import create_sse_event
from mcp_weather import weather_server
from scripted_shields import Scanning, scripted_policy
from starlette.testclient import TestClient
from stock_alone import stock_alone
from stream_clients import read_by_llama_stack, read_by_openai

from lightspeed_providers.responses.retrieval_config import RetrievalConfig

# llama-stack-client's own models don't quite fit each other.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")

QUESTION = "How do I add a field to a model?"
OFF_TOPIC = "What is a good recipe for apple pie?"
STORE = {"type": "file_search", "vector_store_ids": ["vs_small"]}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
THINKING = {"reasoning": {"effort": "low"}}
SAID = ["Write it ", "as a class ", "attribute."]


def search(call_id: str, arguments: str = '{"query": "keepdb"}') -> dict[str, Any]:
    return {"id": call_id, "name": "file_search", "arguments": arguments}


def weather(call_id: str, name: str = "weather") -> dict[str, Any]:
    return {"id": call_id, "name": name, "arguments": '{"city": "Oslo"}'}


@dataclass(frozen=True)
class Story:
    """What a model does, what it was asked for, and what the answer is made of in the end."""

    script: ScriptedUpstream
    output: list[str]
    fields: dict[str, Any] = field(default_factory=dict)
    status: str = "completed"
    grounded: bool = True


STORIES: dict[str, Callable[[], Story]] = {
    "an answer with citations": lambda: Story(ScriptedUpstream(SAID), ["message"]),
    "a plain answer": lambda: Story(ScriptedUpstream(SAID), ["message"], grounded=False),
    "an empty answer": lambda: Story(ScriptedUpstream([]), ["message"], grounded=False),
    "a client's function": lambda: Story(
        ScriptedUpstream([weather("a")]), ["function_call"], {"tools": [WEATHER]}
    ),
    "two functions at once": lambda: Story(
        ScriptedUpstream([weather("a"), weather("b")]),
        ["function_call", "function_call"],
        {"tools": [WEATHER]},
    ),
    "text in front of a function": lambda: Story(
        ScriptedUpstream(["Let me see. ", "Oslo.", weather("a")]),
        ["message", "function_call"],
        {"tools": [WEATHER]},
    ),
    "a function that nobody offered": lambda: Story(ScriptedUpstream([weather("a")]), ["message"]),
    "two searches": lambda: Story(
        ScriptedUpstream([search("a")], [search("b")], SAID),
        ["file_search_call", "file_search_call", "message"],
        {"tools": [STORE]},
    ),
    "text in front of a search": lambda: Story(
        ScriptedUpstream(["I search. ", search("a")], SAID),
        ["message", "file_search_call", "message"],
        {"tools": [STORE]},
    ),
    "a search and a function at once": lambda: Story(
        ScriptedUpstream([weather("a"), search("b")]),
        ["file_search_call", "function_call"],
        {"tools": [STORE, WEATHER]},
    ),
    "a search with broken arguments": lambda: Story(
        ScriptedUpstream([search("a", '{"query": ')]),
        ["file_search_call"],
        {"tools": [STORE]},
        status="failed",
    ),
    "reasoning": lambda: Story(
        ScriptedUpstream([Thought("I "), Thought("think."), *SAID]),
        ["reasoning", "message"],
        THINKING,
    ),
    "reasoning in front of a search": lambda: Story(
        ScriptedUpstream([Thought("Search."), search("a")], [Thought("Found."), *SAID]),
        ["reasoning", "file_search_call", "reasoning", "message"],
        {"tools": [STORE], **THINKING},
    ),
    "a refusal before the model": lambda: Story(
        ScriptedUpstream([]), ["message"], {"input": OFF_TOPIC}
    ),
    "a refusal amid the text": lambda: Story(
        ScriptedUpstream(["One sentence. ", "Then a forbidden one. ", "And more."]), ["message"]
    ),
    "an answer that is cut off": lambda: Story(
        ScriptedUpstream(SAID, finish="length"), ["message"], status="incomplete"
    ),
    "too many rounds": lambda: Story(
        ScriptedUpstream([search("a")]),
        ["message"],
        {"tools": [STORE], "max_infer_iters": 1},
        grounded=False,
    ),
    "a fault amid the text": lambda: Story(
        ScriptedUpstream(["One sentence. ", "And one more. ", httpx.ReadError("gone")]),
        ["message"],
        status="failed",
    ),
}


MCP_STORIES: dict[str, Callable[[dict[str, Any]], Story]] = {
    "a call of an MCP tool": lambda mcp: Story(
        ScriptedUpstream([weather("a", "weather_at"), weather("b", "weather_at")], SAID),
        ["mcp_list_tools", "mcp_call", "mcp_call", "message"],
        {"tools": [mcp]},
    ),
    "an MCP tool that fails": lambda mcp: Story(
        ScriptedUpstream([weather("a", "storms_at")], SAID),
        ["mcp_list_tools", "mcp_call", "message"],
        {"tools": [mcp]},
    ),
    "an MCP tool that needs approval": lambda mcp: Story(
        ScriptedUpstream(["I ask. ", weather("a", "weather_at")]),
        ["mcp_list_tools", "message", "mcp_approval_request"],
        {"tools": [{**mcp, "require_approval": "always"}]},
    ),
}


@dataclass(frozen=True)
class Told:
    """A story as it left the server."""

    story: Story
    body: str
    events: list[Event]

    @property
    def final(self) -> dict[str, Any]:
        return dict(self.events[-1]["response"])


@pytest.fixture(scope="module")
def mcp() -> Iterator[dict[str, Any]]:
    """A real MCP server as a tool."""
    with weather_server() as address:
        yield {
            "type": "mcp",
            "server_label": "weather",
            "server_url": address,
            "require_approval": "never",
        }


@pytest.fixture(params=[*STORIES, *MCP_STORIES])
def told(
    request: pytest.FixtureRequest,
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    mcp: dict[str, Any],
) -> Told:
    """Each story, streamed."""
    name = request.param
    story = STORIES[name]() if name in STORIES else MCP_STORIES[name](mcp)
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", story.script)
    if not story.grounded:
        with_rules(monkeypatch, responses_impl, retrieval=RetrievalConfig(mode="off"))
    if name == "a refusal amid the text":

        async def scanning(turn: Any) -> Any:
            return scripted_policy(output_scan=Scanning())

        monkeypatch.setattr(responses_impl, "_shields", scanning)
    return streamed(client, story)


def streamed(client: TestClient, story: Story) -> Told:
    asked = {"model": "lightspeed", "input": QUESTION, "stream": True, **story.fields}
    answer = client.post("/v1/responses", json=asked)
    assert answer.status_code == 200, answer.text
    return Told(story, answer.text, read_sse(answer.text))


def test_events_are_in_order_and_say_what_the_final_response_says(told: Told) -> None:
    assert violations(told.events) == []
    assert told.final["status"] == told.story.status
    assert [item["type"] for item in told.final["output"]] == told.story.output


def test_what_is_stored_is_what_was_streamed(told: Told, client: TestClient) -> None:
    stored = client.get(f"/v1/responses/{told.final['id']}").json()
    assert {name: stored[name] for name in told.final} == told.final


def test_the_openai_client_accepts_every_event(told: Told) -> None:
    events, response = read_by_openai(told.body)
    assert [e.type for e in events] == [e["type"] for e in told.events]
    if response is not None:
        said = [
            part["text"]
            for item in told.final["output"]
            for part in item.get("content") or []
            if part["type"] == "output_text"
        ]
        assert response.output_text == "".join(said) == text_of(told.events)


def test_llama_stack_client_accepts_every_event(told: Told) -> None:
    # Its own classes name the arguments of MCP calls as the host does; OpenAI's is what we send.
    strict = not any(e["type"].startswith("response.mcp_call_arguments") for e in told.events)
    events = read_by_llama_stack(told.body, strict=strict)
    assert [e.type for e in events] == [e["type"] for e in told.events]


@pytest.mark.parametrize(
    "name", ["text in front of a search", "reasoning", "two functions at once"]
)
def test_an_answer_as_a_whole_is_made_of_the_same(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    story = STORIES[name]()
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", story.script)
    asked = {"model": "lightspeed", "input": QUESTION, **story.fields}
    whole = client.post("/v1/responses", json=asked).json()
    assert [item["type"] for item in whole["output"]] == story.output
    assert client.get(f"/v1/responses/{whole['id']}").json()["output"] == whole["output"]


def test_the_grammar_notices_any_event_that_is_missing_or_out_of_place(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = STORIES["text in front of a search"]()
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", story.script)
    events = streamed(client, story).events
    assert violations(events) == []
    for n in range(len(events)):
        assert violations(renumbered(events[:n] + events[n + 1 :])), f"without {events[n]}"
    either_way = {"response.output_text.delta", "response.output_text.annotation.added"}
    for n in range(len(events) - 1):
        pair = events[n : n + 2]
        places = {event.get("output_index") for event in pair}
        if {event["type"] for event in pair} == either_way or (
            None not in places and len(places) > 1
        ):
            continue  # annotations come amid a text, and items beside each other
        swapped = [*events[:n], events[n + 1], events[n], *events[n + 2 :]]
        assert violations(renumbered(swapped)), f"{events[n]} after {events[n + 1]}"
    assert violations(events[1:-1])
    assert violations([])


def renumbered(events: list[Event]) -> list[Event]:
    return [{**event, "sequence_number": n} for n, event in enumerate(events)]


def test_the_stock_loop_still_needs_the_repair(client: TestClient, responses_impl: Any) -> None:
    """Once this fails, the host tells valid events itself, and `event_repair` may go."""

    async def story() -> None:
        told = STORIES["two functions at once"]()
        asked = CreateResponseRequest.model_validate(
            {"model": "llama-cpp/any", "input": QUESTION, "stream": True, **told.fields}
        )
        async with stock_alone(responses_impl, told.script) as stock:
            events = [e async for e in await stock.create_openai_response(asked)]
        body = "".join(create_sse_event(event) for event in events)
        assert violations(read_sse(body))
        with pytest.raises(RuntimeError, match="Duplicate response output index"):
            read_by_openai(body)

    in_server(client, story)
