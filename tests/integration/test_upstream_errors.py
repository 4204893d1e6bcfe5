"""Faults of a model's server: the right status and time to wait, one line, nobody's words."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import openai
import pytest
from event_grammar import read_sse, text_of, violations
from faulty_model import SECRET
from interruption_server import Served, served
from llama_stack_client import APIStatusError, LlamaStackClient
from openai import OpenAI, RateLimitError

from lightspeed_providers.core.retry_after import LONGEST_S, retry_after_of
from lightspeed_providers.responses.faults import BrokenOffError, as_error

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("errors")) as server:
        yield server


def check_error(answer: httpx.Response, status: int, code: str, words: str) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == error["type"] == code
    assert words in error["message"]
    assert "\n" not in error["message"]
    assert SECRET not in answer.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("upstream", "status", "code", "words"),
    [
        (429, 429, "rate_limit_exceeded", "takes no more requests for now (429)"),
        (503, 503, "server_error", "overloaded or down (503)"),
        (529, 503, "server_error", "overloaded or down (529)"),
        (500, 502, "server_error", "failed (500)"),
        (502, 502, "server_error", "failed (502)"),
        (504, 504, "server_error", "did not answer in time"),
        (401, 502, "server_error", "refused this server's key (401)"),
        (403, 502, "server_error", "refused this server's key (403)"),
        (404, 404, "invalid_request_error", "does not know it"),
        (400, 400, "invalid_request_error", "refused the request (400)"),
        (422, 422, "invalid_request_error", "refused the request (422)"),
    ],
)
def test_a_status_keeps_its_class(
    server: Served, upstream: int, status: int, code: str, words: str, stream: bool
) -> None:
    question = f"status {upstream} stream {stream}"
    answer = server.ask(question, stream=stream)
    check_error(answer, status, code, words)
    assert "retry-after" not in answer.headers
    asked = [each for each in server.model.asked if each == question]
    assert len(asked) == 1, "the client decides whether to try again"
    turn = server.turn(question)
    assert (turn["outcome"], turn["error"]) == ("error", answer.json()["error"]["message"])
    stored = server.client.get(f"/v1/responses/{turn['response_id']}").json()
    assert stored["status"] == "failed"
    assert stored["error"]["message"] == turn["error"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "told"), [(429, "7"), (503, "11"), (429, "0.5")])
def test_the_time_to_wait_is_passed_on(
    server: Served, status: int, told: str, stream: bool
) -> None:
    answer = server.ask(f"status {status} retry-after {told}", stream=stream)
    assert answer.status_code == status
    assert answer.headers["retry-after"] == {"0.5": "1"}.get(told, told)
    assert f"in {told} seconds" in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_chats_have_the_same_errors(server: Served, stream: bool) -> None:
    for question, status, code in (
        ("status 429 retry-after 7", 429, "rate_limit_exceeded"),
        ("status 500", 502, "server_error"),
    ):
        messages = [{"role": "user", "content": question}]
        body = {"model": "vllm/faulty", "messages": messages, "stream": stream}
        answer = server.client.post("/v1/chat/completions", json=body)
        check_error(answer, status, code, "(")
        assert answer.headers.get("retry-after") == ("7" if status == 429 else None)


@pytest.mark.parametrize(
    ("question", "status", "words"),
    [
        ("break off", 502, "broke off in the middle of its answer"),
        ("reset", 502, "broke off in the middle of its answer"),
    ],
)
def test_a_fault_after_the_first_word_ends_the_stream_with_a_failure(
    server: Served, question: str, status: int, words: str
) -> None:
    plain = server.ask(f"{question} plain")
    check_error(plain, status, "server_error", words)
    question = f"{question} streamed"
    answer = server.ask(question, stream=True)
    assert answer.status_code == 200
    events = read_sse(answer.text)
    assert not violations(events)
    last = events[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"] == {
        "code": "server_error",
        "message": plain.json()["error"]["message"],
    }
    turn = server.turn(question)
    assert (turn["outcome"], turn["error"]) == ("error", last["response"]["error"]["message"])
    assert turn["answer"] == text_of(events)
    stored = server.client.get(f"/v1/responses/{last['response']['id']}").json()
    assert (stored["status"], stored["error"]) == ("failed", last["response"]["error"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("question", "status", "words"),
    [("garbage", 502, "can't be read"), ("error in stream", 503, "overloaded or down (503)")],
)
def test_a_fault_within_a_stream_that_has_said_nothing_is_a_status(
    server: Served, question: str, status: int, words: str, stream: bool
) -> None:
    check_error(server.ask(question, stream=stream), status, "server_error", words)


def test_the_clients_of_both_projects_raise_what_they_are_told(server: Served) -> None:
    client = OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    question = "status 429 retry-after 7"
    for stream in (False, True):
        with pytest.raises(RateLimitError) as limited:
            client.responses.create(model="lightspeed", input=question, stream=stream)
        assert limited.value.code == "rate_limit_exceeded"
        assert limited.value.response.headers["retry-after"] == "7"
    events = list(client.responses.create(model="lightspeed", input="break off", stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.code == "server_error"

    host = LlamaStackClient(base_url=server.url, max_retries=0)
    with pytest.raises(APIStatusError) as fault:
        host.responses.create(model="lightspeed", input=question)
    assert fault.value.status_code == 429
    seen = list(host.responses.create(model="lightspeed", input="break off", stream=True))
    assert seen[-1].type == "response.failed"


def test_no_stack_trace_and_nobody_s_words_are_logged(server: Served) -> None:
    assert server.ask("All well?").json()["status"] == "completed"
    assert "Traceback" not in server.log
    assert SECRET not in server.log


def test_a_server_that_is_gone_is_told_in_one_line(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.model.shutdown()
    server.model.server_close()
    for stream in (False, True):
        check_error(server.ask("Hello?", stream=stream), 503, "server_error", "can't be reached")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e99"}, LONGEST_S),
        ({"retry-after": "soon"}, None),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=30), usegmt=True)}, 30),
        ({"retry-after": format_datetime(NOW - timedelta(days=1), usegmt=True)}, 0),
        ({"retry-after": "Sat, 99 Nov 2026 10:00:00 GMT"}, None),
        ({"retry-after": "7", "retry-after-ms": "1500"}, 1.5),
    ],
)
def test_the_time_to_wait_is_read_safely(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_of(headers, NOW) == seconds


def _status_error(status: int, body: Any) -> openai.APIStatusError:
    library: Any = sys.modules[openai.DefaultAsyncHttpxClient.__mro__[1].__module__]
    response = library.Response(status, request=library.Request("POST", "http://model"))
    return openai.APIStatusError(SECRET, response=response, body=body)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (_status_error(429, {"code": "insufficient_quota"}), 429, "insufficient_quota"),
        (_status_error(400, {"code": "context_length_exceeded"}), 413, "context_length_exceeded"),
        (_status_error(413, None), 413, "context_length_exceeded"),
        (_status_error(408, "text"), 504, "server_error"),
        (_status_error(418, {}), 418, "invalid_request_error"),
        (httpx.ReadTimeout(SECRET), 504, "server_error"),
        (httpx.ConnectError(SECRET), 503, "server_error"),
        (httpx.RemoteProtocolError(SECRET), 502, "server_error"),
        (BrokenOffError(SECRET), 502, "server_error"),
        (UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET), 502, "server_error"),
        (None, 500, "server_error"),
    ],
)
def test_every_fault_is_one_line_without_anybody_s_words(
    fault: Exception | None, status: int, code: str
) -> None:
    for model in ("a/model", None):
        error = as_error(fault, model)
        assert (error.status_code, error.code) == (status, code)
        assert error.body == {"code": code, "message": str(error)}
        assert SECRET not in str(error)
        assert "\n" not in str(error)
