"""What a shield is asked and what it answers.

Directions come from a shield's name (see `direction_of` in `safety/routing.py`); the words are
shared because responses records verdicts that safety gives.
"""

from asyncio import Future
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field


class Direction(StrEnum):
    """Which way a text travels."""

    INPUT = "input"
    OUTPUT = "output"
    TOOL = "tool"


class Action(StrEnum):
    """What a shield does to a text."""

    ALLOW = "allow"
    BLOCK = "block"
    REPLACE = "replace"


class Release(StrEnum):
    """When text that slow shields have yet to check may leave."""

    HOLD = "hold"
    STREAM_FIRST = "stream_first"


@dataclass(frozen=True)
class Context:
    """What a shield may know beside the text it judges."""

    history: tuple[str, ...] = ()
    """The user's earlier texts, oldest first."""
    thread: str = ""
    """Names the conversation: within it, one value keeps one placeholder. Never shown."""
    instructions: str = ""
    """The system prompt that the answer must not repeat."""
    reference: str = ""
    """What the audit log calls the text, e.g. a turn's id."""


class Verdict(BaseModel):
    """One shield's answer on one text. It never holds the text."""

    model_config = ConfigDict(frozen=True)

    shield: str = Field(description="The shield's id, e.g. `input_topic`.")
    kind: str = Field(description="What the shield does, e.g. `patterns`.")
    direction: Direction
    action: Action
    message: str | None = Field(default=None, description="What to tell the user when blocked.")
    replaced: dict[str, int] = Field(
        default_factory=dict, description="How many places were rewritten, by what they held."
    )
    score: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How sure the shield is that the text is to be blocked.",
    )
    categories: dict[str, float] = Field(
        default_factory=dict, description="Scores by category, of shields that tell them apart."
    )
    stage: str | None = Field(
        default=None, description="Which stage of a shield with several decided, e.g. `model`."
    )
    checks: int = Field(default=1, ge=0, description="How often the shield looked, for a stream.")
    took_ms: float = Field(default=0.0, ge=0, description="Milliseconds the checks took.")
    error: str | None = Field(default=None, description="Why the check itself failed, if it did.")


class Screening(BaseModel):
    """A text after all shields of one direction, with their verdicts in a fixed order."""

    model_config = ConfigDict(frozen=True)

    text: str = Field(
        description="The text with replacements made; a blocked one may only be recorded."
    )
    verdicts: tuple[Verdict, ...] = ()

    @property
    def blocked_by(self) -> Verdict | None:
        """The first blocking verdict, or None where the text may pass."""
        return next((v for v in self.verdicts if v.action is Action.BLOCK), None)


class ScreenedStream(Protocol):
    """A text that is screened while it arrives."""

    @property
    def blocked_by(self) -> Verdict | None:
        """The verdict that ended the stream; nothing more leaves then."""
        ...

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One verdict a shield, over all it has seen so far, in a fixed order."""
        ...

    @property
    def checking(self) -> Sequence[Future[Any]]:  # Any: nobody reads their results
        """The checks that run now; when one ends, more text may leave."""
        ...

    async def push(self, text: str) -> str:
        """Take new text and return what may leave now."""
        ...

    async def released(self) -> str:
        """Return what may leave since checks have ended."""
        ...

    async def end(self) -> str:
        """Wait for every check and return the rest; nothing more will come."""
        ...

    async def aclose(self) -> None:
        """End the checks that still run."""
        ...


class ShieldRunner(Protocol):
    """The shield policy as other rooms see it."""

    async def ready(self) -> None:
        """Make sure that the shields were tested; raises a `ConfigurationError` where one fails."""
        ...

    @property
    def version(self) -> str:
        """Differs where the shields, their settings or their directions differ."""
        ...

    @property
    def shield_ids(self) -> frozenset[str]:
        """The ids that are enforced here, those that stand for several among them."""
        ...

    @property
    def refusals(self) -> frozenset[str]:
        """Every message that a blocked text can be answered with."""
        ...

    @property
    def before_model(self) -> "ShieldRunner":
        """Only the shields whose verdict a model's call waits for."""
        ...

    @property
    def beside_model(self) -> "ShieldRunner":
        """Only the slow shields, whose verdict the first text that leaves waits for."""
        ...

    @property
    def rewriting(self) -> "ShieldRunner":
        """Only the shields that rewrite."""
        ...

    def choosing(self, names: Mapping[Direction, Sequence[str]]) -> "ShieldRunner":
        """Only the named shields, in directions that are named; raises where one is unknown."""
        ...

    def adding(self, shield_ids: Sequence[str]) -> "ShieldRunner":
        """These shields too, in the directions of their names."""
        ...

    def screens(self, direction: Direction) -> bool:
        """Whether any shield watches this direction."""
        ...

    async def screen(self, direction: Direction, text: str, context: Context = ...) -> Screening:
        """Run every shield of the direction; a shield that errs blocks."""
        ...

    def stream(
        self,
        direction: Direction,
        context: Context = ...,
        *,
        release: Release,
        checkpoint_chars: int,
    ) -> ScreenedStream:
        """Screen a text while it arrives."""
        ...
