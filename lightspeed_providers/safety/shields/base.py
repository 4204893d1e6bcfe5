"""What a shield is: its options, its one question, and the three answers to it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.verdicts import Direction

DEFAULT_REFUSAL = "I cannot process this request due to policy restrictions."

_INLINE_CHARACTERS = 20_000
"""A text up to here is scanned in less time than a thread takes to wake."""


@dataclass(frozen=True)
class Allow:
    """The text may pass."""


@dataclass(frozen=True)
class Block:
    """The text may not pass."""


@dataclass(frozen=True)
class Replace:
    """The text may pass as rewritten here."""

    text: str
    replaced: Mapping[str, int]
    """How many places were rewritten, by what they held."""


type Answer = Allow | Block | Replace


class Shield(ABC):
    """One check of one text."""

    replaces: ClassVar[bool] = False
    """Whether it rewrites texts; such shields run first, each on what the one before it left."""

    @abstractmethod
    async def check(self, text: str, direction: Direction, history: Sequence[str]) -> Answer:
        """Say what becomes of the text; earlier texts of the conversation come oldest first."""


class Embed(Protocol):
    """Turns texts into vectors, one row each."""

    async def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        """Return the rows in the order of the texts."""
        ...


type Embedder = Callable[[str], Embed]
"""From an embedding model's id to what embeds with it."""


class OnError(StrEnum):
    """What a text gets when the check itself fails."""

    BLOCK = "block"
    ALLOW = "allow"


class ShieldOptions(BaseModel):
    """The options that every kind of shield has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    needs_embeddings: ClassVar[bool] = False

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

    def build(self, embedder: Embedder | None) -> Shield:
        """Return the shield; `embedder` is there where `needs_embeddings` says so."""
        raise NotImplementedError


async def scan[Found](function: Callable[[str], Found], text: str) -> Found:
    """Call a function of a text, in a thread where a long text would hold up the event loop."""
    if len(text) <= _INLINE_CHARACTERS:
        return function(text)
    return await asyncio.to_thread(function, text)
