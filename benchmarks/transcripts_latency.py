"""What recording turns costs the answers: p50 and p99 with transcripts on and off, in one run.

    python benchmarks/transcripts_latency.py
    python benchmarks/transcripts_latency.py --durability strict

Three real servers of this distribution stand beside each other: transcripts on, transcripts off,
and, for context, the stock responses provider (`inline::builtin`). They get requests in short
turns, because a machine is never equally busy for long. Requests leave at fixed times, whether
earlier ones are answered or not, and a latency counts from then. The language model is *canned*: a
small process on this machine that always says the same, so that only the servers differ.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from start_and_answer import START_TIMEOUT_S, free_port, tokenizer, wait_for

ROOT = Path(__file__).parents[1]
QUESTION = "How do I create a superuser, and how do I give it a password later? " * 3
ANSWER = "Run the command createsuperuser of manage.py and answer what it asks. " * 6
WARM_UP_REQUESTS = 60
WITHIN_MS = 1.0
RESAMPLES = 2000

type Configuration = dict[str, Any]  # Any: a run configuration is the host's


@dataclass
class Server:
    """A running server and what was seen of it."""

    name: str
    process: "subprocess.Popen[bytes]"
    port: int
    model: str
    home: Path
    blocks: list[np.ndarray] = field(default_factory=list)
    cpu_s: float = 0.0
    sent: int = 0

    @property
    def latencies(self) -> np.ndarray:
        """Those of all blocks, in ms."""
        return np.concatenate(self.blocks)


def configuration(home: Path, name: str, durability: str) -> Configuration:
    """Return the distribution with light shields, no retrieval and the responses of that name."""
    config: Configuration = yaml.safe_load((ROOT / "run.yaml").read_text())
    config["external_apis_dir"] = str(ROOT / "distributions/lightspeed/apis.d")
    providers = config["providers"]
    [safety], [responses] = providers["safety"], providers["responses"]
    [transcripts] = providers["transcripts"]
    forbidden = safety["config"]["shields"]["input_forbidden"]
    safety["config"]["shields"] = {"input_forbidden": forbidden}
    # They would ask for an index, and load models while the requests come.
    for api in ("tool_runtime", "vector_io", "inference"):
        kept = [p for p in providers[api] if p.get("module") != "lightspeed_providers"]
        providers[api] = kept
    del config["vector_stores"]
    resources = config["registered_resources"]
    wanted = {"lightspeed", *safety["config"]["shields"]}
    resources["shields"] = [s for s in resources["shields"] if s["shield_id"] in wanted]
    responses["config"]["profiles"] = [{"retrieval": {"mode": "off"}}]
    transcripts["config"]["transcripts_enabled"] = name == "on"
    transcripts["config"]["durability"] = durability
    if name == "stock":
        persistence = responses["config"]["persistence"]
        providers["responses"] = [
            {
                "provider_id": "builtin",
                "provider_type": "inline::builtin",
                "config": {"persistence": persistence},
            }
        ]
        for api in ("transcripts", "readiness"):
            config["apis"].remove(api)
            del providers[api]
    return config


@contextlib.contextmanager
def started(home: Path, name: str, upstream: str, durability: str) -> Iterator[Server]:
    """Start one server; stop it at the end."""
    home.mkdir()
    file = home / "run.yaml"
    file.write_text(yaml.safe_dump(configuration(home, name, durability)))
    port = free_port()
    environment = {
        **os.environ,
        **tokenizer(),
        "HOME": str(home),
        "LIGHTSPEED_STATE_DIR": str(home / "state"),
        "LIGHTSPEED_MODEL": "openai/canned",
        "OPENAI_API_KEY": "none",
        "LLAMA_STACK_LOGGING": "all=error",  # the host's log costs a tenth of a request
        "OPENAI_BASE_URL": upstream,
    }
    command = [str(Path(sys.executable).with_name("llama")), "stack", "run", str(file)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            model = "openai/canned" if name == "stock" else "lightspeed"
            yield Server(name, process, port, model, home)
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def canned_upstream() -> Iterator[str]:
    """Start the canned language model in its own process."""
    port = free_port()
    process = subprocess.Popen([sys.executable, __file__, "--serve-canned", str(port)])
    try:
        address = f"http://127.0.0.1:{port}/v1"
        wait_for(f"{address}/models", time.perf_counter(), process.pid)
        yield address
    finally:
        process.terminate()
        process.wait(10)


async def serve_canned(port: int) -> None:
    """Be a language model that always says the same."""
    chunks = [{"role": "assistant", "content": ""}]
    chunks += [{"content": ANSWER[at : at + 60]} for at in range(0, len(ANSWER), 60)]
    events: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in chunks
    ]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 60, "completion_tokens": 80, "total_tokens": 140}
    events.append({"choices": [], "usage": usage})
    about = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "canned"}
    stream = "".join(f"data: {json.dumps(about | event)}\n\n" for event in events)
    models = {"object": "list", "data": [{"id": "canned", "object": "model", "owned_by": "us"}]}
    streamed = reply("text/event-stream", f"{stream}data: [DONE]\n\n")
    listed = reply("application/json", json.dumps(models))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                if "content-length: " in head:
                    length = int(head.split("content-length: ")[1].split("\r\n")[0])
                    await reader.readexactly(length)
                writer.write(streamed if head.startswith("post") else listed)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await server.serve_forever()


def reply(kind: str, body: str) -> bytes:
    """Return a whole HTTP answer."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body.encode()


async def ask(server: Server, due: float) -> float:
    """Return the ms from the time at which the request was due until its answer was read."""
    body = json.dumps({"model": server.model, "input": QUESTION}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    answered = await reader.read()
    elapsed = time.perf_counter() - due
    writer.close()
    if b" 200 " not in answered[:16] or b'"completed"' not in answered:
        raise SystemExit(f"{server.name} answered wrongly: {answered[:600]!r}")
    return elapsed * 1000


def answers(server: Server) -> None:
    """Wait until a server answers; say why where it can't start."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while server.process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{server.port}/v1/health", trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise SystemExit((server.home / "server.log").read_text()[-1000:])


async def block(server: Server, requests: int, per_second: float) -> None:
    """Send a block of requests at fixed times and note how long each took."""
    before = cpu_s(server.process.pid)
    tasks = []
    began = time.perf_counter() + 0.05
    for number in range(requests):
        due = began + number / per_second
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(ask(server, due)))
    latencies = np.array(await asyncio.gather(*tasks))
    await asyncio.sleep(0.2)  # what is written after the answers belongs to their server
    server.blocks.append(latencies)
    server.cpu_s += cpu_s(server.process.pid) - before
    server.sent += requests


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def difference(on: Server, off: Server, percent: float) -> tuple[float, float, float]:
    """Return by how many ms `on` is slower at a percentile, with a 95 % bootstrap interval.

    Whole blocks are drawn, in pairs, because requests of one block share what the machine did.
    """
    rng = np.random.default_rng(0)
    pairs = len(on.blocks)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = rng.integers(pairs, size=pairs)
        high = np.percentile(np.concatenate([on.blocks[n] for n in chosen]), percent)
        low = np.percentile(np.concatenate([off.blocks[n] for n in chosen]), percent)
        drawn.append(high - low)
    seen = np.percentile(on.latencies, percent) - np.percentile(off.latencies, percent)
    return float(seen), *(float(edge) for edge in np.percentile(drawn, (2.5, 97.5)))


def rows(home: Path) -> int:
    """Return how many turns a stopped server's database has."""
    database = sqlite3.connect(home / "state/transcripts.db")
    with contextlib.closing(database):
        return int(database.execute("SELECT count(*) FROM lightspeed_turns").fetchone()[0])


async def measure(servers: list[Server], options: argparse.Namespace) -> None:
    """Warm all servers up, then give each its block in every round, in changing order."""
    for server in servers:
        await block(server, WARM_UP_REQUESTS, options.rate)
        server.blocks.clear()
        server.cpu_s = 0.0
    order = random.Random(0)
    for _ in range(options.rounds):
        for server in order.sample(servers, len(servers)):
            await block(server, round(options.rate * options.block_s), options.rate)


def report(servers: list[Server], options: argparse.Namespace) -> None:
    """Print what was measured."""
    print(f"{options.rate:g} requests a second, durability {options.durability}, canned model")
    print(f"{'':8}{'requests':>10}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'CPU ms/request':>16}")
    for server in servers:
        p50, p99 = np.percentile(server.latencies, (50, 99))
        count = len(server.latencies)
        print(
            f"{server.name:8}{count:10}{p50:9.2f}{p99:9.2f}{server.latencies.max():9.2f}"
            f"{server.cpu_s / count * 1000:16.2f}"
        )
    on, off = servers[:2]
    for percent in (50, 99):
        seen, low, high = difference(on, off, percent)
        print(f"on - off at p{percent}: {seen:+.2f} ms (95 % interval {low:+.2f} to {high:+.2f})")
    seen, _, high = difference(on, off, 99)
    verdict = "yes" if high <= WITHIN_MS else "yes, but not surely" if seen <= WITHIN_MS else "no"
    print(f"p99 within {WITHIN_MS:g} ms: {verdict}")


def main() -> None:
    """Start the servers, measure, stop them and count the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rate", type=float, default=50, help="Requests a second")
    parser.add_argument("--rounds", type=int, default=12, help="Blocks of each server")
    parser.add_argument("--block-s", type=float, default=5, help="Seconds of a block")
    parser.add_argument("--durability", choices=("queued", "strict"), default="queued")
    parser.add_argument("--without-stock", action="store_true", help="Leave the stock provider out")
    parser.add_argument("--serve-canned", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_canned:
        asyncio.run(serve_canned(options.serve_canned))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers have to be stopped
    names = ["on", "off"] if options.without_stock else ["on", "off", "stock"]
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        upstream = stack.enter_context(canned_upstream())
        homes = {name: Path(directory) / name for name in names}
        with contextlib.ExitStack() as running:
            servers = [
                running.enter_context(started(homes[name], name, upstream, options.durability))
                for name in names
            ]
            for server in servers:
                answers(server)
            asyncio.run(measure(servers, options))
            report(servers, options)
        written = rows(homes["on"])
        print(f"turns on: {written} written, {servers[0].sent - written} missing")


if __name__ == "__main__":
    main()
