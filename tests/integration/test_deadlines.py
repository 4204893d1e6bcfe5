"""Each phase of a turn has its deadline, and each deadline its own message."""

import asyncio
from typing import Any

import pytest
from conftest import guarded_of, in_server, with_rules
from fakes import CannedUpstream, EndlessUpstream, LateUpstream
from llama_stack_api import Api, CreateResponseRequest, RetrieveResponseRequest
from starlette.testclient import TestClient

from lightspeed_providers.core.turns import Turn
from lightspeed_providers.responses.deadlines import DeadlineError, DeadlinesConfig, within
from lightspeed_providers.responses.retrieval_config import RetrievalConfig

QUESTION = "How do I add a field to a model?"
OFF = RetrievalConfig(mode="off")
LONG_S = 3600


class SilentUpstream:
    """Begins an answer and never says a word of it."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def openai_chat_completion(self, params: Any) -> Any:
        return self._stream()

    async def _stream(self) -> Any:
        try:
            await asyncio.sleep(LONG_S)
            yield None
        finally:
            self.closed.set()


def ask(client: TestClient, **fields: Any) -> Any:
    return client.post("/v1/responses", json={"model": "lightspeed", "input": QUESTION, **fields})


def check(answer: Any, turns: list[Turn], words: str) -> None:
    """A 504 that says which deadline it was, recorded as such."""
    assert answer.status_code == 504, answer.text
    error = answer.json()["error"]
    assert words in error["message"]
    assert error["code"] == "server_error"
    [turn] = turns
    assert (turn.outcome, turn.error) == ("error", error["message"])


@pytest.mark.parametrize("stream", [True, False])
def test_late_shields(
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    turns: list[Turn],
    stream: bool,
) -> None:
    async def guarded(*_: Any) -> None:
        await asyncio.sleep(LONG_S)

    monkeypatch.setattr(responses_impl._guard, "guarded", guarded)
    with_rules(monkeypatch, responses_impl, deadlines=DeadlinesConfig(shields_s=0.2), retrieval=OFF)
    check(ask(client, stream=stream), turns, "within 0.2 s (`deadlines.shields_s`)")
    assert QUESTION not in turns[0].question, "it was not screened to the end"


@pytest.mark.parametrize("stream", [True, False])
def test_late_retrieval(
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    turns: list[Turn],
    stream: bool,
) -> None:
    stopped = []

    class LateSearch:
        async def invoke_tool(self, **_: Any) -> None:
            try:
                await asyncio.sleep(LONG_S)
            finally:
                stopped.append(True)

    monkeypatch.setitem(responses_impl._deps, Api.tool_runtime, LateSearch())
    with_rules(monkeypatch, responses_impl, deadlines=DeadlinesConfig(retrieval_s=0.2))
    check(ask(client, stream=stream), turns, "within 0.2 s (`deadlines.retrieval_s`)")
    assert stopped == [True]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", [SilentUpstream, lambda: LateUpstream(LONG_S, [])])
def test_a_late_first_word(
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    turns: list[Turn],
    kind: Any,
    stream: bool,
) -> None:
    upstream = kind()
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
    deadlines = DeadlinesConfig(first_token_s=0.2)
    with_rules(monkeypatch, responses_impl, deadlines=deadlines, retrieval=OFF)
    check(ask(client, stream=stream), turns, "within 0.2 s (`deadlines.first_token_s`)")
    assert upstream.stopped if kind is not SilentUpstream else upstream.closed.is_set()


def test_a_late_turn_ends_a_stream_with_what_had_left(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    async def story() -> None:
        upstream = EndlessUpstream()
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        deadlines = DeadlinesConfig(turn_s=1)
        with_rules(monkeypatch, responses_impl, deadlines=deadlines, retrieval=OFF)
        request = CreateResponseRequest(model="lightspeed", input=QUESTION, stream=True)
        events = await responses_impl.create_openai_response(request)
        seen = [event async for event in events]
        last = seen[-1]
        assert last.type == "response.failed"
        assert "within 1 s (`deadlines.turn_s`)" in last.response.error.message
        assert last.response.error.code == "server_error"
        await asyncio.wait_for(upstream.closed.wait(), 5)
        text = "".join(e.delta for e in seen if e.type == "response.output_text.delta")
        assert text
        [turn] = turns
        assert (turn.outcome, turn.error) == ("error", last.response.error.message)
        assert turn.answer == text
        get = RetrieveResponseRequest(response_id=last.response.id)
        stored = await responses_impl.get_openai_response(get)
        assert stored.status == "failed"
        assert stored.error.message == turn.error
        assert stored.output[0].content[0].text == text

    in_server(client, story)


def test_a_late_turn_in_the_background(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    async def story() -> None:
        upstream = SilentUpstream()
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        deadlines = DeadlinesConfig(turn_s=0.5)
        with_rules(monkeypatch, responses_impl, deadlines=deadlines, retrieval=OFF)
        request = CreateResponseRequest(model="lightspeed", input=QUESTION, background=True)
        queued = await responses_impl.create_openai_response(request)
        get = RetrieveResponseRequest(response_id=queued.id)
        for _ in range(200):
            stored = await responses_impl.get_openai_response(get)
            if stored.status == "failed":
                break
            await asyncio.sleep(0.05)
        assert stored.status == "failed"
        assert "within 0.5 s (`deadlines.turn_s`)" in stored.error.message
        assert upstream.closed.is_set()
        [turn] = turns
        assert (turn.outcome, turn.error) == ("error", stored.error.message)

    in_server(client, story)


def test_what_is_in_time_is_answered(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    upstream = LateUpstream(0.2, ["All is well."])
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
    with_rules(monkeypatch, responses_impl, retrieval=OFF)
    assert ask(client).json()["output"][0]["content"][0]["text"] == "All is well."
    assert [turn.outcome for turn in turns] == ["answered"]


def test_a_first_event_is_held_for_a_bounded_time(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        monkeypatch.setattr(responses_impl.config, "hold_first_event_s", 0.1)
        with_rules(monkeypatch, responses_impl, retrieval=OFF)
        upstream = LateUpstream(1.5, ["All is well."])
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        request = CreateResponseRequest(model="lightspeed", input=QUESTION, stream=True)
        clock = asyncio.get_running_loop().time
        begun_at = clock()
        events = await responses_impl.create_openai_response(request)
        first = await anext(events)
        assert first.type == "response.created"
        assert clock() - begun_at < 1.4
        rest = [event async for event in events]
        numbers = [event.sequence_number for event in (first, *rest)]
        assert numbers == list(range(len(numbers)))
        assert rest[-1].type == "response.completed"

        canned = CannedUpstream(["All is well."])
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", canned)
        monkeypatch.setattr(responses_impl.config, "hold_first_event_s", 0)
        events = await responses_impl.create_openai_response(request)
        assert [event.type async for event in events][-1] == "response.completed"

    in_server(client, story)


async def test_the_work_s_own_timeout_is_no_deadline() -> None:
    async def fails() -> None:
        raise TimeoutError

    later = asyncio.get_running_loop().time() + 5
    with pytest.raises(TimeoutError):
        await within(fails(), later, DeadlinesConfig().turn_late)
    with pytest.raises(DeadlineError, match="shields_s"):
        await within(asyncio.sleep(5), later - 5, DeadlinesConfig().shields_late)
