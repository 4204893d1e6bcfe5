"""How long a server takes to start and what it holds at rest: ours and the stock starter.

    make bench
    python benchmarks/start_and_answer.py --starter-python PATH

Both are started in turn in this one run, each with a fresh home. The starter needs packages that
this project does not (`llama stack list-deps starter` names them): give the Python of an
environment that has them, or only our half is measured.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

QUESTION = "How do I create a superuser?"
START_TIMEOUT_S = 180
REST_S = 10


@dataclass
class Measured:
    """What one server was seen to do; seconds and MB, None where it does not apply."""

    health_s: float
    ready_s: float | None
    rest_mb: float
    answer_s: float | None
    answered_mb: float | None


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def server(python: Path, distribution: str, home: Path) -> Iterator[tuple[int, str, float]]:
    """Start a distribution; give its process id, address and start time; stop it at the end."""
    port = free_port()
    started = time.perf_counter()
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [str(python.with_name("llama")), "stack", "run", distribution, "--port", str(port)],
            env={**os.environ, **tokenizer(), "HOME": str(home)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process.pid, f"http://127.0.0.1:{port}", started
        finally:
            process.terminate()
            process.wait(60)


def tokenizer() -> dict[str, str]:
    """Return where tiktoken finds its file without a network, for a server that has none."""
    from lightspeed_providers.core.host import prepare_host

    prepare_host()
    return {"TIKTOKEN_CACHE_DIR": os.environ["TIKTOKEN_CACHE_DIR"]}


def wait_for(url: str, started: float, pid: int) -> float:
    """Return the seconds from start until the address answers 200."""
    while time.perf_counter() - started < START_TIMEOUT_S:
        if not Path(f"/proc/{pid}/statm").exists() or not Path(f"/proc/{pid}/statm").read_text():
            break
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=2, trust_env=False).status_code == httpx.codes.OK:
                return time.perf_counter() - started
        time.sleep(0.05)
    raise SystemExit(f"{url} did not answer: see the server's log")


def measure(python: Path, distribution: str, home: Path, *, answers: bool) -> Measured:
    """Start a distribution and watch it."""
    with server(python, distribution, home) as (pid, address, started):
        health = wait_for(f"{address}/v1/health", started, pid)
        ready = wait_for(f"{address}/readiness", started, pid) if answers else None
        time.sleep(REST_S)
        rest = resident_mb(pid)
        if not answers:
            return Measured(health, ready, rest, None, None)
        asked = time.perf_counter()
        reply = httpx.post(
            f"{address}/v1/responses",
            json={"model": "lightspeed", "input": QUESTION},
            timeout=120,
            trust_env=False,
        )
        reply.raise_for_status()
        return Measured(health, ready, rest, time.perf_counter() - asked, resident_mb(pid))


def main() -> None:
    """Measure both and print a table and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--starter-python", type=Path, help="Python that the starter runs with")
    parser.add_argument("--home", type=Path, help="Home with a built demo index, to save time")
    options = parser.parse_args()
    starter_python = options.starter_python
    ours_python = Path(sys.executable)
    with tempfile.TemporaryDirectory() as fresh, tempfile.TemporaryDirectory() as home:
        ours_home = str(options.home or fresh)
        env = {**os.environ, "HOME": ours_home}
        for command in ("init", "demo"):
            subprocess.run([str(ours_python.with_name("lightspeed")), command], env=env, check=True)
        results = {"lightspeed": measure(ours_python, "lightspeed", Path(ours_home), answers=True)}
        if starter_python is not None:
            results["starter"] = measure(starter_python, "starter", Path(home), answers=False)
    print(f"{'':12}{'health s':>10}{'ready s':>10}{'rest MB':>10}{'answer s':>10}{'then MB':>10}")
    for name, m in results.items():
        cells = (m.health_s, m.ready_s, m.rest_mb, m.answer_s, m.answered_mb)
        print(f"{name:12}" + "".join(f"{'-' if c is None else f'{c:.1f}':>10}" for c in cells))
    if starter_python is not None:
        ours, stock = results["lightspeed"], results["starter"]
        ratios = {
            "health": ours.health_s / stock.health_s,
            "rest": ours.rest_mb / stock.rest_mb,
        }
        print("ours / starter:", json.dumps({k: round(v, 2) for k, v in ratios.items()}))


if __name__ == "__main__":
    main()
