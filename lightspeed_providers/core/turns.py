"""A turn: one question and what became of it, as it is recorded."""

from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.verdicts import Verdict


class Passage(BaseModel):
    """A piece of product documentation that can be cited."""

    model_config = ConfigDict(frozen=True)

    passage_id: str = Field(description="Stable id of the passage within its index.")
    document_id: str = Field(description="Stable id of the page it was cut from.")
    title: str = Field(description="Title of the page.")
    heading_path: tuple[str, ...] = Field(default=(), description="Headings above the passage.")
    doc_url: str = Field(description="Public address, with the anchor of the nearest heading.")
    content: str
    score: float = 0.0
    source: str = Field(default="", description="Name of the index or store it was found in.")
    product: str = ""
    version: str = ""
    language: str = ""
    source_file: str = Field(default="", description="The file it was cut from.")
    attributes: dict[str, str] = Field(default_factory=dict)


class Outcome(StrEnum):
    """How a turn ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    TRUNCATED = "truncated"
    ERROR = "error"
    INTERRUPTED = "interrupted"


class Turn(BaseModel):
    """One recorded turn. Texts are as redacted by the shields; times are UTC."""

    model_config = ConfigDict(frozen=True)

    turn_id: str = Field(description="`turn_` and 32 hex digits.")
    response_id: str | None = None
    conversation_id: str | None = None
    previous_response_id: str | None = None
    user_id: str = Field(description="The principal, or `anonymous`; stored only as a keyed hash.")
    profile: str
    prompt: str = Field(description="The system prompt that the model got.")
    prompt_version: str = Field(description="First 12 hex digits of the prompt's sha256.")
    model_requested: str
    model: str | None = None
    provider: str | None = None
    question: str
    answer: str = ""
    passages: tuple[Passage, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    received_at: datetime
    first_token_at: datetime | None = None
    finished_at: datetime
    outcome: Outcome
    error: str | None = Field(default=None, description="One line without user text.")
    streamed: bool = False


class TurnSink(Protocol):
    """Where finished turns go."""

    async def record(self, turn: Turn) -> None:
        """Take a finished turn. Never raises and never waits longer than a bounded time."""
        ...
