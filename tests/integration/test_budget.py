"""A turn's budget: rounds, tool calls, passages, tokens, and what the model can read."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import answered, guarded_of, in_server, with_rules
from fakes import CallingUpstream, CannedUpstream, NarrowUpstream, SearchingUpstream
from starlette.testclient import TestClient

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.core.turns import Passage, Turn
from lightspeed_providers.responses.budget import NOT_FINISHED, Budget, budget_of, only_functions
from lightspeed_providers.responses.budget_config import BudgetConfig
from lightspeed_providers.responses.context_window import says_too_long, tokens_of
from lightspeed_providers.responses.grounding import Grounding, within
from lightspeed_providers.responses.request_texts import text_of
from lightspeed_providers.responses.retrieval_config import RetrievalConfig

QUESTION = "How do I keep the test database between runs?"
SEARCH = {"id": "call_1", "name": "file_search", "arguments": '{"query": "keep test database"}'}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
CALL = {"id": "call_9", "name": "weather", "arguments": "{}"}

Ask = Callable[..., Awaitable[Any]]

TOO_LONG = {
    "openai": {
        "error": {
            "message": "This model's maximum context length is 8192 tokens. However, your messages "
            "resulted in 9000 tokens.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    },
    "llama.cpp": {
        "error": {
            "code": 400,
            "message": "request (900 tokens) exceeds the available context size (512 tokens)",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 900,
            "n_ctx": 512,
        }
    },
    "vllm": {
        "object": "error",
        "message": "This model's maximum context length is 4096 tokens. However, you requested "
        "5000 tokens (4000 in the messages, 1000 in the completion).",
        "type": "BadRequestError",
        "code": 400,
    },
    "anthropic": {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}},
}


@pytest.fixture
def ask(responses_impl: Any, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask with a fake upstream within a budget; gives the final response."""

    async def asked(
        upstream: Any, mode: str, budget: dict[str, Any] | None = None, **fields: Any
    ) -> Any:
        retrieval = {"mode": mode, "max_passages": 4, **fields.pop("retrieval", {})}
        with_rules(
            monkeypatch,
            responses_impl,
            retrieval=RetrievalConfig.model_validate(retrieval),
            budget=BudgetConfig.model_validate(budget or {}),
        )
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        return await answered(responses_impl, **{"input": QUESTION, **fields})

    return asked


def text_in(response: Any) -> str:
    return "".join(text_of(item.content) for item in response.output if item.type == "message")


def tools_of(params: Any) -> list[str]:
    return [tool["function"]["name"] for tool in params.tools or []]


def sent(params: Any) -> str:
    return "\n".join(text_of(message.content) for message in params.messages)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("budget", "request_limits", "calls"),
    [
        ({"max_infer_iters": 3}, {}, 3),
        ({}, {"max_infer_iters": 3}, 3),
        ({"max_infer_iters": 5}, {"max_infer_iters": 2}, 2),
        ({"max_infer_iters": 2}, {"max_infer_iters": 9}, 2),
        ({"max_infer_iters": 1}, {}, 1),
        ({"max_tool_calls": 2}, {}, 3),
        ({"max_tool_calls": 1}, {"max_tool_calls": 4}, 2),
        ({}, {}, 10),
    ],
)
def test_a_model_that_loops_on_its_tools_answers_at_the_budget(
    stream: bool,
    budget: dict[str, Any],
    request_limits: dict[str, Any],
    calls: int,
    client: TestClient,
    ask: Ask,
    turns: list[Turn],
) -> None:
    async def story() -> None:
        upstream = SearchingUpstream(["Use --keepdb."])
        response = await ask(upstream, "tool", budget, stream=stream, **request_limits)
        assert response.status == "completed"
        assert text_in(response) == "Use --keepdb."
        assert len(upstream.asked) == calls
        assert [bool(tools_of(p)) for p in upstream.asked] == [True] * (calls - 1) + [False]
        assert upstream.asked[-1].tool_choice is None

    in_server(client, story)
    assert turns[0].outcome == "answered"
    assert len(turns[0].tool_calls) == calls - 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_calls_what_is_not_offered_is_answered_for(
    stream: bool, client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    async def story() -> None:
        upstream = CallingUpstream([[SEARCH]] * 20, [])
        response = await ask(upstream, "tool", {"max_infer_iters": 3}, stream=stream)
        assert len(upstream.asked) == 3
        assert response.status == "completed"
        assert text_in(response) == NOT_FINISHED
        assert response.output[-1].content[0].annotations == []
        assert "referenced_documents" not in (response.metadata or {})

    in_server(client, story)
    assert turns[0].answer == NOT_FINISHED
    assert turns[0].outcome == "answered"


def test_a_name_that_nobody_offered_reaches_no_client(client: TestClient, ask: Ask) -> None:
    async def story() -> None:
        invented = {"id": "c1", "name": "rm_rf", "arguments": "{}"}
        response = await ask(CallingUpstream([[invented, CALL]], []), "tool", tools=[WEATHER])
        calls = [item.name for item in response.output if item.type == "function_call"]
        assert calls == ["weather"]
        response = await ask(CallingUpstream([[invented]], []), "off", tools=[WEATHER])
        assert [item.type for item in response.output] == ["message"]
        assert text_in(response) == NOT_FINISHED

    in_server(client, story)


def test_functions_of_the_client_stay_offered_at_the_budget(client: TestClient, ask: Ask) -> None:
    async def story() -> None:
        upstream = CallingUpstream([[SEARCH], [CALL]], [])
        response = await ask(upstream, "tool", {"max_tool_calls": 1}, tools=[WEATHER])
        assert tools_of(upstream.asked[1]) == ["weather"]
        assert response.status == "completed"
        assert response.output[-1].type == "function_call"
        assert response.output[-1].name == "weather"

    in_server(client, story)


def test_a_forced_search_is_not_forced_where_it_is_not_offered(
    client: TestClient, ask: Ask
) -> None:
    own = {"type": "file_search", "vector_store_ids": ["vs_small"]}

    async def story() -> None:
        upstream = CallingUpstream([], ["Use --keepdb."])
        fields = {"tools": [own], "tool_choice": {"type": "file_search"}}
        await ask(upstream, "off", {"max_infer_iters": 1}, **fields)
        assert upstream.asked[0].tools is None
        assert upstream.asked[0].tool_choice is None
        assert upstream.asked[0].parallel_tool_calls is None
        await ask(upstream, "off", {"max_infer_iters": 2}, **fields)
        assert upstream.asked[1].tool_choice["function"]["name"] == "file_search"

    in_server(client, story)


def test_calls_beyond_the_limit_are_skipped_and_the_model_is_told(
    client: TestClient, ask: Ask
) -> None:
    async def story() -> None:
        calls = [SEARCH | {"id": f"call_{n}"} for n in range(3)]
        upstream = CallingUpstream([calls], ["Use --keepdb."])
        response = await ask(upstream, "tool", {"max_tool_calls": 2})
        searches = [item for item in response.output if item.type == "file_search_call"]
        assert len(searches) == 2
        assert "maximum tool calls limit (2)" in sent(upstream.asked[1])
        assert tools_of(upstream.asked[1]) == []
        assert text_in(response) == "Use --keepdb."

    in_server(client, story)


class Limits:
    def __init__(self, rounds: int | None, calls: int | None) -> None:
        self.max_infer_iters, self.max_tool_calls = rounds, calls


@pytest.mark.parametrize(
    ("limits", "budget"),
    [
        ([], Budget(10, None)),
        ([(None, None), (None, None)], Budget(10, None)),
        ([(10, 30), (None, None)], Budget(10, 30)),
        ([(10, None), (3, 2)], Budget(3, 2)),
        ([(20, 5), (30, 9)], Budget(20, 5)),
    ],
)
def test_the_smaller_limit_holds(
    limits: list[tuple[int | None, int | None]], budget: Budget
) -> None:
    assert budget_of(*(Limits(*limit) for limit in limits)) == budget


def test_a_choice_among_functions_stays() -> None:
    tools = [{"type": "function", "function": {"name": n}} for n in ("weather", "file_search")]
    chosen = {"type": "function", "function": {"name": "weather"}}
    fields = {"tools": tools, "tool_choice": chosen, "parallel_tool_calls": True}
    assert only_functions(fields, {"weather"}) == {**fields, "tools": tools[:1]}
    forced = {**fields, "tool_choice": tools[1]}
    assert only_functions(forced, {"weather"})["tool_choice"] is None
    assert only_functions(forced, set())["tools"] is None


# Passages


@pytest.mark.parametrize("mode", ["always", "tool"])
def test_passages_keep_within_their_number_and_tokens(
    mode: str, client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    async def story() -> None:
        for retrieval in ({}, {"max_passages": 2}, {"max_tokens": 100}, {"max_tokens": 50}):
            upstream = CallingUpstream([[SEARCH]] if mode == "tool" else [], ["Fine."])
            await ask(upstream, mode, retrieval=retrieval)

    in_server(client, story)
    every, two, some, few = ([p.passage_id for p in turn.passages] for turn in turns)
    assert len(every) > len(two) == 2
    assert 1 <= len(few) <= len(some) < len(every)
    for kept in (two, some, few):
        assert kept == every[: len(kept)], "the weakest are left out"


def passage(number: int, score: float = 0.5) -> Passage:
    return Passage(
        passage_id=str(number),
        document_id=str(number),
        title="T",
        doc_url="",
        content=f"Content {number}",
        score=score,
    )


def test_the_weakest_are_left_out_whatever_search_they_come_from() -> None:
    grounding = Grounding()
    grounding.retrieved([passage(n) for n in range(3)])
    grounding.found([passage(n + 10, score=99) for n in range(2)])
    for piece in grounding.found_by_model:
        grounding.give(piece)
    tokens = dict.fromkeys(grounding.texts, 10)
    assert grounding.leave_out(tokens, 1)
    assert [p.passage_id for p in grounding.given] == ["0", "1", "10", "11"]
    assert grounding.leave_out(tokens, 11)
    assert [p.passage_id for p in grounding.given] == ["0", "10"]
    assert grounding.leave_out_half()
    assert [p.passage_id for p in grounding.given] == ["10"]
    assert grounding.leave_out_half()
    assert grounding.given == ()
    assert not grounding.leave_out_half()


def test_the_best_passage_always_comes() -> None:
    passages = [passage(n) for n in range(3)]
    assert within(passages, [100, 5, 5], 10) == (passages[0],)
    assert within(passages, [5, 5, 5], 10) == tuple(passages[:2])
    assert within([], [], 10) == ()


# What the model can read


@pytest.mark.parametrize("provider", TOO_LONG)
@pytest.mark.parametrize("mode", ["always", "tool"])
@pytest.mark.parametrize("stream", [True, False])
def test_passages_are_left_out_until_the_model_can_read_the_rest(
    provider: str, mode: str, stream: bool, client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    async def story() -> None:
        rounds = [[SEARCH]] if mode == "tool" else []
        whole = CallingUpstream(rounds, ["Use --keepdb."])
        complete = await ask(whole, mode)
        reads = len(sent(whole.asked[-1])) - 50
        model = CallingUpstream(rounds, ["Use --keepdb."])
        upstream = NarrowUpstream(reads, TOO_LONG[provider], model)
        response = await ask(upstream, mode, stream=stream)
        assert upstream.refused
        assert response.status == "completed"
        assert text_in(response) == "Use --keepdb."
        assert response.metadata["truncated"] == "true"
        assert "truncated" not in (complete.metadata or {})
        assert QUESTION in sent(model.asked[-1])
        assert model.asked[-1].messages[0].content == whole.asked[-1].messages[0].content

    in_server(client, story)
    complete, truncated = turns
    assert complete.outcome == "answered"
    assert truncated.outcome == "truncated"
    assert 0 < len(truncated.passages) < len(complete.passages)
    assert truncated.passages == complete.passages[: len(truncated.passages)]


@pytest.mark.parametrize("mode", ["always", "tool", "off"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_conversation_that_is_too_long_without_passages_is_a_413(
    mode: str, stream: bool, client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    async def story() -> None:
        upstream = NarrowUpstream(10, TOO_LONG["openai"], CallingUpstream([[SEARCH]], []))
        with pytest.raises(LightspeedError, match="conversation is too long") as raised:
            await ask(upstream, mode, stream=stream)
        assert raised.value.status_code == 413
        assert str(raised.value).count("\n") == 0

    in_server(client, story)
    assert turns[0].outcome == "error"
    assert turns[0].passages == ()


@pytest.mark.parametrize("mode", ["always", "tool"])
def test_a_known_context_is_kept_to_without_asking_in_vain(
    mode: str, client: TestClient, ask: Ask, turns: list[Turn]
) -> None:
    async def story() -> None:
        rounds = [[SEARCH]] if mode == "tool" else []
        whole = CallingUpstream(rounds, ["Use --keepdb."])
        await ask(whole, mode, {"context_tokens": 8000})
        [size] = await tokens_of([sent(whole.asked[-1])])
        size = max(size + 100, 256)
        upstream = CallingUpstream(rounds, ["Use --keepdb."])
        response = await ask(upstream, mode, {"context_tokens": size}, max_output_tokens=120)
        assert response.metadata["truncated"] == "true"
        assert len(upstream.asked) == len(rounds) + 1
        assert QUESTION in sent(upstream.asked[-1])
        assert upstream.asked[-1].messages[0].content == whole.asked[-1].messages[0].content
        [now] = await tokens_of([sent(upstream.asked[-1])])
        assert now + 120 <= size

    in_server(client, story)
    complete, truncated = turns
    assert (complete.outcome, truncated.outcome) == ("answered", "truncated")
    assert 0 < len(truncated.passages) < len(complete.passages)


def test_a_question_longer_than_a_known_context_is_a_413_and_no_model_is_asked(
    client: TestClient, ask: Ask
) -> None:
    async def story() -> None:
        upstream = CallingUpstream([], ["Never said."])
        with pytest.raises(LightspeedError, match="conversation is too long") as raised:
            await ask(upstream, "always", {"context_tokens": 256}, input=QUESTION * 100)
        assert raised.value.status_code == 413
        assert upstream.asked == []

    in_server(client, story)


def test_other_refusals_of_a_provider_are_told_as_they_are(client: TestClient, ask: Ask) -> None:
    async def story() -> None:
        upstream = NarrowUpstream(10, {"error": {"message": "no such tool"}}, CannedUpstream([]))
        with pytest.raises(LightspeedError) as raised:
            await ask(upstream, "always")
        assert raised.value.status_code == 400
        assert len(upstream.refused) == 1

    in_server(client, story)


@pytest.mark.parametrize(
    "words",
    [
        "Requested tokens (5000) exceed context window of 4096",
        "Input is too long for requested model.",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "Please reduce the length of the messages or completion.",
    ],
)
def test_what_providers_say_of_a_long_context_is_understood(words: str) -> None:
    assert says_too_long(ValueError(words))
    assert not says_too_long(RuntimeError(words)), "a fault of ours, not a provider's answer"


@pytest.mark.parametrize("words", ["too many tools in the request", "the input image is too large"])
def test_other_limits_are_no_long_context(words: str) -> None:
    assert not says_too_long(ValueError(words))


def test_a_rate_limit_in_tokens_is_no_long_context() -> None:
    fault = ValueError("Request too large: tokens per minute, too many tokens")
    assert says_too_long(fault)
    fault.status_code = 429  # type: ignore[attr-defined]  # as the openai client's errors have it
    assert not says_too_long(fault)
