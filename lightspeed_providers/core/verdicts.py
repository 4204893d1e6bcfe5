"""What a shield is asked and what it answers.

Directions come from a shield's name (see `direction_of` in `safety/routing.py`); the words are
shared because responses records verdicts that safety gives.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

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
    took_ms: float = Field(default=0.0, ge=0, description="Milliseconds the check took.")
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


class ShieldRunner(Protocol):
    """The shield policy as other rooms see it."""

    @property
    def refusals(self) -> frozenset[str]:
        """Every message that a blocked text can be answered with."""
        ...

    def screens(self, direction: Direction) -> bool:
        """Whether any shield watches this direction."""
        ...

    async def screen(
        self, direction: Direction, text: str, *, history: Sequence[str] = ()
    ) -> Screening:
        """Run every shield of the direction; a shield that errs blocks."""
        ...
