"""No response stays in progress forever, and a full queue says when to try again."""

import time
from typing import Any

import pytest
from conftest import in_server
from llama_stack_api import OpenAIResponseObject
from starlette.testclient import TestClient

from lightspeed_providers.core.turns import Turn

QUESTION = "How do I add a field to a model?"


def left_over(
    client: TestClient, responses_impl: Any, name: str, *, age_s: float, background: bool = False
) -> str:
    """A response as a server leaves it that was killed; returns its id."""
    response = OpenAIResponseObject(
        id=f"resp_{name}",
        created_at=int(time.time() - age_s),
        model="lightspeed",
        status="in_progress",
        output=[],
        background=background,
        store=True,
    )

    async def write() -> None:
        store = responses_impl._stock.openai_responses_impl.responses_store
        await store.upsert_response_object(response, [], [])

    in_server(client, write)
    return response.id


@pytest.mark.parametrize(
    ("age_s", "background", "status"),
    [
        (30, False, "in_progress"),
        (900, False, "failed"),
        (900, True, "in_progress"),
        (900 * 11, True, "failed"),
    ],
)
def test_what_a_killed_server_left_has_failed_once_nobody_can_work_on_it(
    client: TestClient, responses_impl: Any, age_s: float, background: bool, status: str
) -> None:
    name = f"left_{age_s:.0f}_{background}"
    response_id = left_over(client, responses_impl, name, age_s=age_s, background=background)
    for _ in range(2):
        shown = client.get(f"/v1/responses/{response_id}").json()
        assert shown["status"] == status
    if status == "failed":
        assert "server stopped before" in shown["error"]["message"]


@pytest.mark.parametrize("background", [True, False])
def test_what_a_killed_server_left_can_be_cancelled(
    client: TestClient, responses_impl: Any, background: bool
) -> None:
    name = f"cancelled_{background}"
    response_id = left_over(client, responses_impl, name, age_s=30, background=background)
    for _ in range(2):
        answer = client.post(f"/v1/responses/{response_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert client.get(f"/v1/responses/{response_id}").json()["status"] == "cancelled"


def test_a_full_queue_is_a_503_with_the_time_to_wait(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    queue = responses_impl._stock.openai_responses_impl._background_queue
    monkeypatch.setattr(queue, "full", lambda: True)
    body = {"model": "lightspeed", "input": QUESTION, "background": True}
    answer = client.post("/v1/responses", json=body)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert "try again in 10 seconds" in answer.json()["error"]["message"]
    assert [turn.outcome for turn in turns] == ["error"]
