"""Titles of new conversations: the `titles` part of a profile."""

from pydantic import BaseModel, ConfigDict, Field


class TitlesConfig(BaseModel):
    """Whether new conversations get a title, and which model makes it."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = Field(
        default=False,
        description="Give each new conversation a title, `title` in its metadata, once its first "
        "answer has left.",
    )
    model: str | None = Field(
        default=None, description="Model, as `provider/model`; the one that answered if left out."
    )
    max_words: int = Field(default=8, ge=2, le=20, description="At most so many words.")
