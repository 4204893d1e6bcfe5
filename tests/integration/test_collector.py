"""The collector sends every file at least once, removes only what was accepted, tells no secret.

The servers here are real ones on this machine: they read what is posted, open it as tar, and
remember what they accepted.
"""

import contextlib
import email.parser
import email.policy
import hashlib
import http.server
import io
import json
import logging
import os
import random
import re
import signal
import ssl
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.transcripts.collect import archive as archive_module
from lightspeed_providers.transcripts.collect import attempts, cli, files, removal
from lightspeed_providers.transcripts.collect.attempts import retry_after
from lightspeed_providers.transcripts.collect.collector import Collector, Round
from lightspeed_providers.transcripts.collect.config import CollectorConfig
from lightspeed_providers.transcripts.collect.destination import request_id
from lightspeed_providers.transcripts.collect.sent import opened_sent
from lightspeed_providers.transcripts.collect.settings import ENVIRONMENT, load_config
from lightspeed_providers.transcripts.collect.stop import Stop

TOKEN = "tok-3f9a2c-secret"
OLD = 100.0
USER, CONVERSATION = "ab" * 32, "conv_" + "c" * 48

Answer = tuple[int, dict[str, str], bytes]
ACCEPTED: Answer = (202, {}, b'{"request_id": "req-1"}')


@dataclass
class Request:
    """What a server was sent."""

    method: str
    headers: dict[str, str]
    members: dict[str, bytes]
    archive_bytes: int
    field_name: str | None = None
    file_name: str | None = None
    part_type: str | None = None


@dataclass
class RecordingServer:
    """A real HTTP server that remembers requests, and counts what it accepted."""

    answers: list[Answer | None] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    accepted: Counter[tuple[str, str]] = field(default_factory=Counter)
    before_answer: Callable[[int], None] = lambda number: None
    after_answer: Callable[[int], None] = lambda number: None
    keep_content: bool = True
    address: str = ""

    def take(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        size = int(handler.headers["Content-Length"])
        body = handler.rfile.read(size)
        if len(body) != size:
            return
        request = read_request(handler, body)
        self.requests.append(request)
        number = len(self.requests)
        self.before_answer(number)
        answer = self.answers.pop(0) if self.answers else ACCEPTED
        if answer is None:
            handler.close_connection = True
            handler.connection.close()
            return
        status, headers, text = answer
        if status == 202:
            for name, content in request.members.items():
                self.accepted[name, hashlib.sha256(content).hexdigest()] += 1
        if not self.keep_content:
            request.members.clear()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(text)
        handler.wfile.flush()
        self.after_answer(number)

    def names(self) -> list[str]:
        return [name for request in self.requests for name in request.members]


def read_request(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> Request:
    headers = {name.lower(): value for name, value in handler.headers.items()}
    kind = headers.get("content-type", "")
    named: dict[str, str | None] = {}
    if kind.startswith("multipart/form-data"):
        raw = b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body
        (part,) = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(raw).iter_parts()
        body = part.get_payload(decode=True)
        named = {
            "field_name": part.get_param("name", header="content-disposition"),
            "file_name": part.get_filename(),
            "part_type": part.get_content_type(),
        }
    members = {}
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as archive:
        for member in archive:
            assert member.isreg()
            content = archive.extractfile(member)
            assert content is not None
            members[member.name] = content.read()
    return Request(handler.command, headers, members, len(body), **named)  # type: ignore[arg-type]


@contextlib.contextmanager
def serving(server: RecordingServer, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            with contextlib.suppress(ConnectionError):
                server.take(self)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    if tls:
        listening.socket = tls.wrap_socket(listening.socket, server_side=True)
    scheme = "https" if tls else "http"
    server.address = f"{scheme}://127.0.0.1:{listening.server_port}/api/ingress/v1/upload"
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        listening.shutdown()
        listening.server_close()


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    recording = RecordingServer()
    with serving(recording):
        yield recording


@pytest.fixture(autouse=True)
def quick_and_clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(attempts, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path / "state"))
    for variable in ENVIRONMENT.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def transcripts(tmp_path: Path) -> Path:
    return tmp_path / "transcripts"


@pytest.fixture
def feedback(tmp_path: Path) -> Path:
    return tmp_path / "feedback"


def written(path: Path, content: bytes | str = b'{"a": 1}', age_s: float = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    moment = time.time() - age_s
    os.utime(path, (moment, moment))
    return path


def turn(storage: Path, name: str = "t", content: bytes | str = b'{"a": 1}') -> Path:
    return written(storage / USER / CONVERSATION / f"{name}.json", content)


def noise(size: int, seed: int = 0) -> bytes:
    return json.dumps(random.Random(seed).randbytes(size // 2).hex()[: size - 2]).encode()


def config(server: RecordingServer, tmp_path: Path, **settings: Any) -> CollectorConfig:
    return CollectorConfig.model_validate(
        {
            "ingress_server_url": server.address,
            "ingress_content_service_name": "lightspeed",
            "destination": "multipart",
            "transcripts_storage": tmp_path / "transcripts",
            "feedback_storage": tmp_path / "feedback",
            "archive_directory": tmp_path / "archives",
            **settings,
        }
    )


def collect(server: RecordingServer, tmp_path: Path, **settings: Any) -> Round:
    return Collector(config(server, tmp_path, **settings), Stop()).collect()


def visible(storage: Path) -> list[str]:
    return sorted(
        str(path.relative_to(storage))
        for path in storage.rglob("*")
        if not path.name.startswith(".")
    )


def command(server: RecordingServer, tmp_path: Path, *more: str) -> list[str]:
    return [
        *("--url", server.address, "--service", "lightspeed", "--destination", "multipart"),
        *("--transcripts-storage", str(tmp_path / "transcripts")),
        *("--feedback-storage", str(tmp_path / "feedback"), *more),
    ]


# What travels


@pytest.mark.parametrize("destination", ["raw", "multipart"])
def test_both_kinds_travel_as_the_contract_says(
    destination: str, server: RecordingServer, tmp_path: Path, transcripts: Path, feedback: Path
) -> None:
    turn(transcripts, "one", '{"llm_response": "é"}')
    turn(transcripts, "two")
    written(feedback / "f.json", '{"sentiment": 1}')
    server.answers = [ACCEPTED if destination == "multipart" else (200, {}, b"")] * 2
    done = collect(server, tmp_path, destination=destination, ingress_server_auth_token=TOKEN)
    assert done.code == 0
    assert (done.files, done.archives, done.removed) == (3, 2, 3)
    of_feedback, of_turns = server.requests
    assert of_feedback.members == {"f.json": b'{"sentiment": 1}'}
    assert of_turns.members == {
        f"{USER}/{CONVERSATION}/one.json": '{"llm_response": "é"}'.encode(),
        f"{USER}/{CONVERSATION}/two.json": b'{"a": 1}',
    }
    content_type = "application/vnd.redhat.lightspeed.periodic+tar"
    for kind, request in (("feedback", of_feedback), ("transcripts", of_turns)):
        assert request.method == "POST"
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert "transfer-encoding" not in request.headers
        if destination == "raw":
            assert request.headers["content-type"] == content_type
            assert request.field_name is None
        else:
            assert (request.field_name, request.part_type) == ("file", content_type)
            assert re.fullmatch(rf"{kind}_\d{{8}}_\d{{6}}\.tar\.gz", request.file_name or "")
    assert visible(transcripts) == visible(feedback) == []
    assert transcripts.is_dir()
    assert collect(server, tmp_path).code == 0
    assert len(server.requests) == 2


YES, NO = True, False


@pytest.mark.parametrize(
    ("destination", "status", "body", "taken"),
    [
        ("raw", 200, b"", YES),
        ("raw", 201, b"whatever", YES),
        ("raw", 202, b"", YES),
        ("raw", 204, b"", YES),
        ("raw", 302, b"", NO),
        ("raw", 304, b"", NO),
        ("raw", 400, b"", NO),
        ("raw", 500, b"", NO),
        ("multipart", 202, b'{"request_id": "x"}', YES),
        ("multipart", 202, b'{"request_id": ""}', NO),
        ("multipart", 202, b'{"request_id": null}', NO),
        ("multipart", 202, b"{}", NO),
        ("multipart", 202, b"accepted", NO),
        ("multipart", 202, b"[" * 100_000, NO),
        ("multipart", 202, b"", NO),
        ("multipart", 200, b'{"request_id": "x"}', NO),
        ("multipart", 201, b'{"request_id": "x"}', NO),
        ("multipart", 415, b'{"request_id": "x"}', NO),
    ],
)
def test_only_an_accepted_file_is_removed(
    destination: str,
    status: int,
    body: bytes,
    taken: bool,
    server: RecordingServer,
    tmp_path: Path,
    transcripts: Path,
) -> None:
    path = turn(transcripts)
    headers = {"Content-Length": "0"} if status in (204, 304) else {}
    server.answers = [(status, headers, body)]
    done = collect(server, tmp_path, destination=destination, attempts=1)
    assert path.exists() is not taken
    assert done.code == (0 if taken else 1)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"request_id": "a"}', "a"),
        (b'{"request_id": 7}', None),
        (b'["request_id"]', None),
        (b"\xff", None),
        (b'{"request_id": " "}', None),
    ],
)
def test_a_request_id_is_a_text_that_says_something(body: bytes, found: str | None) -> None:
    assert request_id(body) == found


# What goes wrong on the way


@pytest.mark.parametrize("destination", ["raw", "multipart"])
def test_a_server_that_comes_back_gets_the_archive(
    destination: str, server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    path = turn(transcripts)
    server.answers = [None, (503, {}, b""), (429, {"Retry-After": "0"}, b""), ACCEPTED]
    done = collect(server, tmp_path, destination=destination)
    assert (done.code, len(server.requests)) == (0, 4)
    assert not path.exists()
    assert len({request.archive_bytes for request in server.requests}) == 1


def test_a_server_may_ask_for_patience(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    turn(transcripts)
    server.answers = [(429, {"Retry-After": "1"}, b"")]
    began = time.monotonic()
    assert collect(server, tmp_path).code == 0
    assert time.monotonic() - began >= 1
    turn(transcripts)
    server.answers = [(503, {"Retry-After": "4000"}, b"")]
    done = collect(server, tmp_path)
    assert (done.code, done.retry_after_s, len(server.requests)) == (1, 4000, 3)


def test_nobody_listening_is_said_in_one_line(tmp_path: Path, transcripts: Path) -> None:
    path = turn(transcripts)
    nobody = RecordingServer(address="http://127.0.0.1:9/up")
    (fault,) = collect(nobody, tmp_path, attempts=2).faults
    assert "127.0.0.1:9/up did not accept transcripts_" in fault
    assert "refused" in fault
    assert "\n" not in fault
    assert path.exists()


def test_a_silent_server_is_not_waited_for_forever(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    path = turn(transcripts)
    server.before_answer = lambda _: time.sleep(0.6)
    (fault,) = collect(server, tmp_path, attempts=1, read_timeout=0.2).faults
    assert "no answer within 0.2 s" in fault
    assert path.exists()


@pytest.mark.parametrize(
    ("status", "requests", "advice"),
    [(401, 1, "check the token"), (404, 1, "check ingress_server_url"), (302, 1, "not followed")],
)
def test_a_refusal_of_all_ends_the_round(
    status: int,
    requests: int,
    advice: str,
    server: RecordingServer,
    tmp_path: Path,
    transcripts: Path,
    feedback: Path,
) -> None:
    kept = [turn(transcripts), written(feedback / "f.json")]
    server.answers = [(status, {"Location": "/elsewhere"}, b"")] * 2
    done = collect(server, tmp_path)
    assert (done.code, len(server.requests)) == (1, requests)
    assert advice in done.faults[0]
    assert all(path.exists() for path in kept)


def test_a_refusal_of_one_archive_lets_the_others_go(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    large = turn(transcripts, "a", noise(20_000))
    small = turn(transcripts, "b")
    server.answers = [(413, {}, b""), ACCEPTED]
    done = collect(server, tmp_path, max_archive_bytes=10_000)
    assert (done.code, done.refused, done.archives) == (3, 1, 1)
    assert large.exists()
    assert not small.exists()


def test_a_redirect_takes_the_token_nowhere(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    other = RecordingServer()
    with serving(other):
        turn(transcripts)
        for status in (301, 302, 303, 307, 308):
            server.answers = [(status, {"Location": other.address}, b"")]
            assert collect(server, tmp_path, ingress_server_auth_token=TOKEN).code == 1
    assert other.requests == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("12", 12),
        ("1.5", 1.5),
        ("-3", 0),
        ("nan", 0),
        ("inf", 0),
        ("soon", 0),
        ("9" * 40, 86_400),
        ("Sat, 21 Nov 2026 10:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0),
        ("Sat, 99 Nov 2026 09:00:00 GMT", 0),
    ],
)
def test_patience_is_read_from_a_header(header: str | None, seconds: float) -> None:
    headers = {} if header is None else {"retry-after": header}
    assert retry_after(headers, datetime(2026, 11, 21, 10, tzinfo=UTC)) == seconds


def test_nothing_a_server_says_is_repeated(
    server: RecordingServer,
    tmp_path: Path,
    transcripts: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="lightspeed_providers")
    turn(transcripts, content='{"q": "my question"}')
    echo = f"you sent {TOKEN} and my question".encode()
    server.answers = [(500, {"X-Echo": TOKEN}, echo), (400, {}, echo)]
    done = collect(server, tmp_path, ingress_server_auth_token=TOKEN, attempts=2)
    server.answers = [(202, {}, json.dumps({"request_id": f"{TOKEN} \n"}).encode())]
    collect(server, tmp_path, ingress_server_auth_token=TOKEN)
    said = caplog.text + done.summary + "".join(done.faults)
    assert "500 Internal Server Error" in said
    assert "400 Bad Request" in said
    assert TOKEN not in said
    assert "question" not in said


def test_a_certificate_is_checked(
    tmp_path: Path, transcripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=here"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    path = turn(transcripts)
    server = RecordingServer()
    with serving(server, tls):
        (fault,) = collect(server, tmp_path, attempts=1).faults
        assert "CERTIFICATE_VERIFY_FAILED" in fault
        assert path.exists()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert collect(server, tmp_path, ingress_server_auth_token=TOKEN).code == 0
    assert not path.exists()


# Which files


def test_only_settled_json_files_of_the_storage_are_sent(
    server: RecordingServer,
    tmp_path: Path,
    transcripts: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = written(tmp_path / "outside" / "secret.json", '{"not": "ours"}')
    turn(transcripts, "good")
    turn(transcripts, "line\nend \x1b[31m")
    os.close(os.open(os.fsencode(transcripts) + b"/by\xfftes.json", os.O_CREAT | os.O_WRONLY))
    written(Path(os.fsdecode(os.fsencode(transcripts) + b"/by\xfftes.json")))
    stay = [
        turn(transcripts, "half", '{"a": "b'),
        turn(transcripts, "empty", ""),
        turn(transcripts, "bytes", b"\xff\xfe{"),
        turn(transcripts, "deep", "[" * 200_000),
        written(transcripts / "fresh.json", age_s=0),
    ]
    ignored = [
        written(transcripts / ".hidden.json"),
        written(transcripts / ".hidden" / "x.json"),
        written(transcripts / "notes.txt"),
        written(transcripts / "x.json.tmp"),
    ]
    (transcripts / "link.json").symlink_to(secret)
    (transcripts / "folder").symlink_to(secret.parent)
    os.mkfifo(transcripts / "pipe.json")
    done = collect(server, tmp_path)
    assert sorted(name.rpartition("/")[2] for name in server.names()) == [
        "by\udcfftes.json",
        "good.json",
        "line\nend \x1b[31m.json",
    ]
    assert done.code == 3
    assert (done.stayed.waiting, done.stayed.left) == (1, 6)
    assert all(path.exists() for path in [*stay, *ignored, secret])
    assert (transcripts / "link.json").is_symlink()
    assert "half.json' stays: it is not whole JSON" in caplog.text


@pytest.mark.parametrize("chunk", range(1, 12))
def test_a_large_file_is_checked_for_its_end_without_being_held(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PARSED_UP_TO", 0)
    monkeypatch.setattr(files, "_CHUNK", chunk)
    whole = b'{"text": "' + b'a\\"\\\\{[' * 20 + b'\\\\", "b": ["}"]}'
    json.loads(whole)
    path = tmp_path / "large.json"
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        with path.open("rb") as file, contextlib.ExitStack() as stack:
            if end < len(whole):
                stack.enter_context(pytest.raises(files.StaysError, match="not whole"))
            files.check_whole(file, end)


@pytest.mark.parametrize("size", [5_000, 3_000_000])
@pytest.mark.parametrize("change", ["grows", "shrinks", "vanishes", "replaced", "rewritten"])
def test_a_file_that_changes_while_it_is_read_spoils_no_archive(
    change: str,
    size: int,
    server: RecordingServer,
    tmp_path: Path,
    transcripts: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turn(transcripts, "a")
    victim = turn(transcripts, "b", noise(size))
    turn(transcripts, "c")
    really = archive_module.check_whole

    def changed_by_somebody(file: Any, length: int) -> None:
        really(file, length)
        if length != size:
            return
        match change:
            case "grows":
                with victim.open("ab") as more:
                    more.write(b" ")
            case "shrinks":
                os.truncate(victim, size // 2)
            case "vanishes":
                victim.unlink()
            case "replaced":
                fresh = victim.with_name(".draft")
                fresh.write_bytes(b"{}")
                fresh.rename(victim)
            case "rewritten":
                victim.write_bytes(noise(size, seed=1))

    monkeypatch.setattr(archive_module, "check_whole", changed_by_somebody)
    done = collect(server, tmp_path)
    names = [name.rpartition("/")[2] for name in server.names()]
    left = [name.rpartition("/")[2] for name in visible(transcripts) if name.endswith(".json")]
    if change in ("vanishes", "replaced"):
        # The open file is still the old one, whole: it was sent, and what came since stays.
        assert names in (["a.json", "b.json", "c.json"], ["a.json", "c.json"])
    else:
        assert names == ["a.json", "c.json"]
        assert done.stayed.waiting == 1
    assert left == ([] if change == "vanishes" else ["b.json"])
    assert done.code == 0


@pytest.mark.parametrize("rewrite", ["in place", "by rename"])
def test_a_file_written_again_while_it_travels_stays_and_goes_next(
    rewrite: str, server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    path = turn(transcripts, content='{"version": 1}')
    other = turn(transcripts, "other")

    def written_again(number: int) -> None:
        if number == 1 and rewrite == "in place":
            path.write_text('{"version": 2}')
        elif number == 1:
            written(path.with_name(".draft"), '{"version": 2}').rename(path)

    server.before_answer = written_again
    assert collect(server, tmp_path).removed == 1
    assert path.read_text() == '{"version": 2}'
    assert not other.exists()
    os.utime(path, (1e9, 1e9))
    assert collect(server, tmp_path).code == 0
    assert server.requests[1].members == {f"{USER}/{CONVERSATION}/t.json": b'{"version": 2}'}
    assert visible(transcripts) == []


def test_a_file_replaced_at_the_very_moment_of_removal_stays(
    server: RecordingServer, tmp_path: Path, transcripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = turn(transcripts, content='{"version": 1}')
    rename = os.rename

    def replaced_just_before(source: str, target: str, **where: int) -> None:
        path.with_name(".draft").write_text('{"version": 2}')
        path.with_name(".draft").replace(path)
        rename(source, target, **where)

    monkeypatch.setattr(removal.os, "rename", replaced_just_before)
    assert collect(server, tmp_path).removed == 0
    assert path.read_text() == '{"version": 2}'


def test_a_removal_that_was_killed_half_way_is_finished_or_undone(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    accepted, newer = turn(transcripts, "a"), turn(transcripts, "b", '{"never": "sent"}')
    with opened_sent(transcripts) as sent:
        version = files.Version.of(accepted.stat())
        sent.remember([archive_module.Packed(str(accepted.relative_to(transcripts)), version)])
    for path in (accepted, newer):
        path.rename(path.with_name(f".{path.name}.collected"))
    collect(server, tmp_path)
    assert visible(transcripts)[2:] == [str(newer.relative_to(transcripts))]
    collect(server, tmp_path)
    assert server.names() == [str(newer.relative_to(transcripts))]
    assert list(transcripts.rglob("*.collected")) == []


def test_an_exporter_may_write_all_the_while(
    server: RecordingServer, tmp_path: Path, transcripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLED_AFTER_S", 0.0)
    exported: set[str] = set()
    ended = threading.Event()

    def export() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            time.sleep(0.001)
            path = transcripts / f"user{number % 3}" / f"conv{number % 5}" / f"{number}.json"
            draft = path.with_name(f".{number}")
            name = str(path.relative_to(transcripts))
            while name not in exported:
                with contextlib.suppress(FileNotFoundError):  # its directory was just removed
                    path.parent.mkdir(parents=True, exist_ok=True)
                    draft.write_text(f'{{"number": {number}}}')
                    draft.rename(path)
                    exported.add(name)

    transcripts.mkdir()
    exporter = threading.Thread(target=export)
    exporter.start()
    ends = time.monotonic() + 1.5
    while time.monotonic() < ends:
        assert collect(server, tmp_path).code == 0
    ended.set()
    exporter.join()
    collect(server, tmp_path)
    assert len(exported) > 100
    assert set(server.names()) == exported
    assert len(server.names()) == len(exported)


# Sizes


def test_archives_stay_below_the_limit_and_hold_everything_once(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    limit = 30_000
    paths = [turn(transcripts, f"{n:03}", noise(1_000 + 37 * n, n)) for n in range(100)]
    sent = {str(path.relative_to(transcripts)): path.read_bytes() for path in paths}
    done = collect(server, tmp_path, max_archive_bytes=limit)
    assert done.archives > 3
    assert done.archive_bytes == sum(request.archive_bytes for request in server.requests)
    assert all(request.archive_bytes <= limit for request in server.requests)
    # Full, not merely small: what follows would not have fitted.
    assert all(request.archive_bytes > limit * 0.7 for request in server.requests[:-1])
    assert Counter(server.names()) == Counter(sent.keys())
    for request in server.requests:
        assert request.members.items() <= sent.items()
    numbers = [
        re.findall(r"\d{6}_(\d+)\.tar", request.file_name or "") for request in server.requests
    ]
    assert numbers == [[str(n)] for n in range(1, done.archives + 1)]


def test_a_file_beyond_the_limit_goes_alone_and_one_beyond_all_limits_stays(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    turn(transcripts, "a")
    turn(transcripts, "b", noise(60_000))
    turn(transcripts, "c")
    huge = turn(transcripts, "d", noise(200_000))
    done = collect(server, tmp_path, max_archive_bytes=20_000, max_file_bytes=100_000)
    assert [[n[-6] for n in request.members] for request in server.requests] == [
        ["a"],
        ["b"],
        ["c"],
    ]
    assert huge.exists()
    assert (done.code, done.stayed.left) == (3, 1)


def test_many_files_take_several_archives(
    server: RecordingServer, tmp_path: Path, feedback: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_FILES", 10)
    for number in range(25):
        written(feedback / f"{number}.json")
    assert collect(server, tmp_path).archives == 3
    assert len(set(server.names())) == 25


# Kept files


def test_kept_files_are_sent_once_and_again_only_when_changed(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    path, other = turn(transcripts), turn(transcripts, "other")
    keep = {"cleanup_after_send": False}
    assert collect(server, tmp_path, **keep).files == 2
    assert collect(server, tmp_path, **keep).files == 0
    written(path, '{"changed": true}')
    assert collect(server, tmp_path, **keep).files == 1
    other.unlink()
    collect(server, tmp_path, **keep)
    with opened_sent(transcripts) as sent:
        assert sent.has(str(path.relative_to(transcripts)), files.Version.of(path.stat()))
        assert not list(sent._paths_after(os.fsencode(path.relative_to(transcripts))))
    done = collect(server, tmp_path)
    assert (done.files, done.removed, len(server.requests)) == (0, 1, 2)
    assert visible(transcripts) == []


def test_a_spoiled_memory_stops_with_a_line_and_sends_nothing(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    path = turn(transcripts)
    (transcripts / ".lightspeed-collect.sqlite").write_bytes(b"no database" * 1000)
    (fault,) = collect(server, tmp_path).faults
    assert "remove it" in fault
    assert path.exists()
    assert server.requests == []


# Processes: twice at once, stopped, killed

# The package above belongs to the host's provider and takes a second to load.
ALONE = """
import sys, types, lightspeed_providers
above = types.ModuleType("lightspeed_providers.transcripts")
above.__path__ = [lightspeed_providers.__path__[0] + "/transcripts"]
sys.modules[above.__name__] = above
"""
COLLECT = f"{ALONE}from lightspeed_providers.transcripts.collect.cli import app; app()"

# Loads the collector once, then runs it in a fresh process for every line that it reads.
FORKING = """
import os, sys
from lightspeed_providers.transcripts.collect import attempts, cli, collector, settings
from lightspeed_providers.transcripts.collect import destination
attempts.FIRST_WAIT_S = 0.01
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            cli.app(sys.argv[1:])
        except SystemExit as end:
            os._exit(end.code or 0)
        except BaseException:
            os._exit(99)
    print(child, flush=True)
    sys.stdin.readline()  # until then it stays, dead or alive, and its number nobody else's
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Runs:
    """Runs of `lightspeed collect --once`, each a process of its own that may be killed."""

    def __init__(self, arguments: list[str]) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-c", ALONE + FORKING, "--once", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = 0

    def _line(self) -> int:
        assert self._parent.stdout is not None
        while True:
            line = self._parent.stdout.readline()
            if line.strip().lstrip("-").isdigit():
                return int(line)
            assert line, "the parent ended"

    def _tell(self) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write("\n")
        self._parent.stdin.flush()

    def begin(self) -> None:
        self._tell()
        self.pid = self._line()

    def ended(self) -> int:
        self._tell()
        return self._line()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        self._parent.kill()
        self._parent.wait()


def test_killed_at_any_point_it_loses_nothing(
    server: RecordingServer, tmp_path: Path, transcripts: Path, feedback: Path
) -> None:
    settings = tmp_path / "collector.yaml"
    settings.write_text(
        f"max_archive_bytes: 10000\nretry_interval: 5\narchive_directory: {tmp_path / 'archives'}\n"
    )
    chance = random.Random(4)
    made: dict[str, tuple[Path, str]] = {}

    def make(count: int) -> None:
        for _ in range(count):
            number = len(made)
            content = noise(chance.randrange(200, 3_000), number)
            storage = chance.choice([transcripts / f"u{number % 3}" / f"c{number % 4}", feedback])
            path = written(storage / f"{number}.json", content)
            name = path.relative_to(feedback if storage == feedback else transcripts)
            made[str(name)] = (path, hashlib.sha256(content).hexdigest())

    def lost() -> list[str]:
        return [
            name
            for name, (path, digest) in made.items()
            if not server.accepted[name, digest]
            and not path.exists()
            and not path.with_name(f".{path.name}.collected").exists()
        ]

    server.keep_content = False
    runs = Runs(command(server, tmp_path, "--config", str(settings)))
    try:
        make(40)
        began = time.monotonic()
        runs.begin()
        assert runs.ended() == 0
        lasts_s = time.monotonic() - began
        killed = attempt = 0
        while killed < 36:
            attempt += 1
            assert attempt < 120
            make(12)
            hook = {3: "before_answer", 4: "after_answer"}.get(attempt % 5)
            began = time.monotonic()
            if hook:
                target = len(server.requests) + 1 + attempt % 3
                setattr(server, hook, lambda n, at=target: runs.kill() if n == at else None)
                runs.begin()
            else:
                runs.begin()
                time.sleep(chance.uniform(0, lasts_s))
                runs.kill()
            if runs.ended() == -signal.SIGKILL:
                killed += 1
            else:
                lasts_s = min(lasts_s, time.monotonic() - began)
            server.before_answer = server.after_answer = lambda number: None
            assert lost() == []
        runs.begin()
        assert runs.ended() == 0
    finally:
        runs.close()
    assert all(server.accepted[name, digest] for name, (_, digest) in made.items())
    assert visible(feedback) == []
    assert [name for name in visible(transcripts) if name.endswith(".json")] == []
    assert list(transcripts.rglob("*.collected")) == []
    assert list((tmp_path / "archives").iterdir()) == []


def collecting(
    server: RecordingServer, tmp_path: Path, *more: str, **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COLLECT, *command(server, tmp_path, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_two_at_once_send_nothing_twice_and_a_killed_one_does_not_block(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    for number in range(20):
        turn(transcripts, str(number))
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        begun.set()
        go_on.wait(20)

    server.before_answer = hold
    first = collecting(server, tmp_path, "--once")
    assert begun.wait(20)
    second = collecting(server, tmp_path, "--once")
    assert second.stderr is not None
    waiting = second.stderr.readline()
    assert f"is being collected by process {first.pid}: waiting" in waiting
    go_on.set()
    assert "Sent 20 files" in first.communicate(timeout=20)[0]
    assert "Sent 0 files" in second.communicate(timeout=20)[0]
    assert (first.returncode, second.returncode) == (0, 0)
    assert set(server.accepted.values()) == {1}

    turn(transcripts, "later")
    begun.clear()
    go_on.clear()
    third = collecting(server, tmp_path, "--once")
    assert begun.wait(20)
    third.kill()
    third.communicate()
    go_on.set()
    assert collect(server, tmp_path, lock_timeout=0).code == 0


def test_a_lock_that_is_held_too_long_is_said(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    turn(transcripts)
    faults: list[str] = []
    server.before_answer = lambda _: faults.extend(
        collect(server, tmp_path, lock_timeout=0.2).faults
    )
    assert collect(server, tmp_path).code == 0
    assert len(faults) == 1
    assert f"is being collected by process {os.getpid()} for more than" in faults[0]


def test_it_runs_until_sigterm_tries_again_and_tells_no_token(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    turn(transcripts)
    server.answers = [(401, {}, b"")]
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    running = collecting(
        server,
        tmp_path,
        *("--token-file", str(token_file), "--collection-interval", "3600"),
        LIGHTSPEED_COLLECT_RETRY_INTERVAL="0.3",
    )
    ends = time.monotonic() + 20
    while len(server.requests) < 2 and time.monotonic() < ends:
        time.sleep(0.05)
    process = Path(f"/proc/{running.pid}")
    assert TOKEN not in (process / "cmdline").read_text() + (process / "environ").read_text()
    time.sleep(0.2)
    began = time.monotonic()
    running.terminate()
    said = "".join(running.communicate(timeout=20))
    assert time.monotonic() - began < 2
    assert running.returncode == 0
    assert [request.headers["authorization"] for request in server.requests] == [
        f"Bearer {TOKEN}"
    ] * 2
    assert "401 Unauthorized: check the token" in said
    assert "Sent 1 files" in said
    assert TOKEN not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("signals", [1, 2])
def test_a_stop_lets_a_request_end_and_a_second_one_does_not(
    signals: int, server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    path = turn(transcripts)
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        begun.set()
        go_on.wait(20)

    server.before_answer = hold
    running = collecting(server, tmp_path, "--once")
    assert begun.wait(20)
    for _ in range(signals):
        running.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    if signals == 1:
        go_on.set()
    out, err = running.communicate(timeout=5)
    go_on.set()
    if signals == 1:
        assert (running.returncode, "Sent 1 files" in out, path.exists()) == (3, True, False)
    else:
        assert (running.returncode, path.exists()) == (1, True)
        assert err.strip() == "Stopped before all was sent: what was not accepted stays."


def test_a_full_disk_keeps_everything(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    paths = [turn(transcripts, str(n), noise(400_000, n)) for n in range(3)]
    limited = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, -1))\n{COLLECT}"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, *command(server, tmp_path, "--once")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "make room" in line
    assert all(path.exists() for path in paths)
    assert server.requests == []


def test_memory_does_not_grow_with_what_is_sent(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    measured = (
        "import atexit, re, sys\n"
        "from pathlib import Path\n"
        "def tell():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    sys.stderr.write('peak ' + re.search(r'VmHWM:\\s+(\\d+)', status)[1] + '\\n')\n"
        "atexit.register(tell)\n" + COLLECT
    )

    def peak_mb() -> float:
        done = subprocess.run(
            [sys.executable, "-c", measured, *command(server, tmp_path, "--once")],
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stderr.split("peak ")[1]) / 1000

    server.keep_content = False
    turn(transcripts)
    small = peak_mb()
    block = random.Random(1).randbytes(50_000).hex()
    for number in range(14):
        turn(transcripts, str(number), json.dumps([number, block * 9]))
    turn(transcripts, "large", json.dumps([block * 110]))
    large = peak_mb()
    assert sum(server.accepted.values()) == 16
    assert large - small < 10  # MB, of 23 that were sent


# Settings


def test_an_option_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "collector.yaml"
    file.write_text(
        "ingress_server_url: https://file.example/up\n"
        "ingress_content_service_name: 123\n"
        "collection_interval: 60\n"
        "cleanup_after_send: false\n"
        f"feedback_storage: {tmp_path}\n"
        "ingress_server_auth_token: 12345\n"
    )
    environment = {
        "LIGHTSPEED_INGRESS_URL": "https://environment.example/up",
        "LIGHTSPEED_COLLECT_INTERVAL": "70",
        "LIGHTSPEED_TRANSCRIPTS_STORAGE": "",
    }
    found = load_config(file, environment, {"collection_interval": 80.0, "destination": None})
    assert found.ingress_server_url == "https://environment.example/up"
    assert (found.collection_interval, found.cleanup_after_send) == (80, False)
    assert found.ingress_content_service_name == "123"
    assert found.transcripts_storage is None
    assert found.ingress_server_auth_token is not None
    assert found.ingress_server_auth_token.get_secret_value() == "12345"
    assert "12345" not in repr(found) + str(found) + found.model_dump_json()


def test_every_setting_has_a_variable_and_the_contracts_defaults() -> None:
    assert set(ENVIRONMENT) == set(CollectorConfig.model_fields)
    assert all(field.description for field in CollectorConfig.model_fields.values())
    off = CollectorConfig(enabled=False)
    assert (off.collection_interval, off.retry_interval) == (7200, 300)
    assert (off.cleanup_after_send, off.connection_timeout) == (True, 30)


GOOD = {
    "ingress_server_url": "https://ingress.example/up",
    "ingress_content_service_name": "lightspeed",
    "feedback_storage": "/data/feedback",
}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ingress_server_url": None}, "ingress_server_url is missing"),
        ({"ingress_content_service_name": None}, "ingress_content_service_name is missing"),
        ({"feedback_storage": None}, "set at least one"),
        ({"transcripts_storage": "/data/feedback"}, "lie within each other"),
        ({"transcripts_storage": "/data"}, "lie within each other"),
        ({"ingress_server_url": "ftp://x"}, "write https://host/path (it is 'ftp://x')"),
        ({"ingress_server_url": "https://u:tok-3f9a2c-secret@x/"}, "user or password"),
        ({"ingress_server_url": "https://x/ y"}, "spaces"),
        ({"ingress_server_url": "https://x:99999/"}, "ort"),
        ({"ingress_content_service_name": "a\r\nX: b"}, "ingress_content_service_name"),
        ({"destination": "pigeon"}, "'raw' or 'multipart' (it is 'pigeon')"),
        ({"max_archive_bytes": 5}, "max_archive_bytes"),
        ({"connection_timeout": "inf"}, "connection_timeout"),
        ({"colection_interval": 5}, "colection_interval: unknown; known are enabled"),
        ({"ingress_server_auth_token": "tok-3f9a2c-secret\nX-Evil: 1"}, "holds spaces"),
        ({"ingress_server_auth_token": ["tok-3f9a2c-secret"]}, "ingress_server_auth_token"),
        (
            {"ingress_server_auth_token": TOKEN, "ingress_server_auth_token_file": "/x"},
            "leave one out",
        ),
        (
            {"ingress_server_auth_token": TOKEN, "ingress_server_url": "http://ingress.example/"},
            "to ingress.example readable by anyone",
        ),
        (
            {"ingress_server_auth_token_file": "/x", "ingress_server_url": "http://10.0.0.1/"},
            "use https",
        ),
    ],
)
def test_a_wrong_setting_is_named_and_the_token_never(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as fault:
        load_config(None, {}, {**GOOD, **settings})
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)
    assert TOKEN not in str(fault.value)
    assert fault.value.__cause__ is None


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]/", "https://ingress.example/"]
)
def test_a_token_may_go_where_nobody_listens_in(url: str) -> None:
    load_config(None, {}, {**GOOD, "ingress_server_url": url, "ingress_server_auth_token": TOKEN})


def test_a_token_goes_over_http_where_that_is_wanted() -> None:
    wanted = {"ingress_server_url": "http://ingress.example/", "allow_token_over_http": True}
    load_config(None, {"LIGHTSPEED_INGRESS_TOKEN": TOKEN}, {**GOOD, **wanted})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [tok-3f9a2c-secret", "no YAML at line 1"),
        ("- a", "are no settings"),
        ("1: a", "are no settings"),
        ("tok-3f9a2c-secret", "are no settings"),
        (b"\xff\xfe\x00", "no YAML"),
    ],
)
def test_a_file_that_holds_no_settings_is_said(
    text: str | bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "collector.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigurationError, match=said) as fault:
        load_config(path, {}, {})
    assert TOKEN not in str(fault.value)


def test_a_token_file_is_read_again_in_every_round(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    token_file = tmp_path / "token"
    for token in ("first", "second"):
        turn(transcripts)
        token_file.write_text(token)
        collect(server, tmp_path, ingress_server_auth_token_file=token_file)
    assert [r.headers["authorization"] for r in server.requests] == [
        "Bearer first",
        "Bearer second",
    ]
    turn(transcripts)
    for content in ("", f"{TOKEN} {TOKEN}"):
        token_file.write_text(content)
        (fault,) = collect(server, tmp_path, ingress_server_auth_token_file=token_file).faults
        assert "holds no token" in fault
        assert TOKEN not in fault
    token_file.unlink()
    (fault,) = collect(server, tmp_path, ingress_server_auth_token_file=token_file).faults
    assert "can't be read (No such file" in fault


# The command


def test_the_command_says_what_it_did(
    server: RecordingServer, tmp_path: Path, transcripts: Path
) -> None:
    turn(transcripts)
    server.answers = [(403, {}, b"")]
    run = CliRunner().invoke
    refused = run(cli.app, command(server, tmp_path, "--once"))
    assert refused.exit_code == 1
    assert "403 Forbidden: check the token. Its files stay." in refused.stderr
    kept = run(cli.app, command(server, tmp_path, "--once", "--keep"))
    assert kept.exit_code == 0
    assert re.fullmatch(
        r"Sent 1 files \(8 bytes\) in 1 archives \(\d+ bytes\), removed 0, \d+\.\d s\.\n",
        kept.stdout,
    )
    assert run(cli.app, command(server, tmp_path, "--once")).stdout.startswith("Sent 0 files")
    assert visible(transcripts) == []


def test_a_storage_that_is_not_there_yet_is_nothing_to_do(
    server: RecordingServer, tmp_path: Path
) -> None:
    done = CliRunner().invoke(cli.app, command(server, tmp_path, "--once"))
    assert done.exit_code == 0
    assert visible(tmp_path) == []


def test_switched_off_it_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTSPEED_COLLECT_ENABLED", "false")
    done = CliRunner().invoke(cli.app, [])
    assert done.exit_code == 0
    assert "`enabled` is false" in done.stderr


def test_no_option_takes_a_token() -> None:
    shown = CliRunner().invoke(cli.app, ["--help"], terminal_width=200).stdout
    assert set(re.findall(r"--[a-z-]*token[a-z-]*", shown)) == {"--token-file"}


def test_help_loads_neither_the_host_nor_a_model_nor_a_client() -> None:
    program = ALONE + (
        "from lightspeed_providers.transcripts.collect.cli import app\n"
        "import lightspeed_providers.transcripts.collect.settings\n"
        "import lightspeed_providers.transcripts.collect.collector\n"
        "heavy = {'torch', 'llama_stack', 'llama_stack_api', 'httpx', 'tenacity', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
