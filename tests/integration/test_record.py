"""What a turn's record holds: tools, attachments, prompt and model, all as the model got them."""

import base64
import hashlib
import json
from typing import Any

import pytest
from conftest import guarded_of, in_server
from fakes import CallingUpstream, CannedUpstream
from llama_stack_api import CreateResponseRequest
from starlette.testclient import TestClient

from lightspeed_providers.core.turns import Attachment, ToolCall, Turn
from lightspeed_providers.responses.attachments import attachment_of
from lightspeed_providers.responses.request_texts import text_of
from lightspeed_providers.responses.tool_use import ToolUse

QUESTION = "How do I add a field to a model?"
SEARCH = {"id": "call_1", "name": "file_search", "arguments": '{"query": "keepdb"}'}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


def data_url(text: str, kind: str = "text/plain") -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"


def file_part(**fields: str) -> dict[str, str]:
    return {"type": "input_file", **fields}


def asked(*parts: dict[str, str], **fields: Any) -> CreateResponseRequest:
    content = [{"type": "input_text", "text": QUESTION}, *parts]
    message = {"type": "message", "role": "user", "content": content}
    return CreateResponseRequest.model_validate(
        {"model": "lightspeed", "input": [message], **fields}
    )


def test_tools_of_the_server_are_recorded_with_what_the_model_got(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    upstream = CallingUpstream([[SEARCH], [SEARCH | {"id": "call_2"}]], ["Use --keepdb."])

    async def story() -> None:
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        stores = {"type": "file_search", "vector_store_ids": ["vs_small"]}
        await responses_impl.create_openai_response(asked(tools=[stores]))

    in_server(client, story)
    [turn] = turns
    assert turn.outcome == "answered"
    assert [(c.id, c.name, c.args, c.type) for c in turn.tool_calls] == [
        ("call_1", "file_search", {"query": "keepdb"}, "file_search_call"),
        ("call_2", "file_search", {"query": "keepdb"}, "file_search_call"),
    ]
    assert [(r.id, r.status, r.round) for r in turn.tool_results] == [
        ("call_1", "completed", 1),
        ("call_2", "completed", 2),
    ]
    [sent] = [m for m in upstream.asked[1].messages if m.role == "tool"]
    assert turn.tool_results[0].content == text_of(sent.content)
    assert "--keepdb" in turn.tool_results[0].content


def test_functions_of_the_client_are_recorded_in_both_turns(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    call = {"id": "call_9", "name": "weather", "arguments": '{"city": "Oslo"}'}

    async def story() -> None:
        upstream = CallingUpstream([[call]], ["It rains."])
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        first = await responses_impl.create_openai_response(asked(tools=[WEATHER]))
        output = {
            "type": "function_call_output",
            "call_id": "call_9",
            "output": "Rain, says jane.doe@example.org",
        }
        follow_up = CreateResponseRequest.model_validate(
            {"model": "lightspeed", "input": [output], "previous_response_id": first.id}
        )
        await responses_impl.create_openai_response(follow_up)

    in_server(client, story)
    calling, answering = turns
    assert calling.tool_calls == (
        ToolCall(id="call_9", name="weather", args={"city": "Oslo"}, type="function_call"),
    )
    assert calling.tool_results == ()
    [result] = answering.tool_results
    assert (result.id, result.type, result.round) == ("call_9", "function_call_output", 0)


def test_a_text_file_is_redacted_for_the_model_and_in_the_record(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    upstream = CallingUpstream([], ["Fine."])
    log = file_part(file_data=data_url("login of jane.doe@example.org failed"), filename="a.log")

    async def story() -> None:
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        await responses_impl.create_openai_response(asked(log))

    in_server(client, story)
    [turn] = turns
    assert turn.question == QUESTION
    assert turn.attachments == (
        Attachment(
            attachment_type="file",
            content_type="text/plain",
            content="login of <EMAIL_1> failed",
        ),
    )
    [sent] = upstream.asked
    part = sent.messages[-1].model_dump()["content"][-1]
    encoded = part["file"]["file_data"].partition("base64,")[2]
    assert base64.b64decode(encoded) == b"login of <EMAIL_1> failed"
    assert {"EMAIL": 1} in [v.replaced for v in turn.verdicts]


def test_the_record_says_which_prompt_and_model_held(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch, turns: list[Turn]
) -> None:
    mine = "You are a pirate."

    async def story() -> None:
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", CannedUpstream(["Aye."]))
        await responses_impl.create_openai_response(asked())
        named = asked(instructions=mine, model="llama-cpp/gemma-3-270m")
        await responses_impl.create_openai_response(named)

    in_server(client, story)
    plain, own = turns
    profiles = responses_impl.profiles
    prompt = profiles.prompt(profiles.chosen(None), None, plain.received_at.date())
    assert plain.prompt_hash == hashlib.sha256(prompt.text.encode()).hexdigest()
    assert plain.prompt_version == own.prompt_version == prompt.version
    assert own.prompt_hash == hashlib.sha256(mine.encode()).hexdigest()
    assert (plain.model_requested, plain.provider_requested) == ("lightspeed", None)
    assert (own.model_requested, own.provider_requested) == ("llama-cpp/gemma-3-270m", "llama-cpp")
    assert plain.model == own.model == "llama-cpp/gemma-3-270m"


def test_what_users_write_about_a_turn_is_redacted_as_the_turn_is(
    client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = client.post("/v1/conversations", json={}).json()["id"]

    async def story() -> None:
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", CannedUpstream(["Yes."]))
        await responses_impl.create_openai_response(asked(conversation=conversation))

    in_server(client, story)
    address = "jane.doe@example.org"
    about = {
        "conversation_id": conversation,
        "user_question": f"How do I make a cake? I am {address}.",  # refused, and kept
        "llm_response": f"Ask {address}.",
        "user_feedback": f"Wrong, {address} left. " + "a@b.io " * 580,
    }
    assert client.post("/v1/feedback", json=about).status_code == 200
    listed = client.get("/v1alpha/feedback", params={"conversation_id": conversation}).json()
    [kept] = listed["data"]
    assert kept["user_question"] == "How do I make a cake? I am <EMAIL_1>."
    assert kept["llm_response"] == "Ask <EMAIL_1>."
    assert kept["user_feedback"].startswith("Wrong, <EMAIL_1> left. <EMAIL_2>")
    assert len(kept["user_feedback"]) == 4096


IMAGE = base64.b64encode(b"\x89PNG").decode()
SHA_OF_IMAGE = f"sha256:{hashlib.sha256(bytes([0x89]) + b'PNG').hexdigest()}"


@pytest.mark.parametrize(
    ("part", "kind", "content"),
    [
        ({"file_data": data_url("x: 1", "application/yaml")}, "application/yaml", "x: 1"),
        ({"file_data": IMAGE, "filename": "a.png"}, "image/png", SHA_OF_IMAGE),
        ({"file_data": data_url("", "text/plain") + "?"}, "text/plain", None),
        ({"file_id": "file-1", "filename": "a.pdf"}, "application/pdf", "file-1"),
        (
            {"file_url": "https://me:word@files.example/a.txt?sig=secret"},
            "text/plain",
            "https://files.example/a.txt",
        ),
        (
            {"type": "input_image", "image_url": f"data:image/png;base64,{IMAGE}"},
            "image/png",
            SHA_OF_IMAGE,
        ),
    ],
)
def test_attachments(part: dict[str, str], kind: str, content: str | None) -> None:
    [_, parsed] = asked(file_part() | part).input[0].content  # type: ignore[union-attr]  # a list
    attachment = attachment_of(parsed)
    assert attachment is not None
    assert attachment.content_type == kind
    assert attachment.content == content or (content is None and "sha256:" in attachment.content)


def test_arguments_that_are_no_json_are_kept_as_text() -> None:
    use = ToolUse()
    use.model_is_asked()
    use.piece(0, "a", "search", "{oops")
    use.piece(1, "b", "search", json.dumps(["x"]))
    use.gave("a", "nothing")
    use.gave("of another turn", "nothing")
    assert [c.args for c in use.calls] == [{"_": "{oops"}, {"_": '["x"]'}]
    assert [(r.id, r.status) for r in use.results] == [("a", "unknown")]
