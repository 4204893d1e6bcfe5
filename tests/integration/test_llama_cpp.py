"""The embedded language model: asked, streamed, interrupted, overfed, killed and restarted."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import httpx
import pytest
from llama_stack_api import (
    HealthStatus,
    InferenceProvider,
    OpenAIChatCompletionRequestWithExtraBody,
)
from pydantic import ValidationError

from lightspeed_providers.core import model_packages
from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    ModelLoadingError,
    RequestTooLargeError,
    UnavailableError,
)
from lightspeed_providers.core.model_packages import DEFAULT_LANGUAGE_MODEL, language_model_path
from lightspeed_providers.llama_cpp import get_provider_impl, server
from lightspeed_providers.llama_cpp.config import LlamaCppConfig
from lightspeed_providers.llama_cpp.llama_cpp import LlamaCppImpl
from lightspeed_providers.llama_cpp.sampling import defaults_for

MODEL = "gemma-3-270m"
PASSAGES = """Documentation:

[1] How to use sessions › Using cookies-based sessions
To use cookies-based sessions, set the SESSION_ENGINE setting to \
"django.contrib.sessions.backends.signed_cookies".

Question: How can I store session data in cookies?"""

SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}},
            "required": ["query"],
        },
    },
}


class NoRegistry:
    """A model store without models: names are the provider's own."""

    async def has_model(self, identifier: str) -> bool:
        return False


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


async def provider(config: LlamaCppConfig) -> LlamaCppImpl:
    impl = await get_provider_impl(config, {})
    impl.__provider_id__ = "llama-cpp"
    impl.model_store = NoRegistry()
    return impl


@pytest.fixture(scope="module")
def running(state: Path) -> Any:
    """One loaded provider for the module; its server outlives each test's event loop."""
    os.environ["LIGHTSPEED_STATE_DIR"] = str(state)
    # As in Llama Stack: set up in an event loop that is thrown away.
    impl = asyncio.run(provider(LlamaCppConfig(n_ctx=1024)))
    yield impl
    asyncio.run(impl.shutdown())
    del os.environ["LIGHTSPEED_STATE_DIR"]


def request(
    text: str = PASSAGES, *, stream: bool = False, **fields: Any
) -> OpenAIChatCompletionRequestWithExtraBody:
    return OpenAIChatCompletionRequestWithExtraBody(
        model=MODEL, messages=[{"role": "user", "content": text}], stream=stream, **fields
    )


async def generating(impl: LlamaCppImpl) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        slots = await client.get(
            impl.get_base_url().removesuffix("/v1") + "/slots",
            headers={"Authorization": f"Bearer {impl.get_api_key()}"},
        )
    return sum(slot["is_processing"] for slot in slots.json())


async def is_idle(impl: LlamaCppImpl, within_s: float = 3.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if await generating(impl) == 0:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_answers_from_the_passages_and_leaves_the_request_alone(
    running: LlamaCppImpl,
) -> None:
    asked = request()
    before = asked.model_dump()
    answer = await running.openai_chat_completion(asked)
    assert "SESSION_ENGINE" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 50
    assert asked.model_dump() == before
    assert (await running.health())["status"] is HealthStatus.OK


async def test_a_stream_gives_the_same_answer_in_pieces(running: LlamaCppImpl) -> None:
    whole = await running.openai_chat_completion(request())
    chunks = [c async for c in await running.openai_chat_completion(request(stream=True))]
    pieces = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert len(pieces) > 5
    assert "".join(pieces) == whole.choices[0].message.content


async def test_optional_tools_are_left_out(running: LlamaCppImpl) -> None:
    answer = await running.openai_chat_completion(request(tools=[SEARCH], tool_choice="auto"))
    assert "SESSION_ENGINE" in answer.choices[0].message.content


async def test_a_forced_tool_is_called_and_its_result_answered_from(running: LlamaCppImpl) -> None:
    asked = request("How do I create a superuser?", tools=[SEARCH], tool_choice="required")
    called = (await running.openai_chat_completion(asked)).choices[0]
    assert called.finish_reason == "tool_calls"
    (call,) = called.message.tool_calls
    assert call.function.name == "search"
    assert "superuser" in json.loads(call.function.arguments)["query"]

    passage = "Create a superuser with the createsuperuser command of manage.py."
    found = [
        {"role": "assistant", "tool_calls": [call.model_dump(exclude={"index"})]},
        {"role": "tool", "tool_call_id": call.id, "content": passage},
    ]
    asked = OpenAIChatCompletionRequestWithExtraBody.model_validate(
        asked.model_dump() | {"messages": asked.messages + found, "tool_choice": "auto"}
    )
    answered = (await running.openai_chat_completion(asked)).choices[0]
    assert answered.finish_reason == "stop"
    assert "createsuperuser" in answered.message.content


async def test_the_tool_that_is_named_is_called(running: LlamaCppImpl) -> None:
    other = {"type": "function", "function": {**SEARCH["function"], "name": "look_up"}}
    named = {"type": "function", "function": {"name": "look_up"}}
    forced = request("How do I create a superuser?", tools=[SEARCH, other], tool_choice=named)
    called = (await running.openai_chat_completion(forced)).choices[0].message.tool_calls
    assert [call.function.name for call in called] == ["look_up"]
    with pytest.raises(InvalidRequestError, match="'look_up' in tool_choice is not among"):
        await running.openai_chat_completion(request(tools=[SEARCH], tool_choice=named))


async def test_closing_a_stream_stops_the_model(running: LlamaCppImpl) -> None:
    stream = await running.openai_chat_completion(endless(stream=True))
    assert isinstance(stream, AsyncIterator)
    await anext(stream)
    assert await generating(running) == 1
    await stream.aclose()
    assert await is_idle(running)


async def test_cancelling_a_request_stops_the_model(running: LlamaCppImpl) -> None:
    await running.openai_chat_completion(request(max_tokens=1))
    task = asyncio.create_task(running.openai_chat_completion(endless()))
    while await generating(running) == 0:
        assert not task.done()
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await is_idle(running)


@pytest.mark.parametrize("stream", [False, True])
async def test_too_long_a_request_names_tokens_and_limit(
    running: LlamaCppImpl, stream: bool
) -> None:
    with pytest.raises(
        RequestTooLargeError, match=r"has \d+ tokens and model 'gemma-3-270m' reads 1024"
    ):
        await running.openai_chat_completion(request("Why? " * 2000, stream=stream))


async def test_only_the_owner_of_the_key_is_answered(running: LlamaCppImpl) -> None:
    await running.openai_chat_completion(request(max_tokens=1))
    async with httpx.AsyncClient(trust_env=False) as client:
        refused = await client.get(running.get_base_url() + "/models")
    assert refused.status_code == 401


async def test_a_killed_server_is_one_clear_error_and_comes_back_once(
    running: LlamaCppImpl,
) -> None:
    stream = await running.openai_chat_completion(endless(stream=True))
    await anext(stream)
    kill(running)
    with pytest.raises(UnavailableError, match="stopped in the middle of an answer"):
        async for _ in stream:
            pass
    answer = await running.openai_chat_completion(request())
    assert "SESSION_ENGINE" in answer.choices[0].message.content
    kill(running)
    with pytest.raises(UnavailableError, match="stopped again"):
        await running.openai_chat_completion(request())


async def test_the_loop_goes_on_while_the_model_loads(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(state))
    impl = await provider(LlamaCppConfig(load_timeout_s=0.05))
    try:
        with pytest.raises(ModelLoadingError, match="still loading"):
            await impl.openai_chat_completion(request())
        longest, last = 0.0, time.monotonic()
        answer = asyncio.create_task(impl._server._loaded_within(60))
        while not answer.done():
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        url = await answer
        assert url.startswith("http://127.0.0.1:")
        assert longest < 0.5
        os.kill(impl._server.pid, signal.SIGSTOP)
        monkeypatch.setattr(server, "_PROBE_S", 0.2)
        # A process with many threads takes time to stop.
        while await server._answers(url):  # noqa: ASYNC110  # it sets no event
            await asyncio.sleep(0.01)
        with pytest.raises(UnavailableError, match="did not answer within"):
            await impl.openai_chat_completion(request())
    finally:
        await impl.shutdown()
    assert impl._server._child.poll() is not None


async def test_a_broken_model_file_is_told_to_every_request(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    impl = await provider(LlamaCppConfig(model=str(broken)))
    try:
        for _ in range(2):
            with pytest.raises(UnavailableError, match=r"broken.gguf' can't be loaded .+: check"):
                await impl.openai_chat_completion(request())
        assert (await impl.health())["status"] is HealthStatus.ERROR
    finally:
        await impl.shutdown()


async def test_a_missing_model_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none.gguf' does not exist"):
        await provider(LlamaCppConfig(model=str(tmp_path / "none.gguf")))
    with pytest.raises(ConfigurationError, match="Unknown language model 'gpt-9'"):
        await provider(LlamaCppConfig(model="gpt-9"))
    with pytest.raises(ValidationError, match="n_ctxx"):
        LlamaCppConfig(n_ctxx=1)


PARENT = """
import asyncio
from lightspeed_providers.llama_cpp.server import LlamaServer, ServerSettings
server = LlamaServer(
    ServerSettings("gemma-3-270m-q4_k_m", "gemma-3-270m", 512, 1, None, 0, 0, ""), 60
)
asyncio.run(server.url())
print(server.pid, flush=True)
input()
"""


def test_the_model_process_ends_with_a_killed_parent(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(state))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 5
    while Path(f"/proc/{child}/cmdline").exists() and time.monotonic() < until:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


class Recorder(BaseHTTPRequestHandler):
    """Keeps what was asked and answers one word, or nothing to `Silence`."""

    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if body["messages"][0]["content"] != "Silence":
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "delta": {"role": "assistant", "content": "ok"},
            }
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
            self.wfile.write(b"data: %s\n\n" % json.dumps({**chunk, "choices": [choice]}).encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: Any) -> None: ...


async def test_another_server_gets_the_defaults_that_the_request_lacks() -> None:
    other = HTTPServer(("127.0.0.1", 0), Recorder)
    Thread(target=other.serve_forever, daemon=True).start()
    impl = await provider(LlamaCppConfig(url=f"http://127.0.0.1:{other.server_port}/v1/"))
    answer = await impl.openai_chat_completion(request("Hello"))
    assert answer.choices[0].message.content == "ok"
    await impl.openai_chat_completion(
        request("Hello", temperature=0.7, stop=["!"], max_completion_tokens=5)
    )
    with pytest.raises(UnavailableError, match="said nothing"):
        await impl.openai_chat_completion(request("Silence"))
    other.shutdown()
    other.server_close()
    plain, own, _ = Recorder.asked
    assert plain["temperature"] == 0
    assert plain["max_tokens"] == 200
    assert plain["stop"]
    assert plain["dry_multiplier"] > 0
    assert own["temperature"] == 0.7
    assert own["stop"] == ["!"]
    assert own["max_completion_tokens"] == 5
    assert "max_tokens" not in own
    with pytest.raises(UnavailableError, match="not reachable"):
        await impl.openai_chat_completion(request("Hello"))
    await impl.shutdown()


async def test_lists_its_model_before_it_is_loaded() -> None:
    impl = await provider(LlamaCppConfig(url="http://127.0.0.1:9"))
    models = await impl.list_models()
    assert [m.identifier for m in models] == [MODEL]
    assert models[0].metadata["context_length"] == 4096
    assert not await impl.should_refresh_models()
    for name in vars(InferenceProvider):
        if not name.startswith("_") and callable(getattr(InferenceProvider, name)):
            assert callable(getattr(impl, name)), name


@pytest.mark.parametrize(
    ("asked", "is_base_model", "expected"),
    [
        ({}, False, {"max_tokens": 7}),
        ({"max_tokens": 3}, False, {}),
        ({"max_completion_tokens": 3}, False, {}),
        ({"response_format": {"type": "json_object"}}, True, None),
    ],
)
def test_defaults(
    asked: dict[str, Any], is_base_model: bool, expected: dict[str, Any] | None
) -> None:
    added = defaults_for(asked, max_tokens=7, is_base_model=is_base_model)
    if expected is None:
        assert "stop" not in added
    else:
        assert added == expected


def test_the_packaged_model_is_put_together_once(
    state: Path, running: LlamaCppImpl, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = language_model_path(DEFAULT_LANGUAGE_MODEL)
    assert first.parent == state / "models"
    assert [p.name for p in first.parent.iterdir() if p.name.startswith(".")] == []

    def must_not_join(*args: Any) -> str:
        raise AssertionError("put together again")

    monkeypatch.setattr(model_packages, "_join", must_not_join)
    assert language_model_path(DEFAULT_LANGUAGE_MODEL) == first


def test_a_state_directory_that_cannot_hold_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").write_text("a file where a directory is needed")
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match="can't be written to"):
        language_model_path(DEFAULT_LANGUAGE_MODEL)


def endless(*, stream: bool = False) -> OpenAIChatCompletionRequestWithExtraBody:
    return request("Tell a story", stream=stream, max_tokens=900, stop=["§"], ignore_eos=True)


def kill(impl: LlamaCppImpl) -> None:
    os.kill(impl._server.pid, signal.SIGKILL)
    impl._server._child.wait()
