"""Source markers that a model writes are never shown, however its text is cut."""

import json
import random
import time
from typing import Any

import pytest
from conftest import guarded_of, in_server
from fakes import CannedUpstream, ThinkingUpstream
from llama_stack_api import CreateResponseRequest
from starlette.testclient import TestClient

from lightspeed_providers.core.turns import Turn
from lightspeed_providers.responses.markers import WithoutMarkers

SHOWN = {
    "A fact <|file-Cn3MSNn72ENTiiq11Qda4A|>. More.": "A fact. More.",
    "A fact<|file-a|><|file-b|> here": "A fact here",
    "<|model-citation|>First": "First",
    "<|cite|>x<|citation_4|>": "x",
    "As told【4:0†source】 and 【12】.": "As told and.",
    "Doc <|document_1|>": "Doc",
    "Cut short <|file-abc": "Cut short",
    "Cut short 【4:0†so": "Cut short",
    "tabs \t <|chunk-7|>\nnext": "tabs\nnext",
    # What only looks like one stays.
    "x <| y |> z": "x <| y |> z",
    "if a < b: pass": "if a < b: pass",
    "use `<|` and `|>`": "use `<|` and `|>`",
    "<|im_start|>user": "<|im_start|>user",
    "【重要】読む": "【重要】読む",
    "<div>file-abc</div>": "<div>file-abc</div>",
    "List.map f <| items": "List.map f <| items",
    "ends with a blank ": "ends with a blank ",
    "": "",
}


def shown(text: str, cuts: list[int]) -> str:
    filtered, said, last = WithoutMarkers(), "", 0
    for cut in [*cuts, len(text)]:
        said += filtered.push(text[last:cut])
        last = cut
    return said + filtered.rest()


def words(text: str) -> str:
    """A text without its blanks: those before a marker may have left when it comes."""
    return "".join(text.split())


@pytest.mark.parametrize("text", SHOWN)
def test_how_a_text_is_cut_makes_no_difference(text: str) -> None:
    rng = random.Random(7)
    assert shown(text, []) == SHOWN[text]
    assert words(shown(text, list(range(len(text))))) == words(SHOWN[text])
    for _ in range(50):
        cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randrange(6)))
        assert words(shown(text, cuts)) == words(SHOWN[text])


def test_only_what_may_become_a_marker_is_held_back() -> None:
    filtered = WithoutMarkers()
    assert filtered.push("One two") == "One two"
    assert filtered.push(" three ") == " three "
    assert filtered.push("four <") == "four"
    assert filtered.push("b> bold") == " <b> bold"
    assert filtered.push("<|file-" + "x" * 400) == "<|file-" + "x" * 400


@pytest.mark.parametrize("piece", ["<|", " ", "<|file-", "【1†", "word <"])
def test_a_long_text_takes_linear_time(piece: str) -> None:
    text = piece * (400_000 // len(piece))
    began = time.perf_counter()
    shown(text, list(range(0, len(text), 5)))
    shown(text, [])
    assert time.perf_counter() - began < 30  # quadratic time would be hours


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("thinks", [True, False])
def test_no_marker_leaves_is_stored_or_recorded(
    stream: bool,
    thinks: bool,
    client: TestClient,
    responses_impl: Any,
    monkeypatch: pytest.MonkeyPatch,
    turns: list[Turn],
) -> None:
    said = ["Run the tests <|fi", "le-0123456789abcdef|>", " with ", "--keepdb【4:0†so", "urce】."]
    thought = ["The user <|file", "-0a|> tests."]
    upstream = ThinkingUpstream(thought, said) if thinks else CannedUpstream(said)
    fields: dict[str, Any] = {"reasoning": {"effort": "low"}} if thinks else {}
    body = {"model": "lightspeed", "input": "How do I keep the test database?", **fields}

    async def story() -> None:
        monkeypatch.setattr(guarded_of(responses_impl), "_inference", upstream)
        request = CreateResponseRequest.model_validate({**body, "stream": stream})
        answer = await responses_impl.create_openai_response(request)
        events = [event async for event in answer] if stream else []
        final = events[-1].response if stream else answer
        everything = json.dumps([e.model_dump(mode="json") for e in [*events, final]])
        for marker in ("<|", "|>", "【", "†"):
            assert marker not in everything
        if thinks:
            assert "The user tests." in everything
        assert final.output[-1].content[0].text == "Run the tests with --keepdb."

    in_server(client, story)
    assert turns[0].answer == "Run the tests with --keepdb."
    stored = client.get(f"/v1/responses/{turns[0].response_id}").text
    assert "<|" not in stored
    assert "【" not in stored
