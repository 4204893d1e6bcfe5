"""What a shield is: its options, its one question, and the three answers to it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.core.verdicts import Context, Direction

DEFAULT_REFUSAL = "I cannot process this request due to policy restrictions."

_INLINE_CHARACTERS = 5_000
"""A text up to here is scanned in less time than a thread takes to wake."""


@dataclass(frozen=True)
class Allow:
    """The text may pass."""

    score: float | None = None
    stage: str | None = None


@dataclass(frozen=True)
class Block:
    """The text may not pass."""

    score: float | None = None
    categories: Mapping[str, float] = field(default_factory=dict)
    stage: str | None = None


@dataclass(frozen=True)
class Replace:
    """The text may pass as rewritten here."""

    text: str
    replaced: Mapping[str, int]
    """How many places were rewritten, by what they held."""


type Answer = Allow | Block | Replace


@dataclass(frozen=True)
class Scanned:
    """What of a streamed text a scanner lets go on now."""

    text: str
    replaced: Mapping[str, int] = field(default_factory=dict)


class Scanner(ABC):
    """Reads one text as it arrives, in time linear in it, and never waits.

    What has gone on must be what `Shield.check` would have made of the whole text: a tail that may
    still become part of a match is held back, and nothing of a match that blocks goes on. One that
    only blocks lets text go on as it came.
    """

    @abstractmethod
    def push(self, text: str) -> Scanned | Block:
        """Take new text and return what of all that is held may go on."""

    @abstractmethod
    def end(self) -> Scanned | Block:
        """Return what of the held text may go on; nothing more will come."""

    @property
    @abstractmethod
    def held(self) -> str:
        """The text that came and has not gone on yet, as it came."""


class Shield(ABC):
    """One check of one text."""

    replaces: ClassVar[bool] = False
    """Whether it rewrites texts; such shields run first, each on what the one before it left."""

    @abstractmethod
    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        """Say what becomes of the text."""

    def scanner(self, direction: Direction, context: Context) -> Scanner | None:
        """Return what reads a stream; None where the shield can only be asked at checkpoints."""
        return None

    async def aclose(self) -> None:  # noqa: B027  # most shields hold nothing
        """Let go of connections and threads."""


class Embed(Protocol):
    """Turns texts into vectors, one row each."""

    async def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        """Return the rows in the order of the texts."""
        ...


@dataclass(frozen=True)
class Message:
    """One message to a language model."""

    role: str
    content: str


class Chat(Protocol):
    """Asks a language model."""

    async def __call__(self, messages: Sequence[Message], *, max_tokens: int) -> str:
        """Return what the model says, at temperature 0; the text may be empty."""
        ...


@dataclass(frozen=True)
class Models:
    """The models that shields may ask, each by its registered id."""

    embed: Callable[[str], Embed]
    chat: Callable[[str], Chat]


class NoVerdictError(LightspeedError):
    """A model was asked for a verdict and said something else; nothing of it may be told."""

    status_code = 502


class OnError(StrEnum):
    """What a text gets when the check itself fails."""

    BLOCK = "block"
    ALLOW = "allow"


class ShieldOptions(BaseModel):
    """The options that every kind of shield has."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    remote: ClassVar[bool] = False
    """Whether a check leaves this process, so that a circuit breaker guards it."""

    kind: str = Field(description="What the shield does.")
    refusal: str = Field(
        default=DEFAULT_REFUSAL, min_length=1, description="What the user reads when it blocks."
    )
    timeout_s: float = Field(
        default=5.0,
        gt=0,
        le=600,
        description="Seconds a check may take before it counts as failed.",
    )
    on_error: OnError = Field(
        default=OnError.BLOCK, description="Whether a text passes when the check itself fails."
    )
    beside_model: bool = Field(
        default=False,
        description="Whether a model may start on a question before this shield's verdict on it. "
        "Nothing leaves before the verdict either way; what is blocked then costs a model call.",
    )
    must_block: tuple[str, ...] = Field(
        default=(), description="Texts that the shield is tested with at start: each is blocked."
    )
    must_allow: tuple[str, ...] = Field(
        default=(), description="Texts that the shield is tested with at start: each passes as is."
    )
    must_replace: dict[str, str] = Field(
        default_factory=dict,
        description="Texts that the shield is tested with at start, each with what becomes of it.",
    )

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the registered models that the shield asks."""
        return ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the shield reads when it is built; a change of one builds it anew."""
        return ()

    def build(self, models: Models) -> Shield:
        """Return the shield; nothing is loaded or asked yet."""
        raise NotImplementedError


async def scan[Found](function: Callable[[str], Found], text: str) -> Found:
    """Call a function of a text, in a thread where a long text would hold up the event loop."""
    if len(text) <= _INLINE_CHARACTERS:
        return function(text)
    return await asyncio.to_thread(function, text)
