"""How long each phase of a turn may take: the `deadlines` part of a profile."""

from pydantic import BaseModel, ConfigDict, Field


class DeadlinesConfig(BaseModel):
    """Seconds that each phase of a turn may take; what is late ends with a message of its own."""

    model_config = ConfigDict(extra="forbid")

    shields_s: float = Field(
        default=60, gt=0, description="Seconds for all shields on what the client sent."
    )
    retrieval_s: float = Field(default=15, gt=0, description="Seconds for one search.")
    first_token_s: float = Field(
        default=120, gt=0, description="Seconds until a called model says its first word."
    )
    turn_s: float = Field(
        default=600, gt=0, description="Seconds for the whole turn, tools included."
    )
