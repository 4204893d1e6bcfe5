"""One real server process with the real embedded model, used as the README says."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT, build_small_index, has_trace
from llama_stack_client import LlamaStackClient
from openai import OpenAI

QUESTION = "How do I create a superuser?"
OFF_TOPIC = "What is a good recipe for apple pie?"
BIN = Path(sys.executable).parent
START_TIMEOUT_S = 120


class Server:
    """`llama stack run lightspeed` as a process of its own, with a home of its own."""

    def __init__(self, home: Path, *, bin_dir: Path = BIN, log: str = "server.log") -> None:
        self.home = home
        self._log = home / log
        self.bin = bin_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        dropped = {"LLAMA_STACK_CONFIG", "LIGHTSPEED_MODEL", "LLAMA_CPP_URL"}
        kept = {k: v for k, v in os.environ.items() if k not in dropped and "_API_KEY" not in k}
        return {
            **kept,
            "HOME": str(self.home),
            "LIGHTSPEED_STATE_DIR": str(self.home / "state"),
            "LIGHTSPEED_INDEX": "small",
            "LIGHTSPEED_URL": self.url,
            "LIGHTSPEED_TRANSCRIPTS_DURABILITY": "strict",  # one test kills it after an answer
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as the server's user, from another directory."""
        return subprocess.run(
            words,
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=check,
        )

    def start(self, until: str = "/readiness") -> None:
        """Start the process and wait until a route answers 200; `/readiness` waits for models."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.bin / "llama"), "stack", "run", "lightspeed", "--port", str(self.port)],
                cwd=self.home,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log[-3000:]
            try:
                if httpx.get(f"{self.url}{until}", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise AssertionError(self.log[-3000:])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def turns(self) -> list[dict[str, Any]]:
        page = httpx.get(f"{self.url}/v1alpha/transcripts", params={"limit": 200}).json()
        return list(page["data"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("home"))
    server.run(str(BIN / "lightspeed"), "init")
    build_small_index(docs, server.home / "state" / "indexes" / "small")
    server.start()
    yield server
    server.stop(signal.SIGKILL)


def readme_blocks(language: str, word: str) -> list[str]:
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [block for block in blocks if word in block]


def test_health_answers_while_models_load_and_readiness_tells_them_apart(server: Server) -> None:
    assert httpx.get(f"{server.url}/v1/health").json()["status"] == "OK"
    assert httpx.get(f"{server.url}/readiness").json()["ready"] is True
    assert httpx.get(f"{server.url}/liveness").json() == {"alive": True}
    assert re.search(r"Device: (cpu|cuda)", server.log)


def test_the_readmes_command_line_answers_with_sources(server: Server) -> None:
    [command] = readme_blocks("bash", "lightspeed ask")
    answer = server.run("bash", "-c", command.replace(".venv/bin/", f"{BIN}/"))
    said, _, sources = answer.stdout.partition("\nSources:\n")
    assert said.strip()
    assert "HTTP Request" not in answer.stderr
    assert "Authentication  https://docs.example/5.2/auth/#creating-superusers" in sources


def test_the_readmes_curl_answers(server: Server) -> None:
    [command] = [b for b in readme_blocks("bash", "curl") if "v1/responses" in b]
    answer = server.run("bash", "-c", command.replace("http://127.0.0.1:8321", server.url))
    response = json.loads(answer.stdout)
    assert response["status"] == "completed"
    assert response["output"][-1]["content"][0]["annotations"]


@pytest.mark.parametrize("package", ["llama_stack_client", "openai"])
def test_the_readmes_python_answers(server: Server, package: str) -> None:
    [program] = readme_blocks("python", f"from {package} import")
    program = program.replace("http://127.0.0.1:8321", server.url)
    assert server.run(sys.executable, "-c", program).stdout.strip()


def test_both_python_clients_read_every_event_of_a_stream(server: Server) -> None:
    clients: list[Any] = [
        OpenAI(base_url=f"{server.url}/v1", api_key="none"),
        LlamaStackClient(base_url=server.url),
    ]
    for client in clients:
        for question in (QUESTION, OFF_TOPIC):
            events = list(client.responses.create(model="lightspeed", input=question, stream=True))
            assert events[0].type == "response.created"
            assert events[-1].type == "response.completed"
            deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
            assert "".join(deltas).strip()


def test_the_openai_clients_own_stream_helper_accumulates_the_answer(server: Server) -> None:
    client = OpenAI(base_url=f"{server.url}/v1", api_key="none")
    with client.responses.stream(model="lightspeed", input=QUESTION) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_text.strip()


def test_the_readmes_transcript_and_feedback_commands_work(server: Server) -> None:
    [commands] = readme_blocks("bash", "v1alpha/transcripts")
    listed, given = commands.replace("http://127.0.0.1:8321", server.url).split("\ncurl", 1)
    turn = json.loads(server.run("bash", "-c", listed).stdout)["data"][0]
    feedback = f"curl{given}".replace("TURN_ID", turn["turn_id"])
    assert json.loads(server.run("bash", "-c", feedback).stdout)
    kept = httpx.get(f"{server.url}/v1alpha/transcripts/{turn['turn_id']}/feedback").json()
    assert kept["data"][0]["sentiment"] == 1


def test_the_library_client_finds_the_distribution_by_name_from_anywhere(server: Server) -> None:
    program = (
        "from llama_stack.core.library_client import LlamaStackAsLibraryClient as Client\n"
        "client = Client('lightspeed')\n"
        f"print(client.responses.create(model='lightspeed', input={QUESTION!r}).output_text)\n"
    )
    assert server.run(sys.executable, "-c", program).stdout.strip()


def test_a_second_server_on_the_same_port_ends_with_one_line(server: Server) -> None:
    second = server.run(str(BIN / "lightspeed"), "up", "--port", str(server.port), check=False)
    assert second.returncode == 1
    assert second.stderr.startswith(f"lightspeed: Port {server.port} on 127.0.0.1 can't be used")
    assert second.stderr.count("\n") == 1


def test_a_killed_model_comes_back_or_says_so_in_one_line(server: Server) -> None:
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    models = [int(pid) for pid in children.read_text().split()]
    if not models:  # a thread may have started it
        tasks = Path(f"/proc/{server.process.pid}/task").glob("*/children")
        models = [int(pid) for task in tasks for pid in task.read_text().split()]
    assert models
    for pid in models:
        os.kill(pid, signal.SIGKILL)
    body = {"model": "lightspeed", "input": QUESTION}
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        answer = httpx.post(f"{server.url}/v1/responses", json=body, timeout=90)
        if answer.status_code == 200:
            break
        assert answer.status_code == 503
        assert "\n" not in answer.json()["error"]["message"]
        time.sleep(0.5)
    assert answer.status_code == 200


def test_turns_survive_kill_9_and_a_restart_is_quick(server: Server) -> None:
    httpx.post(
        f"{server.url}/v1/responses", json={"model": "lightspeed", "input": QUESTION}, timeout=90
    ).raise_for_status()
    before = server.turns()
    server.stop(signal.SIGKILL)
    server.start()
    assert server.turns() == before
    assert before[0]["question"] == QUESTION


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_cleanly_also_while_it_loads(
    server: Server, number: signal.Signals
) -> None:
    other = Server(server.home, log="other.log")
    other.start(until="/v1/health")
    assert other.stop(number) in (0, -number)
    assert not has_trace(other.log)


def test_up_says_when_it_is_ready_and_ctrl_c_stops_it(server: Server) -> None:
    port = free_port()
    up = subprocess.Popen(
        [str(BIN / "lightspeed"), "up", "--port", str(port)],
        cwd=server.home,
        env=server.environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert up.stderr is not None
    said = ""
    while f"--url http://127.0.0.1:{port}" not in said:
        line = up.stderr.readline()
        assert line, said
        said += line
    assert f"Ready on http://127.0.0.1:{port}" in said
    assert re.search(r"embeddings: .* on (cpu|cuda)", said)
    os.killpg(up.pid, signal.SIGINT)
    assert up.wait(40) == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


def test_logs_hold_no_text_of_users(server: Server) -> None:
    secret = "zebrafish-4711"
    httpx.post(
        f"{server.url}/v1/responses",
        json={"model": "lightspeed", "input": f"How do I create a superuser named {secret}?"},
        timeout=90,
    ).raise_for_status()
    assert secret not in server.log


def start_fault(server: Server, **environment: str) -> str:
    """The last line of a server that can't start."""
    failed = subprocess.run(
        [str(BIN / "llama"), "stack", "run", "lightspeed", "--port", str(free_port())],
        cwd=server.home,
        env={**server.environment, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert failed.returncode != 0
    assert not has_trace(failed.stderr)
    return failed.stderr.strip().splitlines()[-1]


def test_a_missing_index_stops_the_start_with_one_line(server: Server) -> None:
    assert "lightspeed demo" in start_fault(server, LIGHTSPEED_INDEX="nowhere")


def test_an_unusable_state_directory_stops_the_start_with_one_line(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    started = subprocess.run(
        [str(BIN / "lightspeed"), "up", "--port", str(free_port())],
        env={**server.environment, "LIGHTSPEED_STATE_DIR": str(tmp_path / "file" / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == 1
    assert "LIGHTSPEED_STATE_DIR" in started.stderr
    assert started.stderr.count("\n") == 1


def test_a_home_without_init_is_told_to_run_it(server: Server, tmp_path: Path) -> None:
    assert "lightspeed init" in start_fault(server, HOME=str(tmp_path))


def test_an_unknown_device_stops_the_start_with_one_line(server: Server) -> None:
    assert "LIGHTSPEED_DEVICE" in start_fault(server, LIGHTSPEED_DEVICE="tpu")


def test_asking_where_no_server_is_says_so_in_one_line(server: Server) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    asked = server.run(str(BIN / "lightspeed"), "ask", QUESTION, "--url", url, check=False)
    assert asked.returncode == 1
    assert (
        asked.stderr == f"lightspeed: No server answers at {url}: start one with `lightspeed up`.\n"
    )
