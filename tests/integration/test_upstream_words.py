"""What upstream's tests of the host found that ours had not: kept here in a few words."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import guarded_of
from fakes import CallingUpstream, CannedUpstream
from llama_stack.core.datatypes import AuthenticationRequiredError
from openai.types.chat import ChatCompletionChunk
from starlette.testclient import TestClient

QUESTION = "How do I add a field to a model?"
WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
DOT = "data:image/png;base64,iVBORw0KGgo="


class SdkUpstream(CallingUpstream):
    """Gives the openai SDK's own chunks, as every remote provider of the host does."""

    async def _stream(self, number: int) -> AsyncIterator[Any]:
        async for chunk in super()._stream(number):
            yield ChatCompletionChunk.model_validate(chunk.model_dump())


class ClosedUpstream:
    """Is asked for, and a tool's server says 401."""

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[Any]:
        raise AuthenticationRequiredError("Client error '401 Unauthorized' for url 'http://tool'")


@pytest.mark.block_network
def test_a_call_in_the_sdks_own_chunks_reaches_the_client(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = '{"city": "Brno"}'
    call = {"id": "call_1", "name": "weather", "arguments": arguments}
    upstream = SdkUpstream([[call]], ["Sunny."])
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
    answer = client.post(
        "/v1/responses", json={"model": "lightspeed", "input": QUESTION, "tools": [WEATHER]}
    )
    assert answer.status_code == 200, answer.text
    calls = [i for i in answer.json()["output"] if i["type"] == "function_call"]
    assert [(c["call_id"], c["name"], c["arguments"]) for c in calls] == [
        ("call_1", "weather", arguments)
    ]


@pytest.mark.block_network
@pytest.mark.parametrize(
    "content",
    [
        [{"type": "input_image", "image_url": DOT, "detail": "auto"}],
        [{"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,"}],
    ],
)
def test_a_tools_output_may_hold_no_text(
    content: list[dict[str, str]],
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", CannedUpstream(["A dot."]))
    given = [
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": content},
    ]
    answer = client.post("/v1/responses", json={"model": "lightspeed", "input": given})
    assert answer.status_code == 200, answer.text


@pytest.mark.block_network
def test_a_tools_server_that_asks_for_authorization_is_a_401(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded_of(responses_impl), "_inference", ClosedUpstream())
    answer = client.post("/v1/responses", json={"model": "lightspeed", "input": QUESTION})
    assert answer.status_code == 401
    assert "`authorization`" in answer.text
    assert "http://tool" not in answer.text


@pytest.mark.block_network
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "nobody"}, 404, "Model 'nobody' not found. Use 'client.models.list()'"),
        (
            {"model": "lightspeed", "previous_response_id": "resp_1", "conversation": "conv_1"},
            400,
            "`previous_response_id` and `conversation` are both provided",
        ),
    ],
)
def test_faults_have_the_hosts_status_and_words(
    body: dict[str, str], status: int, words: str, client: TestClient
) -> None:
    answer = client.post("/v1/responses", json={"input": QUESTION, **body})
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
