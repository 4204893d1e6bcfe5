"""What the queue of turns took is never lost, whatever dies: a database, a disk, the server."""

import asyncio
import contextlib
import dataclasses
import json
import os
import resource
import signal
import socket
import stat
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import postgres, psql, table
from transcript_server import (
    REPOSITORY,
    locked,
    served,
    stored_questions,
    turn,
    turn_id,
    write_config,
)

from lightspeed_providers.transcripts.periodic import Periodic
from lightspeed_providers.transcripts.rows import TurnRow
from lightspeed_providers.transcripts.spill import Recovered, Spill
from lightspeed_providers.transcripts.writer import AwayError, BatchWriter

__all__ = ["postgres", "table"]


def row(number: int, **fields: Any) -> TurnRow:
    values: dict[str, Any] = {
        "turn_id": f"turn_{number:032x}",
        "received_us": number,
        "first_token_us": None,
        "finished_us": number + 1,
        "user_hash": "u",
        "conversation_id": None,
        "response_id": None,
        "previous_response_id": None,
        "profile": "demo",
        "prompt_version": "0123456789ab",
        "model": None,
        "provider": None,
        "outcome": "answered",
        "input_tokens": 1,
        "output_tokens": 2,
        "passages": 3,
        "best_score": 0.5,
        "shields": ("input_topic", "inout_redaction"),
        "blocked_by": None,
        "question": "Größe?\n\u2028",
        "answer": "42",
        "record": json.dumps({"number": number}),
    }
    return TurnRow(**(values | fields))


class Database:
    """A place that takes rows once each, and can be away."""

    def __init__(self) -> None:
        self.rows: dict[str, TurnRow] = {}
        self.batches: list[int] = []
        self.away = False

    async def insert(self, rows: Sequence[TurnRow]) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise AwayError("restarting")
        if any(each.record == "refused" for each in rows):
            raise ValueError(rows[0].question)
        self.batches.append(len(rows))
        for each in rows:
            self.rows.setdefault(each.turn_id, each)

    @property
    def numbers(self) -> list[int]:
        return sorted(each.received_us for each in self.rows.values())


def writer_into(
    database: Database, spill: Spill | None = None, **options: Any
) -> BatchWriter[TurnRow]:
    options = {"max_queued": 1000, "max_batch": 10} | options
    return BatchWriter(database.insert, spill=spill, **options)


async def until(is_so: Callable[[], bool], within_s: float = 5) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def files_in(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def lines_in(directory: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in directory.glob("*.jsonl"))


async def test_order_and_batches_of_the_writer() -> None:
    batches: list[list[int]] = []

    async def write(items: Sequence[int]) -> None:
        await asyncio.sleep(0)
        batches.append(list(items))

    writer = BatchWriter(write, max_queued=100, max_batch=3)
    for number in range(7):
        writer.put(number)
    await writer.settled(1)
    assert batches == [[0, 1, 2], [3, 4, 5], [6]]
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}  # nothing waits when nothing is to do


async def test_two_drains_of_a_writer_write_each_item_once() -> None:
    written: list[int] = []
    away = iter([True])

    async def write(items: Sequence[int]) -> None:
        await asyncio.sleep(0.01)
        if next(away, False):
            raise AwayError("restarting")
        written.extend(items)

    writer = BatchWriter(write, max_queued=100, max_batch=2)
    for number in range(9):
        writer.put(number)
    await asyncio.gather(writer.drain(5), writer.drain(5), writer.drain(5))
    assert written == list(range(9))
    assert (writer.written, writer.dropped) == (9, 0)


async def test_turns_that_come_one_by_one_share_a_transaction_and_nobody_waits_for_it() -> None:
    database = Database()
    writer = writer_into(database, linger_s=0.2, max_batch=4)
    for number in range(3):
        writer.put(row(number))
        await asyncio.sleep(0.01)
    assert database.batches == []
    began = time.monotonic()
    await writer.settled(5)  # somebody wants to read them
    assert time.monotonic() - began < 0.1
    assert database.batches == [3]
    for number in range(3, 7):
        writer.put(row(number))
    await asyncio.sleep(0.05)
    assert database.batches == [3, 4]  # a full batch is not kept waiting
    writer.put(row(7))
    await until(lambda: database.batches == [3, 4, 1], 1)
    began = time.monotonic()
    assert await writer.put_durably(row(8), 5)
    assert time.monotonic() - began < 0.1


async def test_what_does_not_fit_the_queue_is_dropped_and_counted_exactly(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    writer = writer_into(database, Spill(tmp_path / "spill"), max_queued=7)
    taken = [writer.put(row(number)) is not None for number in range(20)]
    await until(lambda: writer._failures >= 2)
    taken += [writer.put(row(number)) is not None for number in range(20, 25)]
    database.away = False
    await writer.settled(5)
    assert taken == [True] * 7 + [False] * 18
    assert database.numbers == list(range(7))
    assert (writer.written, writer.dropped, writer.spilled) == (7, 18, 0)


async def test_what_shutdown_could_not_write_is_written_by_the_next_start(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    writer = writer_into(database, Spill(tmp_path / "spill"))
    kept = [writer.put(row(number)) for number in range(25)]
    began = time.monotonic()
    await writer.drain(0.3)
    assert time.monotonic() - began < 1
    assert [future and future.result() for future in kept] == [True] * 25
    assert (writer.written, writer.dropped, writer.spilled) == (0, 0, 25)
    [file] = files_in(tmp_path / "spill")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700

    still_away = writer_into(database, Spill(tmp_path / "spill"))
    await still_away.settled(0.2)
    await still_away.drain(0.2)
    assert lines_in(tmp_path / "spill") == 25

    database.away = False
    following = writer_into(database, Spill(tmp_path / "spill"))
    following.put(row(25))
    await following.settled(5)
    assert database.rows == {each.turn_id: each for each in map(row, range(26))}
    assert files_in(tmp_path / "spill") == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_turns_that_finish_during_and_after_shutdown_are_kept_too(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    writer = writer_into(database, Spill(tmp_path / "spill"))

    async def finish_late(number: int) -> None:
        await asyncio.sleep(number / 100)
        assert writer.put(row(number)) is not None
        await writer.drain(0.1)

    async with asyncio.TaskGroup() as group:
        for number in range(60):
            group.create_task(finish_late(number))
    assert (writer.spilled, writer.dropped) == (60, 0)
    database.away = False
    await Spill(tmp_path / "spill").recover(database.insert)
    assert database.numbers == list(range(60))


async def test_a_long_outage_has_its_turns_on_disk_before_anything_ends(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    writer = writer_into(database, Spill(tmp_path / "spill"))
    for number in range(10):
        writer.put(row(number))
    await until(lambda: lines_in(tmp_path / "spill") == 10)
    for number in range(10, 15):
        writer.put(row(number))
    await until(lambda: lines_in(tmp_path / "spill") == 15)
    await Spill(tmp_path / "spill").recover(database.insert)  # another process lets them be
    assert lines_in(tmp_path / "spill") == 15
    database.away = False
    await writer.settled(10)
    await until(lambda: files_in(tmp_path / "spill") == [])
    assert database.numbers == list(range(15))
    assert (writer.written, writer.spilled, writer.dropped) == (15, 0, 0)


async def test_a_durable_turn_waits_for_the_disk_but_never_long(tmp_path: Path) -> None:
    database = Database()
    writer = writer_into(database, Spill(tmp_path / "spill"), linger_s=5)
    assert await writer.put_durably(row(0), 5)
    assert database.numbers == [0]
    database.away = True
    began = time.monotonic()
    assert await writer.put_durably(row(1), 0.3)
    assert 0.3 <= time.monotonic() - began < 0.6
    assert lines_in(tmp_path / "spill") == 1
    began = time.monotonic()
    assert all(await asyncio.gather(*(writer.put_durably(row(n), 0.3) for n in range(2, 50))))
    assert time.monotonic() - began < 0.3  # that it is away is known by now
    assert lines_in(tmp_path / "spill") == 49
    database.away = False
    await writer.settled(10)
    assert database.numbers == list(range(50))
    assert (writer.written, writer.dropped) == (50, 0)


async def test_lines_that_are_no_turns_are_put_aside_and_hold_nothing_up(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    assert spill.keep([row(1), row(2, record="refused"), row(3)]) == 3
    [file] = files_in(tmp_path)
    good = json.dumps(dataclasses.asdict(row(4)) | {"from_a_later_version": 1}).encode()
    with file.open("ab") as torn:
        torn.write(b"\n\x00\xff\xfe\n[]\n{}\n" + good + b"\n" + good.replace(b"4", b'"x"'))
        torn.write(b"\n" + good[: len(good) // 2])
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "link.jsonl").symlink_to(file)
    (tmp_path / "directory.jsonl").mkdir()
    spill.release()

    database = Database()
    assert await Spill(tmp_path).recover(database.insert) == Recovered(written=3, broken=7)
    assert database.rows == {each.turn_id: each for each in map(row, (1, 3, 4))}
    [aside] = (each for each in files_in(tmp_path) if each.suffix == ".broken")
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert aside.read_bytes().count(b"\n") == 7
    assert row(2).turn_id.encode() in aside.read_bytes()
    assert not file.exists()


async def test_many_who_recover_at_once_write_each_turn_once(tmp_path: Path) -> None:
    for start in range(0, 500, 50):
        spill = Spill(tmp_path)
        assert spill.keep([row(number) for number in range(start, start + 50)]) == 50
        spill.release()
    inserted: list[int] = []

    async def insert(rows: Sequence[TurnRow]) -> None:
        await asyncio.sleep(0.01)
        inserted.extend(each.received_us for each in rows)

    found = await asyncio.gather(*(Spill(tmp_path).recover(insert) for _ in range(8)))
    assert sum(each.written for each in found) == 500
    assert sorted(inserted) == list(range(500))
    assert files_in(tmp_path) == []


async def test_large_files_are_read_piece_by_piece(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    assert spill.keep([row(number, record="x" * 1_000_000) for number in range(40)]) == 40
    spill.release()
    sizes: list[int] = []

    async def insert(rows: Sequence[TurnRow]) -> None:
        sizes.append(len(rows))

    await Spill(tmp_path).recover(insert)
    assert sum(sizes) == 40
    assert max(sizes) <= 4


def recovered(directory: Path, database: Database) -> Recovered:
    return asyncio.run(Spill(directory).recover(database.insert))


KEEPING = """
import dataclasses, json, sys
from pathlib import Path
from lightspeed_providers.transcripts.rows import TurnRow
from lightspeed_providers.transcripts.spill import Spill

spill = Spill(Path(sys.argv[1]))
row = TurnRow(**json.loads(sys.stdin.readline()))
for number in range(10**6):
    rows = [dataclasses.replace(row, turn_id=f"{number}-{n}") for n in range(7)]
    assert spill.keep(rows) == 7
    print(number, flush=True)
"""


def test_a_kill_while_turns_are_kept_loses_none_that_was(tmp_path: Path) -> None:
    # The record makes a call of `keep` long, so that most kills hit one.
    example = json.dumps(dataclasses.asdict(row(1, record="x" * 50_000)))
    for pause_s in (0.0, 0.003, 0.011):
        process = subprocess.Popen(
            [sys.executable, "-c", KEEPING, str(tmp_path)],
            env={"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(example + "\n")
        process.stdin.flush()
        process.stdout.readline()
        time.sleep(pause_s)
        process.kill()
        kept = 1 + len(process.stdout.read().splitlines())
        process.wait()
        database = Database()
        found = recovered(tmp_path, database)
        expected = {f"{number}-{n}" for number in range(kept) for n in range(7)}
        assert expected <= database.rows.keys()
        assert found.broken <= 1


RECOVERING = """
import asyncio, sys
from pathlib import Path
from lightspeed_providers.transcripts.spill import Spill

async def insert(rows):
    print(len(rows), flush=True)
    await asyncio.sleep(60)

asyncio.run(Spill(Path(sys.argv[1])).recover(insert))
"""


def test_what_a_killed_recovery_had_claimed_is_free_again(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    spill.keep([row(number) for number in range(5)])
    spill.release()
    process = subprocess.Popen(
        [sys.executable, "-c", RECOVERING, str(tmp_path)],
        env={"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"5\n"
    database = Database()
    assert recovered(tmp_path, database) == Recovered()
    process.kill()
    process.wait()
    assert recovered(tmp_path, database) == Recovered(written=5)


FILLING = """
import asyncio, dataclasses, json, signal, sys
from pathlib import Path
from lightspeed_providers.transcripts.rows import TurnRow
from lightspeed_providers.transcripts.spill import Spill
from lightspeed_providers.transcripts.writer import AwayError, BatchWriter

async def away(rows):
    raise AwayError("away")

async def main():
    writer = BatchWriter(away, max_queued=1000, max_batch=10, spill=Spill(Path(sys.argv[1])))
    row = TurnRow(**json.loads(sys.stdin.readline()))
    for number in range(100):
        writer.put(dataclasses.replace(row, turn_id=str(number)))
    await writer.drain(0.1)
    print(json.dumps([writer.spilled, writer.dropped]))

asyncio.run(main())
"""


def test_a_full_disk_keeps_what_fits_and_the_rest_is_counted(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 300_000) as disk:
        process = subprocess.run(
            [sys.executable, "-B", "-c", FILLING, str(disk.path)],
            env={"PYTHONPATH": str(REPOSITORY)},
            input=json.dumps(dataclasses.asdict(row(1, record="x" * 10_000))) + "\n",
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            preexec_fn=disk.limit,
        )
        spilled, dropped = json.loads(process.stdout)
        database = Database()
        assert recovered(disk.path, database) == Recovered(written=spilled)
    assert spilled + dropped == 100
    assert 20 < spilled < 40
    assert set(database.rows) == {str(number) for number in range(spilled)}


class SmallDisk:
    """A directory with little room: a file system of its own, or files that may not grow."""

    def __init__(self, path: Path, size: int, *, mounted: bool) -> None:
        self.path = path
        self._size = size
        self._mounted = mounted
        self._ballast = path / "ballast"

    def limit(self) -> None:
        """Hold the calling process to the size, where there is no file system for it."""
        if not self._mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, resource.RLIM_INFINITY))

    def fill(self, process: int) -> None:
        if self._mounted:
            with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(4096))
        else:
            resource.prlimit(process, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    def free(self, process: int) -> None:
        if self._mounted:
            self._ballast.unlink()
        else:
            infinite = resource.RLIM_INFINITY
            resource.prlimit(process, resource.RLIMIT_FSIZE, (infinite, infinite))


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[SmallDisk]:
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield SmallDisk(path, size, mounted=mounted)
    finally:
        if mounted:
            subprocess.run(["umount", str(path)], check=True)


SERVERS = """
import os, signal, sys, uvicorn
from llama_stack.core.server.server import create_app
from llama_stack_api import Api
from lightspeed_providers.core.turns import Turn
from lightspeed_providers.transcripts import opening, transcripts

def serve(port):
    app = create_app()

    @app.post("/record")
    async def record(turns: list[Turn]) -> int:
        for turn in turns:
            await app.stack.impls[Api("transcripts")].record(turn)
        return len(turns)

    @app.get("/counts")
    async def counts() -> dict[str, int]:
        writer = app.stack.impls[Api("transcripts")]._writer
        return {"written": writer.written, "dropped": writer.dropped}

    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells may have it ignored
    uvicorn.run(app, host="127.0.0.1", port=port, lifespan="on")

if len(sys.argv) > 1:
    serve(int(sys.argv[1]))
    sys.exit()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the servers
for line in sys.stdin:
    directory, port, kind = line.split()
    if not (process := os.fork()):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ["LIGHTSPEED_STATE_DIR"] = f"{directory}/state"
        os.environ["LLAMA_STACK_CONFIG"] = f"{directory}/run.yaml"
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if kind == "fresh":  # one whose end is that of an interpreter, not of a fork
            os.execv(sys.executable, [*sys.orig_argv, port])
        serve(int(port))
        sys.exit()
    os.write(1, f"{process}\\n".encode())
"""

type Start = Callable[..., "RunningServer"]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts servers in processes of their own, by forking one that has imported everything."""
    parent = subprocess.Popen(
        [sys.executable, "-c", SERVERS],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    started: list[RunningServer] = []

    def begin(directory: Path, kind: str = "forked") -> RunningServer:
        assert parent.stdin is not None
        assert parent.stdout is not None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        print(directory, port, kind, file=parent.stdin, flush=True)
        server = RunningServer(int(parent.stdout.readline()), port)
        started.append(server)
        server.wait_until_it_answers()
        return server

    yield begin
    for server in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.process, signal.SIGKILL)
    parent.kill()
    parent.wait()


class RunningServer:
    """A real server in a process of its own, which can be killed."""

    def __init__(self, process: int, port: int) -> None:
        self.process = process
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)

    @property
    def is_running(self) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, 0)
            return True
        return False

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            assert self.is_running, "the server ended"
            assert time.monotonic() < deadline
            with contextlib.suppress(httpx.TransportError):
                self._client.get("/v1/feedback/status").raise_for_status()
                return
            time.sleep(0.1)

    def record(self, numbers: Iterable[int], **fields: Any) -> None:
        """Have turns recorded, each in a request of its own, and none of them slow."""
        took = []
        for number in numbers:
            body = [turn(number, turn_id=turn_id(number), **fields).model_dump(mode="json")]
            began = time.monotonic()
            answer = self._client.post("/record", json=body)
            took.append(time.monotonic() - began)
            assert answer.raise_for_status().json() == 1
        assert statistics.median(took) < 1  # an attempt to write takes longer than that

    def eventually(self, **counts: int) -> None:
        deadline = time.monotonic() + 15
        while (seen := self._client.get("/counts").json()) != counts:
            assert time.monotonic() < deadline, seen
            time.sleep(0.1)

    def end(self, *signals: signal.Signals) -> None:
        for each in signals:
            os.kill(self.process, each)
            time.sleep(0.2)
        deadline = time.monotonic() + 20
        while self.is_running:
            assert time.monotonic() < deadline
            time.sleep(0.05)


class Relay:
    """A TCP relay to a database: while it is stopped, the database is away."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                database = socket.create_connection(self._target)
                self._open += [client, database]
                for pair in ((client, database), (database, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def spilled_in(directory: Path) -> int:
    files = (directory / "state").rglob("*.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in files)


def questions(numbers: Iterable[int]) -> set[str]:
    return {f"Question {number}?" for number in numbers}


def test_a_locked_database_and_three_ways_to_end_the_server(tmp_path: Path, start: Start) -> None:
    database = tmp_path / "turns.db"
    write_config(tmp_path, durability="queued", max_queued_turns=20, drain_timeout_s=0.5)
    server = start(tmp_path)
    server.record([0])
    server.eventually(written=1, dropped=0)
    with locked(database):
        server.record(range(1, 31))
        server.eventually(written=1, dropped=10)
    server.eventually(written=21, dropped=10)
    with locked(database):
        server.record(range(100, 105))
        server.end(signal.SIGTERM, signal.SIGTERM)
        assert stored_questions(database) == questions(range(21))
        assert spilled_in(tmp_path) == 5

        server = start(tmp_path, "fresh")
        server.record(range(105, 110))
        server.end(signal.SIGINT, signal.SIGINT)  # the second one skips the shutdown
        assert spilled_in(tmp_path) == 10

        write_config(tmp_path, durability="strict", write_timeout_s=0.5)
        server = start(tmp_path)
        server.record(range(110, 115))
        server.end(signal.SIGKILL)
        assert spilled_in(tmp_path) == 15

    server = start(tmp_path)
    server.record([115])
    server.end(signal.SIGKILL)
    assert "Question 115?" in stored_questions(database)
    with served(tmp_path) as last:
        last.run(last.impl._writer.settled, 5)
    assert stored_questions(database) == questions([*range(21), *range(100, 116)])
    assert spilled_in(tmp_path) == 0


def test_a_full_disk_delays_nothing_and_writing_goes_on_when_there_is_room(
    tmp_path: Path, start: Start
) -> None:
    with small_disk(tmp_path / "disk", 20_000_000) as disk:
        write_config(
            tmp_path,
            backend={"type": "sql_sqlite", "db_path": str(disk.path / "turns.db")},
            durability="queued",
            max_queued_turns=20,
        )
        (tmp_path / "state").symlink_to(disk.path, target_is_directory=True)
        server = start(tmp_path)
        try:
            server.record([0])
            server.eventually(written=1, dropped=0)
            disk.fill(server.process)
            server.record(range(1, 31), answer="x" * 20_000)
            server.eventually(written=1, dropped=10)
            time.sleep(1)  # attempts to write into the database and beside it fail
            server.eventually(written=1, dropped=10)
            disk.free(server.process)
            server.eventually(written=21, dropped=10)
            server.record([31])
            server.eventually(written=22, dropped=10)
        finally:
            server.end(signal.SIGTERM)
        assert stored_questions(disk.path / "turns.db") == questions([*range(21), 31])
        assert spilled_in(tmp_path) == 0


def test_a_postgresql_that_dies_and_comes_back(
    tmp_path: Path, start: Start, postgres: dict[str, Any], table: str
) -> None:
    relay = Relay((postgres["host"], postgres["port"]))
    settings = {
        "backend": postgres | {"port": relay.port},
        "store": {"backend": "sql_turns", "table_name": table},
        "durability": "queued",
    }
    write_config(tmp_path, **settings, max_queued_turns=20)
    server = start(tmp_path)
    server.record([0])
    server.eventually(written=1, dropped=0)
    relay.stop()
    server.record(range(1, 31))
    server.eventually(written=1, dropped=10)
    relay.start()
    server.eventually(written=21, dropped=10)
    relay.stop()
    server.record(range(100, 105))
    server.end(signal.SIGTERM)
    assert spilled_in(tmp_path) == 5

    relay.start()
    with served(tmp_path, **settings) as following:
        following.run(following.impl._writer.settled, 5)
    relay.stop()
    records = psql(f"SELECT record FROM {table}").splitlines()  # noqa: S608 our own table
    assert {json.loads(each)["question"] for each in records} == questions(
        [*range(21), *range(100, 105)]
    )
    assert spilled_in(tmp_path) == 0


class TestPeriodic:
    """Work that is done again and again."""

    async def test_it_goes_on_after_faults_and_never_overlaps(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        runs: list[str] = []
        working = 0

        async def work() -> None:
            nonlocal working
            working += 1
            assert working == 1
            runs.append("run")
            await asyncio.sleep(0.03)
            working -= 1
            if 2 <= len(runs) <= 3:
                raise ValueError("what a user said")

        periodic = Periodic(work, 0.01)
        for _ in range(30):
            periodic.touch()
            await asyncio.sleep(0.01)
        assert 4 <= len(runs) <= 8
        await periodic.stop(1)
        assert working == 0
        ended = len(runs)
        periodic.touch()
        await asyncio.sleep(0.05)
        assert len(runs) == ended
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "ValueError" in caplog.text
        assert "what a user said" not in caplog.text

    async def test_nothing_waits_between_two_runs(self) -> None:
        done = asyncio.Event()

        async def work() -> None:
            done.set()

        periodic = Periodic(work, 0.02)
        periodic.touch()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await done.wait()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await periodic.stop(1)

    async def test_work_without_an_end_is_cancelled(self) -> None:
        cancelled = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                cancelled.set()

        periodic = Periodic(work, 0.01)
        periodic.touch()
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await periodic.stop(0.1)
        await asyncio.wait_for(cancelled.wait(), 1)
        assert time.monotonic() - began < 0.5

    def test_a_new_loop_goes_on_with_it(self) -> None:
        runs: list[int] = []

        async def work() -> None:
            runs.append(1)

        periodic = Periodic(work, 0.01)

        async def serve() -> None:
            periodic.touch()
            await asyncio.sleep(0.1)

        asyncio.run(serve())
        first = len(runs)
        asyncio.run(serve())
        assert 0 < first < len(runs)
