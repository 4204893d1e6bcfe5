"""What stands before the models for who does not come through the Responses API."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.verdicts import Release


class SideDoors(StrEnum):
    """Whether chat completions and text completions are answered."""

    GUARDED = "guarded"
    """Answered, through the shields of the default profile."""
    CLOSED = "closed"
    """Answered 403."""


class DoorRules(BaseModel):
    """How the doors let texts through."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    side_doors: SideDoors = Field(description="Guarded or closed.")
    release: Release = Field(description="When streamed text may leave.")
    checkpoint_chars: int = Field(
        description="How many characters of streamed text one check of a slow shield covers."
    )
    max_chars: int = Field(description="A request with more characters is answered 413.")
    takes_prompts: bool = Field(
        default=True, description="Whether a request may bring system and developer messages."
    )
