"""From an installed package to a running, ready server, in one command."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import httpx
from rich.console import Console

from lightspeed_providers.core.errors import ConfigurationError, UnavailableError
from lightspeed_providers.core.paths import state_dir

HOST = "127.0.0.1"
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 30.0

_out = Console(stderr=True, highlight=False)


def run(port: int, *, verbose: bool) -> int:
    """Set up, start the server, say when it is ready; return its exit code when it ends."""
    _check_port(port)
    _set_up()
    log = None if verbose else state_dir() / "server.log"
    server = _start(port, log)
    with _forwarded_signals(server):
        try:
            _wait_until_ready(server, port)
            if server.poll() is None:
                _say_ready(port, log)
            code = server.wait()
        except KeyboardInterrupt:
            _out.print("Stopping …")
            code = _stop(server)
        except UnavailableError:
            _stop(server)
            raise
    if code in (0, -signal.SIGINT, -signal.SIGTERM):
        return 0
    if log is not None:
        _out.print(f"{_last_line(log)}\nThe server ended with status {code}: see {log}")
    return code


def _start(port: int, log: Path | None) -> subprocess.Popen[bytes]:
    # The console script beside this interpreter, whatever PATH says.
    command = [str(Path(sys.executable).with_name("llama")), "stack", "run", "lightspeed"]
    command += ["--port", str(port)]
    if log is None:
        return subprocess.Popen(command)
    _out.print(f"Starting; the log goes to {log}")
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _set_up() -> None:
    from lightspeed_providers.cli.init import write_user_files

    for line in write_user_files():
        if line.startswith("written"):
            _out.print(line)
    if os.environ.get("LIGHTSPEED_INDEX", "demo") == "demo":
        from lightspeed_providers.product_rag.cli import demo

        demo()


def _check_port(port: int) -> None:
    host = os.environ.get("LIGHTSPEED_HOST", HOST)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as fault:
            raise ConfigurationError(
                f"Port {port} on {host} can't be used ({fault.strerror}): "
                f"stop what listens there, or choose another, e.g. `--port {port + 1}`."
            ) from fault


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until every model is loaded, or the server has ended."""
    deadline = time.monotonic() + START_TIMEOUT_S
    reason = "it does not answer"
    with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=2, trust_env=False) as client:
        while time.monotonic() < deadline:
            if server.poll() is not None:
                return
            with contextlib.suppress(httpx.HTTPError, ValueError):
                answer = client.get("/readiness")
                if answer.status_code == httpx.codes.OK:
                    return
                status = answer.json()
                reason = status.get("reason", reason)
                if any(c["state"] == "failed" for c in status.get("components", [])):
                    raise UnavailableError(f"The server can't answer. {reason}")
            time.sleep(0.25)
    raise UnavailableError(f"The server was not ready after {START_TIMEOUT_S:.0f} s: {reason}.")


def _say_ready(port: int, log: Path | None) -> None:
    address = f"http://{HOST}:{port}"
    if log is not None:
        for model in _models(address):
            _out.print(model)
    option = "" if port == 8321 else f" --url {address}"
    line = f'{_command()} ask "How do I create a superuser?"{option}'
    _out.print(f"\n[bold green]Ready[/] on {address}. In another terminal:\n")
    _out.print(f"    {line}\n", soft_wrap=True)


def _models(address: str) -> Iterator[str]:
    """Yield a line for each local model: its name and the device that it runs on."""
    answer = httpx.get(f"{address}/readiness", timeout=10, trust_env=False)
    for component in answer.json()["components"]:
        yield f"{component['name']}: {component['message']}"


def _command() -> str:
    """Return how the user can type `lightspeed`: by name, or by its path from here."""
    ours = Path(sys.executable).with_name("lightspeed")
    found = shutil.which("lightspeed")
    if found is not None and Path(found).samefile(ours):
        return "lightspeed"
    with contextlib.suppress(ValueError):
        return str(ours.relative_to(Path.cwd()))
    return str(ours)


@contextlib.contextmanager
def _forwarded_signals(server: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass SIGTERM on; Ctrl-C reaches the server by itself, as it shares our terminal."""

    def forward(number: int, _: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            server.send_signal(number)

    before = signal.signal(signal.SIGTERM, forward)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(server: subprocess.Popen[bytes]) -> int:
    """Let the server finish what it has accepted, then end it."""
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
    try:
        return server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()
