"""Starts llama.cpp in a child process, waits for its model and starts it again if it dies."""

import asyncio
import json
import logging
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lightspeed_providers.core.devices import requested_device, share_cores
from lightspeed_providers.core.errors import (
    ConfigurationError,
    LightspeedError,
    ModelLoadingError,
    UnavailableError,
)
from lightspeed_providers.core.model_packages import language_model_path
from lightspeed_providers.core.readiness import State, board

logger = logging.getLogger(__name__)

COMPONENT = "llama-cpp"
_PROBE_S = 5.0
_SETTLED_S = 60.0
"""A server that dies again sooner than this after a restart is not restarted."""


@dataclass(frozen=True)
class ServerSettings:
    """What the child is told."""

    model: str
    alias: str
    n_ctx: int
    n_parallel: int
    n_threads: int | None
    gpu_layers: int
    port: int
    chat_template: str


def gpu_layers(configured: int | str) -> int:
    """Return how many layers to ask the GPU for: -1 is all, 0 none."""
    if requested_device() == "cpu":
        return 0
    return configured if isinstance(configured, int) else -1


class LlamaServer:
    """One llama.cpp server on loopback that only this process has the key to."""

    def __init__(self, settings: ServerSettings, load_timeout_s: float) -> None:
        self.api_key = secrets.token_urlsafe(24)
        self._settings = settings
        self._load_timeout_s = load_timeout_s
        self._lock = threading.Lock()
        self._ready: Future[str] | None = None
        self._child: subprocess.Popen[str] | None = None
        self._errors: deque[str] = deque(maxlen=20)
        self._restarted_at = float("-inf")
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """The child's process id, if it was started."""
        return self._child.pid if self._child is not None else None

    def start_loading(self) -> None:
        """Start the child and its model in a thread, once."""
        with self._lock:
            if self._ready is None:
                self._start()

    async def url(self) -> str:
        """Return the address of a server that answers, restarting a dead one, or raise a 503."""
        url = await self._loaded_within(self._load_timeout_s)
        if not await _answers(url):
            self._kill()
            raise UnavailableError(
                f"Language model '{self._settings.alias}' did not answer within {_PROBE_S:.0f} s "
                "and was stopped: the next request starts it again."
            )
        return url

    def stop(self) -> None:
        """End the child; it does not come back."""
        self._stopped = True
        child = self._child
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        try:
            child.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self._kill()

    async def _loaded_within(self, timeout_s: float) -> str:
        with self._lock:
            ready = self._restarted_if_dead()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(ready), timeout_s)
        except TimeoutError as fault:
            raise ModelLoadingError(
                f"Language model '{self._settings.alias}' is still loading: try again in a moment."
            ) from fault
        except LightspeedError as fault:
            raise UnavailableError(str(fault)) from fault

    def _restarted_if_dead(self) -> "Future[str]":
        if self._ready is None:
            return self._start()
        if not self._ready.done() or self._ready.exception() is not None:
            return self._ready
        code = self._child.poll() if self._child is not None else None
        if code is None:
            return self._ready
        if self._stopped or time.monotonic() - self._restarted_at < _SETTLED_S:
            raise UnavailableError(
                f"Language model '{self._settings.alias}' stopped again (exit status {code}): wait "
                "a minute; if it goes on, look for lack of memory or choose another model."
            )
        logger.warning("llama.cpp stopped with exit status %s: starting it again", code)
        self._restarted_at = time.monotonic()
        return self._start()

    def _start(self) -> "Future[str]":
        ready: Future[str] = Future()
        ready.set_running_or_notify_cancel()  # a cancelled request must not cancel the loading
        self._ready = ready
        self._report(State.LOADING, "loading")
        threading.Thread(target=self._load, args=(ready,), name=COMPONENT, daemon=True).start()
        return ready

    def _load(self, ready: "Future[str]") -> None:
        try:
            path = language_model_path(self._settings.model, self._report_copy)
            url, device = self._spawn(path)
        except LightspeedError as fault:
            self._report(State.FAILED, str(fault))
            logger.error("%s", fault)
            ready.set_exception(fault)
            return
        self._report(State.READY, f"on {device}")
        if device == "cpu" and requested_device() == "cuda":
            logger.warning("This build of xllamacpp has no GPU support: the model runs on the CPU")
        logger.info("Language model %s is loaded, on %s", self._settings.alias, device)
        ready.set_result(url)

    def _spawn(self, path: Path) -> tuple[str, str]:
        self._report(State.LOADING, "loading")
        self._errors.clear()
        share_cores()
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "lightspeed_providers.llama_cpp.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which ends the child in its time
        )
        self._child = child
        threading.Thread(target=self._keep_errors, args=(child,), daemon=True).start()
        words = {**asdict(self._settings), "model": str(path), "api_key": self.api_key}
        try:
            assert child.stdin is not None  # noqa: S101  # it is a pipe
            assert child.stdout is not None  # noqa: S101  # it is a pipe
            # The key travels by pipe: arguments and environment can be read by others.
            child.stdin.write(json.dumps(words) + "\n")
            child.stdin.flush()
            said = json.loads(child.stdout.readline() or "{}")
        except (OSError, ValueError):
            said = {}
        if self._stopped:
            self._kill()
        if "url" not in said:
            child.kill()
            raise ConfigurationError(self._why_not(child.wait(), said.get("error")))
        return said["url"], said["device"]

    def _why_not(self, code: int, error: str | None) -> str:
        lines = [line.split(" E ")[-1].strip() for line in self._errors if " E " in line]
        reason = lines[-1] if lines else error or f"exit status {code}"
        return (
            f"Language model '{self._settings.model}' can't be loaded ({reason}): check the file, "
            "the free memory and the port, then restart the server."
        )

    def _keep_errors(self, child: "subprocess.Popen[str]") -> None:
        assert child.stderr is not None  # noqa: S101  # it is a pipe
        for line in child.stderr:
            self._errors.append(line.rstrip())

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def _report_copy(self, done: int, size: int) -> None:
        self._report(State.LOADING, f"unpacking, {done // 1_000_000} of {size // 1_000_000} MB")

    def _report(self, state: State, message: str) -> None:
        board.report(COMPONENT, state, f"{self._settings.alias}: {message}")


async def _answers(url: str) -> bool:
    """Tell whether the server behind an address still speaks HTTP."""
    address = urlsplit(url)
    try:
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                writer.write(b"GET /health HTTP/1.0\r\n\r\n")
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in status
