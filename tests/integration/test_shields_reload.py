"""Shields change while they are asked: whole, at once, and only to what works."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from lightspeed_providers.run_configuration import configuration_path, read_run_configuration
from lightspeed_providers.safety import rebuilding
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.configured import shields_of
from lightspeed_providers.safety.rebuilding import rebuilt, retire, unused
from lightspeed_providers.safety.reloading import Reloader
from lightspeed_providers.safety.shields.base import Chat, Embed, Models, ShieldOptions

SECRET = "s3cret"
EVERY_S = 0.02


def words(*phrases: str, **options: Any) -> dict[str, Any]:
    return {"kind": "patterns", "phrases": phrases or ["forbidden"], **options}


def run_text(**shields: dict[str, Any]) -> str:
    provider = {"provider_id": "ours", "provider_type": "inline::lightspeed-shields"}
    config = {"composite_id": "lightspeed", "shields": shields}
    run = {"providers": {"safety": [{**provider, "config": config}]}}
    return str(yaml.safe_dump(run, sort_keys=False))


def models() -> Models:
    async def embed(texts: list[str]) -> NDArray[np.float32]:
        raise ConnectionError

    def no_chat(model: str) -> Chat:
        raise AssertionError(model)

    def embeds(model: str) -> Embed:
        return embed

    return Models(embeds, no_chat)


class Serving:
    """What the face does: it holds shields, and swaps them when told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = self.read()
        self.shields: dict[str, ConfiguredShield] = {}
        self.applied = 0
        self.reloader = Reloader(path, self.config, self.read, self.apply, every_s=EVERY_S)

    def read(self) -> LightspeedShieldsConfig:
        return shields_of(read_run_configuration(str(self.path)), "ours")

    async def apply(self, config: LightspeedShieldsConfig, changed: frozenset[str]) -> None:
        made = await rebuilt(config, changed, self.shields, models())
        self.applied += 1
        self.config, self.shields = config, {one.shield_id: one for one in made}

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not what():  # noqa: ASYNC110  as a watcher does
                await asyncio.sleep(0.005)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Path], Awaitable[Serving]]]:
    begun: list[Serving] = []

    async def start(path: Path) -> Serving:
        serving = Serving(path)
        await serving.apply(serving.config, frozenset(serving.config.shields))
        serving.applied = 0
        serving.reloader.start()
        begun.append(serving)
        return serving

    yield start
    for serving in begun:
        await serving.reloader.aclose()


type Serve = Callable[[Path], Awaitable[Serving]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(run_text(input_a=words(), input_b=words()))
    return path


def overwritten(file: Path, text: str) -> None:
    file.write_text(text)


def renamed(file: Path, text: str) -> None:
    """As editors save."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def removed(file: Path) -> None:
    file.unlink()


async def test_a_changed_file_changes_only_the_shield_that_changed(
    serve: Serve, file: Path
) -> None:
    serving = await serve(file)
    before = dict(serving.shields)
    overwritten(file, run_text(input_a=words(), input_b=words("other"), tool_c=words()))
    await serving.until(lambda: "tool_c" in serving.shields)
    assert list(serving.shields) == ["input_a", "input_b", "tool_c"]
    assert serving.shields["input_a"] is before["input_a"]
    assert serving.shields["input_b"] is not before["input_b"]
    assert unused(before.values(), serving.shields.values()) == [before["input_b"]]


async def test_removed_and_reordered_shields_are_noticed(serve: Serve, file: Path) -> None:
    serving = await serve(file)
    overwritten(file, run_text(input_b=words(), input_a=words()))
    await serving.until(lambda: list(serving.shields) == ["input_b", "input_a"])
    overwritten(file, run_text(input_b=words()))
    await serving.until(lambda: list(serving.shields) == ["input_b"])


@pytest.mark.parametrize("save", [overwritten, renamed])
async def test_however_an_editor_saves(
    serve: Serve, file: Path, save: Callable[[Path, str], None]
) -> None:
    serving = await serve(file)
    for phrase in ("one", "two"):
        save(file, run_text(input_a=words(phrase)))
        await serving.until(lambda: serving.config.shields["input_a"].phrases == (phrase,))  # type: ignore[attr-defined]  # noqa: B023


async def test_a_kubernetes_volume_that_is_swapped(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mounted(name: str, text: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.yaml").write_text(text)
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    mounted("..2024_01_01", run_text(input_a=words()))
    link = tmp_path / "run.yaml"
    link.symlink_to("..data/run.yaml")
    # Llama Stack remembers where the link led.
    resolved = {"LLAMA_STACK_CONFIG": str(link.resolve())}
    assert configuration_path(resolved, ["llama"]) == link
    serving = await serve(link)
    mounted("..2024_01_02", run_text(input_a=words("new")))
    (tmp_path / "..2024_01_01" / "run.yaml").unlink()
    await serving.until(lambda: serving.applied == 1)
    assert serving.config.shields["input_a"].phrases == ("new",)  # type: ignore[attr-defined]  # a kind's own


def test_the_file_that_the_operator_named_is_the_one_that_is_watched(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("")
    link = tmp_path / "run.yaml"
    link.symlink_to(real)
    environment = {"LLAMA_STACK_CONFIG": str(real)}
    assert configuration_path(environment, ["llama", "stack", "run", str(link)]) == link
    assert configuration_path(environment, ["uvicorn"]) == real
    assert configuration_path({}, ["llama", "stack", "run", str(link)]) is None


BROKEN = {
    "no YAML": "providers: [\n" + SECRET,
    "no longer there": "",
    "an unknown option": run_text(input_a=words(SECRET, no_such_option=SECRET)),
    "a wrong expression": run_text(input_a={"kind": "patterns", "expressions": [f"({SECRET}"]}),
    "an unknown kind": run_text(input_a={"kind": "magic"}),
    "an example that fails": run_text(input_a=words("x", must_block=[SECRET])),
    "no provider of ours": "providers: {safety: []}",
    "another composite id": run_text(input_a=words()).replace(
        "composite_id: lightspeed", "composite_id: other"
    ),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=list(BROKEN))
async def test_what_is_broken_keeps_the_old_shields_and_says_so_once(
    serve: Serve, file: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lightspeed_providers.safety")
    serving = await serve(file)
    before = dict(serving.shields)
    if text:
        overwritten(file, text)
    else:
        removed(file)
    await serving.until(lambda: serving.reloader.problem is not None)
    await asyncio.sleep(5 * EVERY_S)
    assert serving.shields == before
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(lines) == 1
    assert lines[0].startswith("Shields not reloaded, the old ones stay in use: ")
    assert "\n" not in lines[0]
    assert SECRET not in caplog.text
    overwritten(file, run_text(input_a=words("mended")))
    await serving.until(lambda: serving.reloader.problem is None)
    assert list(serving.shields) == ["input_a"]


async def test_a_half_written_file_is_left_alone(serve: Serve, file: Path) -> None:
    serving = await serve(file)
    serving.reloader._every_s = 0.5
    whole = run_text(input_a=words(refusal="No. " * 3000))
    with file.open("w") as growing:
        for start in range(0, len(whole), 400):
            growing.write(whole[start : start + 400])
            growing.flush()
            await asyncio.sleep(0.005)
            assert serving.reloader.problem is None
    await serving.until(lambda: serving.applied == 1)


async def test_sighup_reloads_at_once_and_goes_on_to_who_had_it(file: Path, serve: Serve) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, frame: heard.append(number))
    try:
        serving = await serve(file)
        serving.reloader._every_s = 60
        overwritten(file, run_text(input_a=words("hung up")))
        await asyncio.sleep(3 * EVERY_S)
        os.kill(os.getpid(), signal.SIGHUP)
        await serving.until(lambda: list(serving.shields) == ["input_a"])
        assert heard == [signal.SIGHUP]
        await serving.reloader.aclose()
        os.kill(os.getpid(), signal.SIGHUP)
        assert heard == [signal.SIGHUP] * 2
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_storm_of_signals_reloads_one_after_the_other(file: Path, serve: Serve) -> None:
    before = signal.getsignal(signal.SIGHUP)
    serving = await serve(file)
    running = most = 0
    apply = serving.reloader._apply

    async def counting(config: LightspeedShieldsConfig, changed: frozenset[str]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        await apply(config, changed)
        running -= 1

    serving.reloader._apply = counting
    for n in range(20):
        overwritten(file, run_text(input_a=words(f"phrase {n}")))
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.005)
    await serving.until(lambda: serving.config.shields["input_a"].phrases == ("phrase 19",))  # type: ignore[attr-defined]  # a kind's own
    assert most == 1
    await serving.reloader.aclose()
    assert signal.getsignal(signal.SIGHUP) == before


async def test_two_workers_that_reload_at_once_end_with_the_same_shields(
    file: Path, serve: Serve
) -> None:
    workers = [await serve(file) for _ in range(2)]
    for n in range(5):
        renamed(file, run_text(input_a=words(f"phrase {n}"), input_b=words()))
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.01)
    for worker in workers:
        await worker.until(
            lambda w=worker: w.config.shields["input_a"].phrases == ("phrase 4",)  # type: ignore[misc]
        )
    assert workers[0].config == workers[1].config
    for worker in workers:
        await worker.reloader.aclose()


async def test_texts_see_the_old_shields_or_the_new_ones_never_a_mixture(
    file: Path, serve: Serve
) -> None:
    serving = await serve(file)
    seen = set()
    overwritten(file, run_text(input_a=words("v2"), input_b=words("v2")))
    async with asyncio.timeout(10):
        while not serving.applied:
            options = [one.options for one in serving.shields.values()]
            seen.add(tuple(o.phrases for o in options))  # type: ignore[attr-defined]  # a kind's own
            await asyncio.sleep(0)
    assert seen <= {(("forbidden",),) * 2, (("v2",),) * 2}


async def test_a_model_that_is_gone_does_not_hold_up_a_reload(file: Path, serve: Serve) -> None:
    serving = await serve(file)
    questions = ["How do I paint a wall?"] * 3
    topic = {
        "kind": "question_validity",
        "embedding_model": "m",
        "topic": "Painting.",
        "on_topic": questions,
        "off_topic": ["Who won?"] * 3,
        "must_block": ["Who won?"],
    }
    overwritten(file, run_text(input_topic=topic))
    await serving.until(lambda: list(serving.shields) == ["input_topic"])


class FiledOptions(ShieldOptions):
    """Options that name a file, as those of a trained head do."""

    kind: Literal["filed"]
    file: str

    @property
    def files(self) -> tuple[Path, ...]:
        return (Path(self.file),)


async def test_a_file_that_a_shield_names_is_watched_too(file: Path, tmp_path: Path) -> None:
    head = tmp_path / "head.json"
    overwritten(head, "{}")
    shields = {
        "input_head": FiledOptions(kind="filed", file=str(head)),
        "input_same": FiledOptions(kind="filed", file=str(file)),
    }
    config = LightspeedShieldsConfig.model_construct(composite_id="lightspeed", shields=shields)
    changes: asyncio.Queue[frozenset[str]] = asyncio.Queue()

    async def apply(_: LightspeedShieldsConfig, changed: frozenset[str]) -> None:
        changes.put_nowait(changed)

    reloader = Reloader(file, config, lambda: config, apply, every_s=EVERY_S)
    reloader.start()
    for text in ("{ }", "{  }"):
        renamed(head, text)
        assert await asyncio.wait_for(changes.get(), 10) == {"input_head"}
    await reloader.aclose()


async def test_shields_out_of_use_are_closed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    config = LightspeedShieldsConfig.model_validate({"shields": {"input_a": words()}})
    [shield] = await rebuilt(config, frozenset(), {}, models())
    closed = asyncio.Event()

    async def aclose() -> None:
        closed.set()

    monkeypatch.setattr(shield.shield, "aclose", aclose)
    retire([shield], after_s=0.02)
    assert not closed.is_set()
    await asyncio.wait_for(closed.wait(), 5)
    await asyncio.sleep(0)
    assert rebuilding._closing == set()
