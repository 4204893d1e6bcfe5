"""Turns and feedback come out as files: whole ones only, each once, and gone when deleted."""

import asyncio
import csv
import importlib
import itertools
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from pyarrow import parquet
from sqlalchemy.ext.asyncio import create_async_engine
from typer.testing import CliRunner

from lightspeed_providers.core.errors import ConfigurationError, LightspeedError
from lightspeed_providers.core.turns import Outcome, Turn
from lightspeed_providers.transcripts.cli import app
from lightspeed_providers.transcripts.export import durable
from lightspeed_providers.transcripts.export.durable import ExportFailedError
from lightspeed_providers.transcripts.export.exporter import Exporter
from lightspeed_providers.transcripts.export.names import directory_name, file_stem
from lightspeed_providers.transcripts.export.run import Exported
from lightspeed_providers.transcripts.export.spreadsheet import harmless
from lightspeed_providers.transcripts.export.state import ExportBusyError, Format, Lock
from lightspeed_providers.transcripts.models import Feedback
from lightspeed_providers.transcripts.recording import turn_row
from lightspeed_providers.transcripts.rows import Change, FeedbackRow, Kind, microseconds
from lightspeed_providers.transcripts.spill import Spill
from lightspeed_providers.transcripts.storable import storable_json
from lightspeed_providers.transcripts.store import TranscriptStore

REPOSITORY = Path(__file__).parents[2]
START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CONVERSATION = "conv_" + "a" * 48
ALICE, BOB = "a1" * 32, "b2" * 32
FORMATS = [each.value for each in Format]
PARTS = [each.value for each in Format if each is not Format.TREE]


def turn(number: int, **fields: Any) -> Turn:
    return Turn.model_validate(
        {
            "turn_id": f"turn_{number:032x}",
            "response_id": f"resp_{number}",
            "conversation_id": CONVERSATION,
            "user_id": "anonymous",
            "profile": "demo",
            "prompt_version": "0123456789ab",
            "prompt_hash": "0123456789ab" + "0" * 52,
            "model_requested": "lightspeed",
            "model": "tiny",
            "question": f"Question {number}?",
            "answer": f"Answer {number}.",
            "received_at": START + timedelta(seconds=number),
            "finished_at": START + timedelta(seconds=number + 1),
            "outcome": Outcome.ANSWERED,
            **fields,
        }
    )


def feedback(number: int, **fields: Any) -> Feedback:
    return Feedback.model_validate(
        {
            "feedback_id": f"fb_{number:032x}",
            "created_at": START + timedelta(seconds=number),
            "user_id": ALICE,
            "conversation_id": CONVERSATION,
            "user_question": f"Question {number}?",
            "llm_response": f"Answer {number}.",
            "sentiment": -1,
            **fields,
        }
    )


class Shop:
    """A real store on SQLite, with short words for what tests do to it."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.store = TranscriptStore(
            lambda: create_async_engine(f"sqlite+aiosqlite:///{database}"),
            "turns",
            sync_commits=False,
        )

    async def add(self, *turns: Turn, user: str = ALICE) -> None:
        await self.store.insert_turns([turn_row(each, user) for each in turns])

    async def say(self, *said: Feedback) -> None:
        for each in said:
            await self.store.insert_feedback(
                FeedbackRow(
                    feedback_id=each.feedback_id,
                    created_us=microseconds(each.created_at),
                    user_hash=each.user_id,
                    conversation_id=each.conversation_id,
                    turn_id=each.turn_id,
                    profile=each.profile,
                    prompt_version=each.prompt_version,
                    sentiment=each.sentiment,
                    categories=tuple(each.categories or ()),
                    record=storable_json(each),
                )
            )

    async def remove(self, *numbers: int) -> None:
        await self.store.remove([turn(number).turn_id for number in numbers], audit=None)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    opened = Shop(tmp_path / "turns.db")
    yield opened
    await opened.store.close()


def files(directory: Path) -> dict[str, Any]:
    """What a reader of the tree sees, by path."""
    return {
        str(path.relative_to(directory)): json.loads(path.read_text())
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def rows(directory: Path, stem: str = "turns") -> list[dict[str, Any]]:
    """What a reader of the parts sees, in the order of the parts."""
    paths = sorted(directory.glob(f"{stem}-*"), key=lambda path: int(path.name.split("-")[1]))
    found: list[dict[str, Any]] = []
    for path in paths:
        match path.suffix:
            case ".jsonl":
                found += [json.loads(line) for line in path.read_bytes().splitlines()]
            case ".parquet":
                found += parquet.read_table(path).to_pylist()
            case ".csv":
                with path.open(encoding="utf-8-sig", newline="") as file:
                    found += csv.DictReader(file)
    return found


def ids(directory: Path) -> list[str]:
    """The ids of all records in a directory of any format."""
    if _parts(directory):
        records = [*rows(directory), *rows(directory, "feedback")]
    else:
        records = [file["lightspeed"] for file in files(directory).values()]
    return sorted(each["turn_id" if "outcome" in each else "feedback_id"] for each in records)


def _parts(directory: Path) -> list[Path]:
    return [*directory.glob("turns-*"), *directory.glob("feedback-*")]


def turn_path(number: int, user: str = ALICE, conversation: str = CONVERSATION) -> str:
    return f"{user}/{conversation}/{UUID(int=number)}.json"


async def test_a_turn_is_the_file_that_lightspeed_exporters_read(
    shop: Shop, tmp_path: Path
) -> None:
    passage = {
        "passage_id": "p1",
        "document_id": "d1",
        "title": "Users",
        "heading_path": ["Users", "Superusers"],
        "doc_url": "https://docs.example.com/users/#super",
        "content": "Run createsuperuser.",
        "score": 0.75,
        "source": "demo",
        "version": "5.2",
        "attributes": {"audience": "admin", "title": "not this"},
    }
    attachment = {"attachment_type": "log", "content_type": "text/plain", "content": "[EMAIL]"}
    call = {"id": "c1", "name": "file_search", "args": {"queries": ["super"]}, "type": "f_call"}
    result = {"id": "c1", "status": "completed", "content": "[]", "type": "f_call", "round": 1}
    verdict = {"shield": "input_pii", "kind": "patterns", "direction": "input"}
    await shop.add(
        turn(
            1,
            provider="openai",
            model="openai/gpt-5",
            provider_requested="openai",
            model_requested="openai/gpt-5",
            passages=[passage],
            attachments=[attachment],
            tool_calls=[call],
            tool_results=[result],
            verdicts=[{**verdict, "action": "replace", "replaced": {"EMAIL": 1}}],
            outcome=Outcome.TRUNCATED,
            input_tokens=7,
            output_tokens=9,
        )
    )
    await Exporter(shop.store, tmp_path / "out").run_once()

    [(path, file)] = files(tmp_path / "out").items()
    assert path == turn_path(1)
    ours = file.pop("lightspeed")
    assert file == {
        "metadata": {
            "provider": "openai",
            "model": "gpt-5",
            "query_provider": "openai",
            "query_model": "gpt-5",
            "user_id": ALICE,
            "conversation_id": CONVERSATION,
            "timestamp": "2026-01-02T03:04:06.678901+00:00",
        },
        "redacted_query": "Question 1?",
        "query_is_valid": True,
        "llm_response": "Answer 1.",
        "rag_chunks": [
            {
                "content": "Run createsuperuser.",
                "source": "demo",
                "score": 0.75,
                "attributes": {
                    "audience": "admin",
                    "doc_url": "https://docs.example.com/users/#super",
                    "title": "Users",
                    "document_id": "d1",
                    "passage_id": "p1",
                    "version": "5.2",
                    "headings": "Users > Superusers",
                },
            }
        ],
        "truncated": True,
        "attachments": [attachment],
        "tool_calls": [call],
        "tool_results": [result],
    }
    assert ours["turn_id"] == turn(1).turn_id
    assert ours["outcome"] == "truncated"
    assert (ours["input_tokens"], ours["output_tokens"]) == (7, 9)
    [kept] = ours["verdicts"]
    assert kept["replaced"] == {"EMAIL": 1}


async def test_a_refused_question_is_no_valid_query(shop: Shop, tmp_path: Path) -> None:
    blocked = {"kind": "topic", "action": "block", "message": "No."}
    await shop.add(
        turn(1, outcome="refused", verdicts=[{**blocked, "shield": "i", "direction": "input"}]),
        turn(2, outcome="refused", verdicts=[{**blocked, "shield": "o", "direction": "output"}]),
        turn(3, outcome="error", model=None, conversation_id=None, answer=""),
    )
    await Exporter(shop.store, tmp_path / "out").run_once()

    seen = files(tmp_path / "out")
    assert [seen[turn_path(n)]["query_is_valid"] for n in (1, 2)] == [False, True]
    failed = seen[turn_path(3, conversation="no_conversation")]
    assert failed["metadata"]["conversation_id"] is None
    assert failed["query_is_valid"]
    assert not failed["truncated"]


async def test_feedback_is_one_flat_file(shop: Shop, tmp_path: Path) -> None:
    await shop.say(feedback(5, user_feedback="Wrong.", categories=["incorrect"], turn_id="turn_x"))
    await Exporter(shop.store, tmp_path / "out").run_once()

    assert files(tmp_path / "out") == {
        f"{UUID(int=5)}.json": {
            "user_id": ALICE,
            "timestamp": "2026-01-02T03:04:10.678901+00:00",
            "conversation_id": CONVERSATION,
            "user_question": "Question 5?",
            "llm_response": "Answer 5.",
            "sentiment": -1,
            "user_feedback": "Wrong.",
            "categories": ["incorrect"],
            "lightspeed": {
                "feedback_id": feedback(5).feedback_id,
                "turn_id": "turn_x",
                "profile": None,
                "prompt_version": None,
            },
        }
    }


@pytest.mark.parametrize("format", FORMATS)
async def test_a_second_run_adds_what_is_new_and_takes_out_what_was_removed(
    shop: Shop, tmp_path: Path, format: str
) -> None:
    out = tmp_path / "out"
    other = turn(9, conversation_id="conv_" + "b" * 48)
    await shop.add(*map(turn, range(1, 5)), other)
    await shop.say(feedback(1))
    first = await Exporter(shop.store, out, Format(format)).run_once()
    assert (first.turns, first.feedback, first.removed) == (5, 1, 0)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}

    assert (await Exporter(shop.store, out, Format(format)).run_once()).turns == 0
    await shop.add(turn(5))
    await shop.remove(2, 9)
    second = await Exporter(shop.store, out, Format(format)).run_once()

    assert (second.turns, second.feedback, second.removed) == (1, 0, 2)
    assert ids(out) == [feedback(1).feedback_id, *(turn(n).turn_id for n in (1, 3, 4, 5))]
    kept = out / turn_path(1) if format == "tree" else next(out.glob("feedback-*"))
    assert kept.stat().st_mtime_ns == before[kept], "what has not changed is not written again"
    assert not (out / ALICE / ("conv_" + "b" * 48)).exists(), "empty directories go too"
    assert not list(out.rglob("*.part"))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


@pytest.mark.parametrize("format", PARTS)
async def test_a_directory_from_which_all_is_removed_is_empty(
    shop: Shop, tmp_path: Path, format: str
) -> None:
    await shop.add(*map(turn, range(1, 6)))
    await Exporter(shop.store, tmp_path / "out", Format(format), max_rows=2).run_once()
    assert len(_parts(tmp_path / "out")) == 3
    await shop.remove(*range(1, 6))
    done = await Exporter(shop.store, tmp_path / "out", Format(format), max_rows=2).run_once()
    assert done.removed == 5
    assert not _parts(tmp_path / "out")


class Changes:
    """Changes as a store tells them."""

    def __init__(self, told: Sequence[Change]) -> None:
        gone = {change.id for change in told if change.record is None}
        self.told = [each for each in told if each.record is None or each.id not in gone]
        self.asked = 0

    async def changes(self, after_seq: int, *, limit: int) -> list[Change]:
        self.asked += 1
        return [change for change in self.told if change.seq > after_seq][:limit]

    async def newest_seq(self) -> int:
        return max((change.seq for change in self.told), default=0)


def added(seq: int, number: int, kind: Kind = Kind.TURN, **fields: Any) -> Change:
    if kind is Kind.FEEDBACK:
        said = feedback(number, **fields)
        return Change(seq, kind, said.feedback_id, ALICE, CONVERSATION, storable_json(said))
    row = turn_row(turn(number, **fields), ALICE)
    return Change(seq, kind, row.turn_id, ALICE, row.conversation_id, row.record)


def removed(seq: int, number: int, kind: Kind = Kind.TURN) -> Change:
    id_ = turn(number).turn_id if kind is Kind.TURN else feedback(number).feedback_id
    return Change(seq, kind, id_, ALICE, CONVERSATION, None)


EARLIER = [
    *(added(seq, seq) for seq in range(1, 8)),
    added(8, 1, Kind.FEEDBACK),
    added(9, 2, Kind.FEEDBACK),
]
NOW = [
    added(10, 8),
    removed(11, 2),
    added(12, 9),
    removed(13, 1, Kind.FEEDBACK),
    added(14, 3, Kind.FEEDBACK),
    removed(15, 5),
    added(16, 10),
    removed(18, 11),
    added(19, 12),
    added(20, 13),
]
LATER = [removed(21, 9), added(22, 14), removed(23, 2, Kind.FEEDBACK), removed(24, 13)]
LEFT = sorted([turn(n).turn_id for n in (1, 3, 4, 6, 7, 8, 10, 12, 14)] + [feedback(3).feedback_id])


def die_at(step: int, directory: Path) -> None:
    """Kill this process before its n-th change in the directory."""
    left = step

    def count(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        changes = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
        writes = event == "open" and args[2] & os.O_CREAT
        if (event in changes or writes) and str(args[0]).startswith(str(directory)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def forked(work: Callable[[], Any]) -> bool:
    """Whether the work came to its end in a process of its own."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def kill_at_every_step(root: Path, stride: int, format: str) -> None:
    """Kill an export before its steps, each time in another directory, then go on."""

    def export(directory: Path, *told: Change, die: int | None = None) -> bool:
        def work() -> None:
            if die is not None:
                die_at(die, directory)
            exporter = Exporter(Changes(told), directory, Format(format), max_rows=3)
            asyncio.run(exporter.run_once())

        return forked(work)

    # What a killed process wrote is there without waiting for the disk.
    durable.os.fsync = lambda _: None  # type: ignore[attr-defined]
    durable._SYNCFS = lambda _: 0
    for slow in ("lightspeed_providers.transcripts.export.parquet", "pandas"):
        importlib.import_module(slow)  # once, instead of in every child
    assert export(root / "0", *EARLIER)
    ended = False
    for step in itertools.count(1, stride):
        if ended:
            return
        directory = root / str(step)
        shutil.copytree(root / "0", directory)
        ended = export(directory, *EARLIER, *NOW, die=step)
        assert export(directory, *EARLIER, *NOW, *LATER)


# All parts are handled alike, so one format is enough for every step.
STRIDES = {"tree": 1, "jsonl": 1, "parquet": 6, "csv": 6}


def kill_all_formats(root: Path) -> None:
    for format, stride in STRIDES.items():
        (root / format).mkdir()
        kill_at_every_step(root / format, stride, format)


@pytest.fixture(scope="module")
def killed_exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("killed")
    # A process of its own, without threads, so that it may be forked.
    work = (
        "from pathlib import Path; import test_transcript_export as test; "
        f"test.kill_all_formats(Path({str(root)!r}))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    ran = subprocess.run(
        [sys.executable, "-c", work], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return root


@pytest.mark.parametrize("format", FORMATS)
def test_killed_at_any_step_nothing_is_missing_and_nothing_is_there_twice(
    killed_exports: Path, format: str
) -> None:
    killed = [each for each in (killed_exports / format).iterdir() if each.name != "0"]
    assert len(killed) * STRIDES[format] > 20
    for directory in killed:
        assert ids(directory) == LEFT, directory.name
        assert not list(directory.rglob("*.part")), directory.name
        for row in rows(directory):
            assert row["question"] == f"Question {int(row['turn_id'][5:], 16)}?"


async def test_a_reader_that_takes_files_away_meanwhile_gets_every_one_whole(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    told = [added(seq, seq, conversation_id=f"conv_{seq % 7}") for seq in range(1, 801)]
    seen: list[str] = []
    broken: list[str] = []
    done = threading.Event()

    def take_away() -> None:
        while True:
            last = done.is_set()
            for path in list(out.glob("*/*/*")):
                if path.name.startswith("."):
                    continue
                try:
                    seen.append(json.loads(path.read_text())["lightspeed"]["turn_id"])
                except ValueError:
                    broken.append(path.name)
                path.unlink()
            for path in (*out.glob("*/*"), *out.glob("*")):
                try:
                    path.rmdir()
                except OSError:
                    continue
            if last:
                return

    reader = threading.Thread(target=take_away)
    reader.start()
    try:
        await Exporter(Changes(told), out, max_rows=20).run_once()
    finally:
        done.set()
        reader.join()
    assert not broken
    assert sorted(seen) == sorted(change.id for change in told)


HOSTILE = [
    "../../etc/passwd",
    "..",
    ".",
    "",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "~root",
    "-rf",
    ".hidden",
    "CON",
    "conv_A",
    "conv_a",
    "no_conversation",
    "%61",
    "a" * 300,
    "a" * 301,
    "日本語" * 100,
    "é",
    "e\u0301",
    "a b\n",
    "x\x01\x7f",
    "%sha256-" + "0" * 64,
]


def outside(directory: Path, root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if directory not in path.parents}


async def test_no_conversation_id_leaves_the_directory_or_meets_another(
    shop: Shop, tmp_path: Path
) -> None:
    out = tmp_path / "deep/down/out"
    for number, conversation in enumerate([*HOSTILE, None]):
        await shop.add(turn(number, conversation_id=conversation))
    before = outside(out, tmp_path)
    await Exporter(shop.store, out).run_once()

    seen = files(out)
    assert [name.count("/") for name in seen] == [2] * (len(HOSTILE) + 1)
    assert len({name.split("/")[1].casefold() for name in seen}) == len(HOSTILE) + 1
    kept = {file["metadata"]["conversation_id"] for file in seen.values()}
    assert kept == {*HOSTILE, None}
    assert outside(out, tmp_path) == before | {out, out.parent, out.parent.parent}
    await shop.remove(*range(len(HOSTILE) + 1))
    await Exporter(shop.store, out).run_once()
    assert [path.name for path in out.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("conversation", "name"),
    [
        ("conv_0a1b", "conv_0a1b"),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        (None, "no_conversation"),
        ("..", "%2E%2E"),
        ("Ab", "%41b"),
        ("\x00", "%00"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_directory_names(conversation: str | None, name: str) -> None:
    assert directory_name(conversation) == name


def test_other_ids_make_file_names_too() -> None:
    names = {file_stem(each) for each in ("turn_known", "turn_../x", "", "turn_" + "A" * 32)}
    assert len(names) == 4
    assert all(str(UUID(name)) == name for name in names)


FORMULAS = ['=HYPERLINK("http://x")', "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_that_would_run_gets_an_apostrophe(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert harmless(f"a{text}") == f"a{text}"


@pytest.mark.parametrize("format", PARTS)
async def test_only_spreadsheets_change_texts(shop: Shop, tmp_path: Path, format: str) -> None:
    texts = [*FORMULAS, 'a "b", c\r\nd\u2028e', "x" * 200_000, "plain"]
    await shop.add(*(turn(n, question=text, answer=text) for n, text in enumerate(texts)))
    await shop.say(feedback(1, user_feedback="=1+1"))
    out = tmp_path / "out"
    await Exporter(shop.store, out, Format(format)).run_once()
    await shop.remove(0)
    await Exporter(shop.store, out, Format(format)).run_once()  # writes the part again

    seen = [(row["question"], row["answer"]) for row in rows(out)]
    safe = [harmless(text) if format == "csv" else text for text in texts[1:]]
    assert seen == [(text, text) for text in safe]
    [said] = rows(out, "feedback")
    assert said["user_feedback"] == ("'=1+1" if format == "csv" else "=1+1")
    assert int(said["sentiment"]) == -1


async def test_parquet_is_typed_for_evaluation(shop: Shop, tmp_path: Path) -> None:
    passage = {"passage_id": "p", "document_id": "d", "title": "T", "doc_url": "u", "content": "c"}
    await shop.add(
        turn(
            1,
            passages=[passage | {"score": 0.5, "attributes": {"k": "v"}}],
            verdicts=[
                {"shield": "s", "kind": "k", "direction": "input", "action": "replace"}
                | {"replaced": {"EMAIL": 2}}
            ],
            tool_calls=[{"id": "c", "name": "n", "args": {"q": ["é"]}, "type": "t"}],
        )
    )
    await shop.say(feedback(1, categories=["unsafe", "other"]))
    await Exporter(shop.store, tmp_path / "out", Format.PARQUET).run_once()

    [row] = rows(tmp_path / "out")
    assert row["received_at"] == START + timedelta(seconds=1)
    assert row["first_token_at"] is None
    assert row["passages"][0]["score"] == 0.5
    assert dict(row["passages"][0]["attributes"]) == {"k": "v"}
    assert row["verdicts"][0]["action"] == "replace"
    assert dict(row["verdicts"][0]["replaced"]) == {"EMAIL": 2}
    assert json.loads(row["tool_calls"][0]["args"]) == {"q": ["é"]}
    [said] = rows(tmp_path / "out", "feedback")
    assert said["categories"] == ["unsafe", "other"]


async def test_jsonl_is_the_record_itself(shop: Shop, tmp_path: Path) -> None:
    await shop.add(turn(1, question="é\u2028"))
    await Exporter(shop.store, tmp_path / "out", Format.JSONL).run_once()
    record = await shop.store.record_of(turn(1).turn_id, None)
    assert (tmp_path / "out/turns-1-1.jsonl").read_text() == f"{record}\n"


async def test_parts_are_bounded_and_named_by_what_they_cover(tmp_path: Path) -> None:
    told = [added(seq, seq) for seq in range(1, 8)]
    size = len(told[0].record or "")
    exporter = Exporter(Changes(told), tmp_path / "rows", Format.JSONL, max_rows=3)
    await exporter.run_once()
    await Exporter(Changes(told), tmp_path / "b", Format.JSONL, max_bytes=4 * size).run_once()
    assert sorted(path.name for path in _parts(tmp_path / "rows")) == [
        "turns-1-3.jsonl",
        "turns-4-6.jsonl",
        "turns-7-7.jsonl",
    ]
    assert len(_parts(tmp_path / "b")) == 2


async def test_only_what_is_asked_for_is_written(shop: Shop, tmp_path: Path) -> None:
    await shop.add(*map(turn, range(1, 6)))
    await shop.say(*map(feedback, range(1, 6)))
    out = tmp_path / "out"
    bounds: dict[str, Any] = {
        "since": START + timedelta(seconds=2),
        "until": START + timedelta(seconds=4),
    }
    done = await Exporter(shop.store, out, Format.JSONL, [Kind.TURN], **bounds).run_once()
    assert (done.turns, done.feedback) == (2, 0)
    done = await Exporter(shop.store, out, Format.JSONL, [Kind.FEEDBACK], **bounds).run_once()
    assert (done.turns, done.feedback) == (0, 2)
    assert ids(out) == sorted(
        [feedback(n).feedback_id for n in (2, 3)] + [turn(n).turn_id for n in (2, 3)]
    )


async def test_two_exporters_of_one_directory_keep_each_its_own_mark(
    shop: Shop, tmp_path: Path
) -> None:
    turns = Exporter(shop.store, tmp_path / "out", kinds=[Kind.TURN])
    said = Exporter(shop.store, tmp_path / "out", kinds=[Kind.FEEDBACK])
    for number in range(1, 4):
        await shop.say(feedback(number))
        await shop.add(turn(number))
        await turns.run_once()
        await said.run_once()
    assert len(files(tmp_path / "out")) == 6


async def test_without_news_nothing_is_read_or_written(tmp_path: Path) -> None:
    changes = Changes(EARLIER)
    exporter = Exporter(changes, tmp_path / "out")
    await exporter.run_once()
    asked = changes.asked
    shutil.rmtree(tmp_path / "out")
    assert await exporter.run_once() == Exported(seq=9)
    assert changes.asked == asked
    assert not (tmp_path / "out").exists()


async def test_a_limit_leaves_the_rest_for_the_next_run(tmp_path: Path) -> None:
    exporter = Exporter(Changes(EARLIER), tmp_path / "out")
    assert [(await exporter.run_once(limit=4)).seq for _ in range(4)] == [4, 8, 9, 9]
    assert len(ids(tmp_path / "out")) == 9


async def test_numbers_that_nothing_has_are_passed_over(tmp_path: Path) -> None:
    class Gap(Changes):
        async def newest_seq(self) -> int:
            return 50  # rows that were there already take numbers too

    exporter = Exporter(Gap(EARLIER), tmp_path / "out")
    assert (await exporter.run_once()).seq == 50
    assert (await Exporter(Gap(EARLIER), tmp_path / "out").run_once()).seq == 50


async def test_a_cancelled_run_lets_go_of_the_directory(tmp_path: Path) -> None:
    class Slow(Changes):
        async def changes(self, after_seq: int, *, limit: int) -> list[Change]:
            await asyncio.sleep(0.01)  # it takes two seconds in all
            return await super().changes(after_seq, limit=1)

    told = [added(seq, seq) for seq in range(1, 200)]
    running = asyncio.create_task(Exporter(Slow(told), tmp_path / "out", Format.CSV).run_once())
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    done = await Exporter(Changes(told), tmp_path / "out", Format.CSV).run_once()
    assert done.seq == 199
    assert ids(tmp_path / "out") == sorted(change.id for change in told)
    assert not list((tmp_path / "out").glob("*.part"))


async def test_one_at_a_time(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    lock.acquire(0)
    with pytest.raises(ExportBusyError, match=r"Another export into '.*' is running"):
        await Exporter(Changes(EARLIER), tmp_path).run_once()
    threading.Timer(0.2, lock.release).start()
    assert (await Exporter(Changes(EARLIER), tmp_path).run_once(wait_s=5)).turns == 7


async def test_a_record_that_cannot_be_written_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = Change(8, Kind.TURN, "turn_wrong", ALICE, None, '{"question": "secret"}')
    for format in (Format.TREE, Format.PARQUET, Format.CSV):
        told = Changes([wrong, added(9, 1)])
        done = await Exporter(told, tmp_path / format, format).run_once()
        assert (done.turns, done.unreadable) == (1, 1)
        assert ids(tmp_path / format) == [turn(1).turn_id]
        await Exporter(Changes([wrong]), tmp_path / "none" / format, format).run_once()
        assert sorted(each.name for each in (tmp_path / "none" / format).iterdir()) == [
            ".lightspeed-export.json",
            ".lightspeed-export.lock",
        ]
    assert "turn_wrong" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ({"format": Format.JSONL}, "holds an export with format jsonl, not format tree"),
        ({"since": START}, "format tree, since 2026-01-02T03:04:05"),
    ],
)
async def test_a_directory_keeps_what_it_was_begun_with(
    tmp_path: Path, prepare: dict[str, Any], message: str
) -> None:
    await Exporter(Changes(EARLIER), tmp_path, **prepare).run_once()
    with pytest.raises(ConfigurationError, match=message):
        await Exporter(Changes(EARLIER), tmp_path).run_once()


@pytest.mark.parametrize("state", ["", "{", "[]", '{"version": 2}', "\0"])
async def test_a_broken_state_stops_the_export(tmp_path: Path, state: str) -> None:
    (tmp_path / ".lightspeed-export.json").write_text(state)
    with pytest.raises(ConfigurationError, match="not a state that this version writes"):
        await Exporter(Changes(EARLIER), tmp_path).run_once()


async def test_a_directory_of_another_store_is_left_alone(tmp_path: Path) -> None:
    await Exporter(Changes(EARLIER), tmp_path).run_once()
    with pytest.raises(ConfigurationError, match="it is from another store"):
        await Exporter(Changes(EARLIER[:2]), tmp_path).run_once()
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/turns-1-5.csv").touch()
    with pytest.raises(ConfigurationError, match="has parts of an export but no"):
        await Exporter(Changes(EARLIER), tmp_path / "parts", Format.CSV).run_once()


async def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportFailedError, match="make it writable") as told:
        await Exporter(Changes(EARLIER), tmp_path / "file/out").run_once()
    assert "\n" not in str(told.value)


def write_config(directory: Path) -> Path:
    """A run configuration whose transcripts lie in the directory's turns.db."""
    provider = {
        "provider_id": "transcripts",
        "provider_type": "inline::lightspeed-transcripts",
        "config": {"store": {"backend": "sql_turns", "table_name": "turns"}},
    }
    backend = {"type": "sql_sqlite", "db_path": str(directory / "turns.db")}
    path = directory / "run.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "version": 2,
                "distro_name": "export-test",
                "providers": {"transcripts": [provider]},
                "storage": {"backends": {"sql_turns": backend}},
            }
        )
    )
    return path


def test_the_command_exports_what_the_server_of_a_configuration_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path / "state"))

    async def fill(*numbers: int) -> None:
        shop = Shop(tmp_path / "turns.db")
        await shop.add(*map(turn, numbers))
        await shop.store.close()

    def run(*words: str) -> str:
        ran = CliRunner().invoke(app, ["export", str(tmp_path / "out"), *words, *config])
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    config = ["--config", str(write_config(tmp_path))]
    asyncio.run(fill(1, 2, 3))
    assert "Exported 2 turns and 0 feedback, removed 0" in run("--since", "2026-01-02T03:04:07")
    asyncio.run(fill(4))
    assert "Exported 1 turns" in run("--since", "2026-01-02T04:04:07+01:00")
    assert ids(tmp_path / "out") == [turn(n).turn_id for n in (2, 3, 4)]

    left = Spill(tmp_path / "state/transcripts-spill/sql_turns.turns")
    left.keep([turn_row(turn(5), ALICE)])  # by a server that ended without its database
    left.release()
    assert "Exported 1 turns" in run("--since", "2026-01-02T03:04:07")

    other = CliRunner().invoke(app, ["export", str(tmp_path / "out"), "--format", "csv", *config])
    assert isinstance(other.exception, LightspeedError)


@pytest.mark.parametrize(
    "words",
    [
        ["--since", "yesterday"],
        ["--kind", "turns,answers"],
        ["--kind", ","],
        ["--format", "xml"],
        ["--since", "2026-02-01", "--until", "2026-01-01"],
    ],
)
def test_wrong_usage_exits_with_2(tmp_path: Path, words: list[str]) -> None:
    ran = CliRunner().invoke(app, ["export", str(tmp_path / "out"), *words])
    assert ran.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_the_help_says_what_spreadsheets_do() -> None:
    told = " ".join(CliRunner().invoke(app, ["export", "--help"]).output.split())
    assert "apostrophe" in told
    assert "Exit codes" in told


async def test_without_pyarrow_parquet_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(
        sys.modules, "lightspeed_providers.transcripts.export.parquet", raising=False
    )
    with pytest.raises(ConfigurationError, match=r"needs pyarrow: pip install"):
        await Exporter(Changes(EARLIER), tmp_path, Format.PARQUET).run_once()
