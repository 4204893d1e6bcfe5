"""How far an export directory is, what it holds, and who may write into it now."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from lightspeed_providers.core.errors import ConfigurationError, UnavailableError
from lightspeed_providers.transcripts.rows import Kind

from .durable import replace_durably

STATE_NAME = ".lightspeed-export.json"
LOCK_NAME = ".lightspeed-export.lock"


class Format(StrEnum):
    """How records are written."""

    TREE = "tree"
    JSONL = "jsonl"
    PARQUET = "parquet"
    CSV = "csv"


class ExportBusyError(UnavailableError):
    """Another export writes into the directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"Another export into '{directory}' is running: wait for it or use another directory."
        )


class Holds(BaseModel):
    """What is in a directory, which stays as it was first asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format
    since: datetime | None = Field(default=None, description="Received at or after.")
    until: datetime | None = Field(default=None, description="Received before.")

    def __str__(self) -> str:
        since = f", since {self.since.isoformat()}" if self.since else ""
        until = f", until {self.until.isoformat()}" if self.until else ""
        return f"format {self.format}{since}{until}"


class State(BaseModel):
    """The last change of each kind that the directory has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    holds: Holds
    seq: dict[Kind, NonNegativeInt] = Field(default_factory=dict)

    def of(self, kind: Kind) -> int:
        """The last change of the kind that the directory has; 0 where there is none."""
        return self.seq.get(kind, 0)

    def with_seq(self, seq: Mapping[Kind, int]) -> "State":
        """The state after more changes."""
        return self.model_copy(update={"seq": {**self.seq, **seq}})


def open_state(directory: Path, holds: Holds) -> State:
    """The directory's state; an empty directory gets one."""
    path = directory / STATE_NAME
    try:
        state = State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        if any(directory.glob(f"*-*-*.{holds.format}")):
            raise ConfigurationError(
                f"'{directory}' has parts of an export but no '{STATE_NAME}': "
                "export into an empty directory."
            ) from None
        state = State(holds=holds)
        save_state(directory, state)
        return state
    except ValidationError as error:
        raise ConfigurationError(
            f"'{path}' is not a state that this version writes: export into another directory."
        ) from error
    if state.holds != holds:
        raise ConfigurationError(
            f"'{directory}' holds an export with {state.holds}, not {holds}: "
            "ask for the same or use another directory."
        )
    return state


def save_state(directory: Path, state: State) -> None:
    """Make the state last."""
    replace_durably(directory / STATE_NAME, state.model_dump_json().encode())


class Lock:
    """Lets one export at a time write into a directory, which is made where there is none."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Acquired and released in different threads.
        self._lock = FileLock(directory / LOCK_NAME, mode=0o600, thread_local=False)

    def acquire(self, wait_s: float) -> None:
        """Hold the directory, or say that another export still does."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=wait_s)
        except Timeout as error:
            raise ExportBusyError(self._directory) from error

    def release(self) -> None:
        """Let others in; harmless where the directory is not held."""
        self._lock.release()
