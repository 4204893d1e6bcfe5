"""Whoever goes away or cancels stops the model at once, and what had left is kept."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from event_grammar import read_sse, text_of, violations
from interruption_server import SEARCHES, Served, served

AT_ONCE_S = 2.0
"""The promise is 0.1 s on an idle machine; tests share theirs."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("interruption")) as server:
        yield server


def read_until(connection: socket.socket, word: str) -> str:
    """Read what a connection sends until a word has come."""
    came = b""
    while word.encode() not in came:
        more = connection.recv(65536)
        assert more, came.decode()
        came += more
    return came.decode()


def response_id_in(text: str) -> str:
    found = re.search(r'"id":\s*"(resp_[^"]+)"', text)
    assert found, text
    return found[1]


def hang_up(server: Served, connection: socket.socket, question: str) -> None:
    """Close a connection and check that the model is stopped then, and not before."""
    closed_at = time.monotonic()
    connection.close()
    took = server.model.hung_up_at(question) - closed_at
    print(f"{question}: {took * 1000:.0f} ms")
    assert 0 <= took < AT_ONCE_S


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("silence", ["say nothing", "only begin", "stop talking"])
def test_a_client_that_goes_stops_a_silent_model(
    server: Served, silence: str, stream: bool
) -> None:
    question = f"Please {silence}, gone {stream}"
    connection = server.begin(input=question, stream=stream)
    server.model.wait_until_asked(question)
    time.sleep(0.3)
    hang_up(server, connection, question)
    turn = server.turn(question)
    assert turn["outcome"] == "interrupted"
    assert turn["error"] is None
    stored = server.client.get(f"/v1/responses/{turn['response_id']}").json()
    assert stored["status"] == "cancelled"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_stops_a_chat(server: Served, path: str, stream: bool) -> None:
    """Before its first word: then the server begins to stream, and the host's route takes over."""
    question = f"Please say nothing, {path} {stream}"
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": question}]}
    if path == "/v1/completions":
        asked = {"prompt": question}
    connection = server.begin(path, **asked | {"model": "vllm/faulty", "stream": stream})
    server.model.wait_until_asked(question)
    time.sleep(0.3)
    hang_up(server, connection, question)


@pytest.mark.parametrize("on", ["talk on", "stop talking"])
def test_a_client_that_goes_stops_a_chat_that_goes_on(server: Served, on: str) -> None:
    question = f"Please {on}, in a chat"
    messages = [{"role": "user", "content": question}]
    connection = server.begin(
        "/v1/chat/completions", messages=messages, model="vllm/faulty", stream=True
    )
    read_until(connection, "sentence")
    time.sleep(0.3)
    hang_up(server, connection, question)


def test_a_reader_who_goes_stops_a_model_that_talks_on(server: Served) -> None:
    question = "Please talk on, gone"
    connection = server.begin(input=question, stream=True)
    begun = read_until(connection, "output_text.delta")
    hang_up(server, connection, question)
    turn = server.turn(question)
    assert turn["outcome"] == "interrupted"
    assert turn["answer"].startswith("Another sentence.")
    stored = server.client.get(f"/v1/responses/{response_id_in(begun)}").json()
    assert stored["status"] == "cancelled"
    [message] = stored["output"]
    assert message["status"] == "incomplete"
    assert message["content"][0]["text"] == turn["answer"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["slow shield", "slow retrieval"])
def test_a_client_that_goes_while_the_question_is_prepared_asks_no_model(
    server: Served, phase: str, stream: bool
) -> None:
    question = f"With a {phase}, gone {stream}"
    known = len(server.turns())
    metadata = {"profile": "searching"}
    connection = server.begin(input=question, stream=stream, metadata=metadata)
    time.sleep(1)
    connection.close()
    deadline = time.monotonic() + 10
    while len(server.turns()) == known and time.monotonic() < deadline:
        time.sleep(0.02)
    turn = server.turns()[0]
    assert turn["outcome"] == "interrupted"
    assert "gone" not in turn["question"], "nobody had checked it to the end"
    assert not [each for each in server.model.asked if question in each]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_stops_a_running_tool(server: Served, stream: bool) -> None:
    question = f"Please search, gone {stream}"
    searching = server.directory / "state" / "searching"
    searching.unlink(missing_ok=True)
    connection = server.begin(input=question, stream=stream, tools=[SEARCHES])
    deadline = time.monotonic() + 20
    while not searching.exists():
        assert time.monotonic() < deadline, server.log[-2000:]
        time.sleep(0.05)
    connection.close()
    turn = server.turn(question)
    assert turn["outcome"] == "interrupted"
    assert turn["tool_calls"][0]["name"] == "file_search"


def cancel(server: Served, response_id: str) -> httpx.Response:
    return server.client.post(f"/v1/responses/{response_id}/cancel")


def test_a_cancelled_stream_ends_at_once_with_what_had_left(server: Served) -> None:
    question = "Please talk on, cancelled"
    with server.client.stream(
        "POST",
        "/v1/responses",
        json={"model": "lightspeed", "input": question, "stream": True},
    ) as answer:
        assert answer.status_code == 200
        chunks = answer.iter_text()
        came = ""
        while "output_text.delta" not in came:
            came += next(chunks)
        response_id = response_id_in(came)
        at = time.monotonic()
        cancelled = cancel(server, response_id)
        took = server.model.hung_up_at(question) - at
        came += "".join(chunks)
    print(f"cancelled: {took * 1000:.0f} ms")
    assert took < AT_ONCE_S
    assert cancelled.status_code == 200
    assert cancelled.json()["status"] == "cancelled"

    events = read_sse(came)
    # OpenAI has no word for it, and its clients take any.
    assert [v for v in violations(events) if "incomplete_details.reason" not in v] == []
    last = events[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "cancelled"}
    text = text_of(events)
    assert cancelled.json()["output"][0]["content"][0]["text"] == text

    assert server.client.get(f"/v1/responses/{response_id}").json()["status"] == "cancelled"
    turn = server.turn(question)
    assert (turn["outcome"], turn["answer"]) == ("interrupted", text)

    again = cancel(server, response_id)
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


def test_a_stream_that_nobody_reads_is_cancelled_all_the_same(server: Served) -> None:
    question = "Please talk on, unread"
    connection = server.begin(input=question, stream=True)
    response_id = response_id_in(read_until(connection, "response.in_progress"))
    time.sleep(0.5)
    assert cancel(server, response_id).json()["status"] == "cancelled"
    server.model.hung_up_at(question)
    connection.close()
    assert server.turn(question)["outcome"] == "interrupted"


def test_a_cancelled_plain_request_is_answered_with_what_there_is(server: Served) -> None:
    question = "Please stop talking, plain and cancelled"
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(server.ask, question)
        server.model.wait_until_asked(question)
        time.sleep(0.5)
        listed = server.client.get("/v1/responses", params={"limit": 50}).json()["data"]
        [running] = [each["id"] for each in listed if each["status"] == "in_progress"]
        at = time.monotonic()
        assert cancel(server, running).json()["status"] == "cancelled"
        assert server.model.hung_up_at(question) - at < AT_ONCE_S
        answer = asked.result(20)
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["status"]) == (running, "cancelled")
    turn = server.turn(question)
    assert turn["outcome"] == "interrupted"
    [message] = answer.json()["output"]
    assert message["content"][0]["text"] == turn["answer"]


@pytest.mark.parametrize("silence", ["say nothing", "stop talking"])
def test_a_cancelled_background_response_stops_the_model(server: Served, silence: str) -> None:
    question = f"Please {silence}, in the background"
    queued = server.ask(question, background=True).json()
    assert queued["status"] in ("queued", "in_progress")
    server.model.wait_until_asked(question)
    time.sleep(0.3)
    at = time.monotonic()
    cancelled = cancel(server, queued["id"])
    took = server.model.hung_up_at(question) - at
    print(f"background: {took * 1000:.0f} ms")
    assert took < AT_ONCE_S
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert cancel(server, queued["id"]).status_code == 200
    assert server.client.get(f"/v1/responses/{queued['id']}").json()["status"] == "cancelled"
    assert server.turn(question)["outcome"] == "interrupted"


def test_what_is_finished_or_unknown_is_not_cancelled(server: Served) -> None:
    finished = server.ask("All well?").json()
    answer = cancel(server, finished["id"])
    assert answer.status_code == 409
    assert "completed already" in answer.json()["error"]["message"]
    assert cancel(server, "resp_none").status_code == 404


def test_the_server_answers_on_after_all_that(server: Served) -> None:
    assert server.ask("All well?").json()["status"] == "completed"
    assert "Traceback" not in server.log
    assert "never awaited" not in server.log
    assert "never retrieved" not in server.log


def test_a_server_that_is_told_to_stop_records_what_runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with served(tmp_path_factory.mktemp("stopped")) as server:
        question = "Please talk on, until the end"
        connection = server.begin(input=question, stream=True)
        response_id = response_id_in(read_until(connection, "output_text.delta"))
        queued = server.ask("Please say nothing, until the end", background=True).json()
        server.model.wait_until_asked("Please say nothing, until the end")
        came: list[str] = []
        reader = threading.Thread(target=lambda: came.append(_rest(connection)))
        reader.start()
        server.stop()
        reader.join(20)
        events = [json.loads(line) for line in re.findall(r"^data: (.*)$", came[0], re.M)]
        assert events[-1]["type"] == "response.incomplete"
        server.start()
        for name in (response_id, queued["id"]):
            assert server.client.get(f"/v1/responses/{name}").json()["status"] == "cancelled"
        outcomes = {turn["question"]: turn["outcome"] for turn in server.turns()}
        assert outcomes == {
            question: "interrupted",
            "Please say nothing, until the end": "interrupted",
        }


def _rest(connection: socket.socket) -> str:
    came = b""
    while more := connection.recv(65536):
        came += more
    return came.decode()
