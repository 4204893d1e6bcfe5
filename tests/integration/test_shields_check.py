"""Shields are tested with their own examples: by hand, at start, and for as long as it takes."""

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from conftest import has_trace
from numpy.typing import NDArray
from test_server import BIN, free_port
from typer.testing import CliRunner

from lightspeed_providers.cli import up
from lightspeed_providers.core import start_checks
from lightspeed_providers.core.errors import ConfigurationError, ModelLoadingError, UnavailableError
from lightspeed_providers.core.readiness import Readiness, State
from lightspeed_providers.core.start_checks import StartCheck, at_start, running, take_start_checks
from lightspeed_providers.core.verdicts import Action, Direction
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.cli import app
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.self_test import (
    Result,
    check_asking,
    check_local,
    complaint,
    needs_models,
    self_test,
)
from lightspeed_providers.safety.shields.base import Chat, Embed, Models

APIS = Path(__file__).parents[2] / "distributions/lightspeed/apis.d"
WORDS = {"kind": "patterns", "phrases": ["forbidden word"]}
SECRET = "the-operators-secret-example"


def no_chat(model: str) -> Chat:
    raise AssertionError(model)


def models(embed: Embed | None = None) -> Models:
    async def gone(texts: list[str]) -> NDArray[np.float32]:
        raise UnavailableError("Model 'm' is gone: start it.")

    return Models(lambda model: embed or gone, no_chat)


def configured(asked: Models | None = None, **shields: dict[str, Any]) -> list[ConfiguredShield]:
    config = LightspeedShieldsConfig.model_validate({"shields": shields})
    return [
        ConfiguredShield(name, options, options.build(asked or models()))
        for name, options in config.shields.items()
    ]


def topic(**options: Any) -> dict[str, Any]:
    questions = [f"How do I paint a {color} wall?" for color in ("red", "blue", "green")]
    others = [f"Who won the {sport} match?" for sport in ("tennis", "chess", "rugby")]
    return {
        "kind": "question_validity",
        "embedding_model": "lightspeed-embeddings/sentence-transformers/all-MiniLM-L6-v2",
        "topic": "Painting walls.",
        "on_topic": questions,
        "off_topic": others,
    } | options


async def test_each_example_has_its_outcome_in_each_direction() -> None:
    shields = configured(
        inout_words={
            **WORDS,
            "must_block": ["a forbidden word", "fine"],
            "must_allow": ["fine too", "the forbidden word"],
        },
        output_data={
            "kind": "redaction",
            "must_allow": ["mail a@b.example"],
            "must_replace": {"mail a@b.example": "mail <EMAIL_1>", "to c@d.example": "to nobody"},
        },
    )
    outcomes = await self_test(shields)
    words = [o for o in outcomes if o.shield_id == "inout_words"]
    assert [o.direction for o in words] == [Direction.INPUT] * 4 + [Direction.OUTPUT] * 4
    wrong = {(o.shield_id, o.example, o.came) for o in outcomes if o.result is Result.FAILED}
    assert wrong == {
        ("inout_words", "must_block 2", Action.ALLOW),
        ("inout_words", "must_allow 2", Action.BLOCK),
        ("output_data", "must_allow 1", Action.REPLACE),
        ("output_data", "must_replace 2", Action.REPLACE),
    }
    assert all(o.took_ms >= 0 and o.error is None for o in outcomes)


async def test_a_wrong_shield_is_told_in_a_line_without_its_examples() -> None:
    shields = configured(input_words={**WORDS, "must_block": [SECRET]})
    with pytest.raises(ConfigurationError) as fault:
        await check_local(shields)
    line = str(fault.value)
    assert line.startswith(
        "Shield 'input_words' fails its self-test: must_block 1 (input) got allow"
    )
    assert "\n" not in line
    assert SECRET not in line
    assert complaint(await self_test(configured(input_words=WORDS))) is None


@pytest.mark.parametrize("fault", [RuntimeError(SECRET), TimeoutError(SECRET)])
async def test_a_local_shield_that_raises_fails(fault: Exception) -> None:
    [shield] = configured(input_words={**WORDS, "must_allow": ["fine"]})

    async def raises(*_: object) -> None:
        raise fault

    shield.shield.check = raises  # type: ignore[method-assign, assignment]  # a broken shield
    [outcome] = await self_test([shield])
    assert (outcome.result, outcome.came) == (Result.FAILED, None)
    assert SECRET not in str(outcome)


async def test_what_can_not_be_asked_is_not_run_and_waited_for_once() -> None:
    calls = 0

    async def hangs(texts: list[str]) -> NDArray[np.float32]:
        nonlocal calls
        calls += 1
        await asyncio.Event().wait()
        raise AssertionError

    shields = configured(models(hangs), input_topic=topic(must_block=["a ship", "b ship", "c"]))
    began = time.monotonic()
    outcomes = await self_test(shields, patience_s=0.1)
    assert time.monotonic() - began < 1
    assert [o.result for o in outcomes] == [Result.NOT_RUN] * 3
    assert {o.error for o in outcomes} == {"no answer within 0.1 s"}


async def test_a_model_that_still_loads_is_waited_for() -> None:
    calls = 0

    async def loads(texts: list[str]) -> NDArray[np.float32]:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ModelLoadingError("Model 'm' is still loading: try again in a moment.")
        return np.eye(len(texts), 8, dtype=np.float32)

    shields = configured(models(loads), input_topic=topic())
    [outcome] = await self_test(shields)
    assert (outcome.result, outcome.error) == (Result.PASSED, None)


async def test_a_shield_without_examples_is_asked_whether_its_model_is_there() -> None:
    shields = configured(input_topic=topic(), input_words=WORDS)
    assert [needs_models(s.options) for s in shields] == [True, False]
    [outcome] = await self_test(shields)
    assert (outcome.example, outcome.expected, outcome.result) == ("probe", None, Result.NOT_RUN)


@pytest.mark.parametrize("on_error", ["block", "allow"])
async def test_a_model_that_is_gone_is_no_fault_of_the_configuration(on_error: str) -> None:
    shields = configured(input_topic=topic(must_block=["Who won?"], on_error=on_error))
    line = "input_topic can't be asked: Model 'm' is gone: start it."
    if on_error == "allow":
        assert await check_asking(shields) == line
        return
    with pytest.raises(UnavailableError, match=re.escape(line)):
        await check_asking(shields)


# What runs in the server's own loop.


@pytest.fixture
def board() -> Readiness:
    return Readiness()


def state(board: Readiness, name: str = "shields") -> tuple[State, str]:
    [component] = [c for c in board.components() if c.name == name]
    return component.state, component.message


async def until(board: Readiness, wanted: State) -> str:
    async with asyncio.timeout(5):
        while state(board)[0] is not wanted:  # noqa: ASYNC110  as threads report there
            await asyncio.sleep(0.01)
    return state(board)[1]


async def test_a_start_check_waits_until_all_else_has_loaded(board: Readiness) -> None:
    async def right() -> str:
        return "2 tested"

    board.report("embeddings", State.LOADING)
    check = StartCheck("shields", right, readiness=board)
    async with running([check]):
        assert state(board) == (State.LOADING, "not checked yet")
        await asyncio.sleep(0.3)
        assert state(board)[0] is State.LOADING
        board.report("embeddings", State.READY)
        assert await until(board, State.READY) == "2 tested"


async def test_what_can_not_be_checked_yet_is_tried_again_and_shown(board: Readiness) -> None:
    tries = 0

    async def later() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise UnavailableError("input_topic can't be asked")
        return "1 tested"

    check = StartCheck("shields", later, readiness=board)
    seen = set()
    watching = asyncio.create_task(check.watch(pause_s=0.02))
    while not watching.done():
        await asyncio.sleep(0.005)
        seen.add(state(board))
    assert (State.LOADING, "input_topic can't be asked; tried again in 0.02 s") in seen
    assert (State.LOADING, "input_topic can't be asked; tried again in 0.04 s") in seen
    assert (state(board), tries) == ((State.READY, "1 tested"), 3)


async def test_a_server_that_starts_again_checks_again(board: Readiness) -> None:
    calls = 0

    async def right() -> str:
        nonlocal calls
        calls += 1
        return f"{calls} tested"

    check = StartCheck("shields", right, readiness=board)
    for n in (1, 2):
        async with running([check]):
            assert check.is_served
            assert await until(board, State.READY) == f"{n} tested"
        assert not check.is_served


async def test_whoever_asks_without_a_server_shares_one_check(board: Readiness) -> None:
    calls = 0

    async def slow() -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.05)
        return ""

    check = StartCheck("shields", slow, readiness=board)
    await asyncio.gather(*(check.ensure() for _ in range(20)))
    await check.ensure()
    assert calls == 1


async def test_without_a_server_a_wrong_configuration_reaches_each_caller(
    board: Readiness,
) -> None:
    async def wrong() -> str:
        raise ConfigurationError("Shield 'input_topic' fails its self-test.")

    check = StartCheck("shields", wrong, readiness=board)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="self-test"):
            await check.ensure()
    assert state(board)[0] is State.FAILED


async def test_without_a_server_nobody_waits_twice_for_a_model_that_is_gone(
    board: Readiness,
) -> None:
    calls = 0

    async def gone() -> str:
        nonlocal calls
        calls += 1
        raise RuntimeError(SECRET)

    check = StartCheck("shields", gone, readiness=board)
    await check.ensure()
    await check.ensure()
    assert (calls, state(board)) == (1, (State.LOADING, "the check ended in RuntimeError"))


def test_each_server_takes_the_checks_of_its_own_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_checks, "_waiting", {})

    async def check() -> str:
        return ""

    first = at_start("a-room", check)
    assert take_start_checks() == [first]
    assert take_start_checks() == []


# The command.


def run_file(directory: Path, shields: dict[str, Any], *, name: str = "run.yaml") -> Path:
    """A server of shields and the embedding model alone."""
    config = {
        "version": 2,
        "distro_name": "shields-test",
        "apis": ["readiness", "safety", "inference"],
        "external_apis_dir": str(APIS),
        "providers": {
            "readiness": [
                {"provider_id": "readiness", "provider_type": "inline::lightspeed-readiness"}
            ],
            "inference": [
                {
                    "provider_id": "lightspeed-embeddings",
                    "provider_type": "inline::lightspeed-embeddings",
                    "config": {"model": "sentence-transformers/all-MiniLM-L6-v2"},
                    "module": "lightspeed_providers",
                }
            ],
            "safety": [
                {
                    "provider_id": "lightspeed",
                    "provider_type": "inline::lightspeed-shields",
                    "config": {"shields": shields},
                    "module": "lightspeed_providers",
                }
            ],
        },
        "registered_resources": {
            "shields": [{"shield_id": "lightspeed", "provider_id": "lightspeed"}]
        },
        "storage": {
            "backends": {
                "kv_default": {"type": "kv_sqlite", "db_path": str(directory / "kv.db")},
                "sql_default": {"type": "sql_sqlite", "db_path": str(directory / "sql.db")},
            }
        },
        "server": {"host": "127.0.0.1"},
    }
    path = directory / name
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path / "state"))


def test_the_command_prints_a_table_and_passes(tmp_path: Path) -> None:
    shields = {
        "input_words": {**WORDS, "must_block": ["a forbidden word"], "must_allow": ["fine"]},
        "inout_data": {"kind": "redaction", "must_replace": {"a@b.example": "<EMAIL_1>"}},
        "input_topic": topic(
            must_block=["Who won the football match?"], must_allow=["How do I paint a wall pink?"]
        ),
        "output_guard": {"kind": "llama_guard", "model": "vllm/guard"},
    }
    told = CliRunner().invoke(app, ["check", "--config", str(run_file(tmp_path, shields))])
    assert told.exit_code == 0, told.output
    rows = [
        [cell.strip() for cell in re.split(r"\s{2,}", r.strip())] for r in told.output.split("\n")
    ]
    counts = {row[0]: row[3:7] for row in rows if len(row) >= 7 and row[0] in shields}
    assert counts["input_words"] == ["2", "2", "0", "0"]
    assert counts["input_topic"] == ["2", "2", "0", "0"]
    assert counts["output_guard"][1:] == ["0", "0", "2"]
    assert "model 'vllm/guard' is only asked by a running server" in " ".join(told.output.split())


def test_the_command_fails_where_an_example_does(tmp_path: Path) -> None:
    shields = {"input_words": {**WORDS, "must_block": ["harmless words"]}}
    told = CliRunner().invoke(app, ["check", "--config", str(run_file(tmp_path, shields))])
    assert told.exit_code == 1
    assert "must_block 1" in told.output
    assert "harmless words" in told.output


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("providers: [", "can't be read: no YAML in line 1"),
        ("providers: {safety: []}", "has no provider of type 'inline::lightspeed-shields'"),
        ("x: ${env.LIGHTSPEED_NOT_SET}", "variable LIGHTSPEED_NOT_SET is not set"),
    ],
)
def test_a_configuration_that_can_not_be_read_is_one_line(
    tmp_path: Path, text: str, line: str
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    told = CliRunner().invoke(app, ["check", "--config", str(file)])
    assert isinstance(told.exception, ConfigurationError)
    assert line in str(told.exception)
    assert "\n" not in str(told.exception)


# A server of its own.


class Server:
    """`llama stack run` of a file, its output in one log."""

    def __init__(self, directory: Path, file: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / "server.log"
        dropped = {"LLAMA_STACK_CONFIG", "PYTEST_CURRENT_TEST"}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(BIN / "llama"), "stack", "run", str(file), "--port", str(self.port), *options],
                env={k: v for k, v in os.environ.items() if k not in dropped},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def end(self, timeout_s: float = 120) -> int:
        return self.process.wait(timeout_s)

    def readiness(self, *, ready: bool, timeout_s: float = 120) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log[-3000:]
            try:
                status = httpx.get(f"{self.url}/readiness", timeout=2).json()
            except httpx.HTTPError:
                status = {}
            if status.get("ready") is ready:
                return status
            time.sleep(0.1)
        raise AssertionError((status, self.log[-3000:]))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    started: list[Server] = []

    def start(shields: dict[str, Any]) -> Server:
        started.append(Server(tmp_path, run_file(tmp_path, shields)))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()


WRONG = "lightspeed: Shield 'input_wrong' fails its self-test: must_block 1 (input) got allow"


def test_a_wrong_shield_stops_the_start_with_one_line(serve: Any) -> None:
    server = serve({"input_wrong": {**WORDS, "must_block": [SECRET]}})
    assert server.end() == 1
    last = server.log.strip().splitlines()[-1]
    assert last.startswith(WRONG)
    assert SECRET not in last
    assert server.log.count("lightspeed: ") == 1
    assert not has_trace(server.log)


def test_a_wrong_shield_that_asks_a_model_stops_the_server_and_up_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = topic(must_block=["How do I paint a yellow wall?"])
    file = run_file(tmp_path, {"input_wrong": wrong})
    start = subprocess.Popen

    def start_ours(command: list[str], **options: Any) -> Any:
        return start([str(file) if word == "lightspeed" else word for word in command], **options)

    for name, value in {"HOME": str(tmp_path), "LIGHTSPEED_INDEX": "none"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LLAMA_STACK_CONFIG", raising=False)
    monkeypatch.setattr(up.subprocess, "Popen", start_ours)
    assert up.run(free_port(), verbose=False) == 1
    log = (tmp_path / "state" / "server.log").read_text()
    assert log.strip().splitlines()[-1].startswith(WRONG)
    assert log.count("lightspeed: ") == 1
    assert not has_trace(log)
    # Lines are as wide as the terminal.
    assert "".join(WRONG.split()) in "".join(capsys.readouterr().err.split())


def test_a_server_is_ready_when_its_shields_are_tested_and_takes_new_ones(
    serve: Any, tmp_path: Path
) -> None:
    shields = {"input_topic": topic(must_block=["Who won the football match?"])}
    server = serve(shields)
    status = server.readiness(ready=True)
    told = {c["name"]: (c["state"], c["message"]) for c in status["components"]}
    assert told["shields"] == ("ready", "1 tested")
    assert told["embeddings"][0] == "ready"

    run_file(tmp_path, shields | {"output_words": WORDS})
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    listed: set[str] = set()
    while "output_words" not in listed and time.monotonic() < deadline:
        time.sleep(0.1)
        data = httpx.get(f"{server.url}/v1/shields", timeout=5).json()["data"]
        listed = {shield["identifier"] for shield in data}
    assert listed == {"lightspeed", "input_topic", "output_words"}
    moderated = httpx.post(
        f"{server.url}/v1/moderations",
        json={"input": "the forbidden word", "model": "output_words"},
        timeout=30,
    ).json()
    assert moderated["results"][0]["flagged"] is True
    assert "Shields reloaded: output_words changed, none removed, 2 in all" in server.log

    server.process.send_signal(signal.SIGTERM)
    assert server.end(30) in (0, -signal.SIGTERM)
    assert not has_trace(server.log)


def test_a_server_lives_on_where_a_model_is_gone(serve: Any) -> None:
    server = serve({"input_topic": topic(embedding_model="elsewhere/model", timeout_s=2)})
    status = server.readiness(ready=False)
    while "tried again" not in status["reason"]:
        status = server.readiness(ready=False)
    assert "shields: loading (input_topic can't be asked: " in status["reason"]
    moderated = httpx.post(
        f"{server.url}/v1/moderations",
        json={"input": "How do I paint?", "model": "input_topic"},
        timeout=30,
    ).json()
    assert moderated["results"][0]["flagged"] is True
    assert server.process.poll() is None
