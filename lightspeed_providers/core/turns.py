"""A turn: one question and what became of it, as it is recorded."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.verdicts import Direction, Verdict


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

    @property
    def told(self) -> dict[str, str]:
        """What a client gets to know of it beside its text."""
        about = {
            "document_id": self.document_id,
            "doc_url": self.doc_url,
            "title": self.title,
            "headings": " › ".join(self.heading_path),
            "product": self.product,
            "version": self.version,
            "language": self.language,
            "source": self.source,
            "passage_id": self.passage_id,
        }
        own = {name: value for name, value in self.attributes.items() if name not in about}
        return {**own, **{name: value for name, value in about.items() if value}}


class Attachment(BaseModel):
    """Something that came with a question beside its text (shape of the Lightspeed contract)."""

    model_config = ConfigDict(frozen=True)

    attachment_type: str = Field(description="What it is, e.g. `log`, `file` or `image`.")
    content_type: str = Field(description="Its media type.")
    content: str = Field(
        description="Its text as redacted; of anything else the file id, the address, or the "
        "sha256 of its bytes."
    )


class ToolCall(BaseModel):
    """A tool that the model called (shape of the Lightspeed contract)."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    args: dict[str, Any] = Field(  # Any: arguments are the tool's own
        default_factory=dict, description="Its arguments."
    )
    type: str = Field(description="Kind of call, e.g. `file_search_call`.")


class ToolResult(BaseModel):
    """What a called tool gave (shape of the Lightspeed contract)."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Id of the call.")
    status: str
    content: str = Field(description="The result as the model got it.")
    type: str
    round: int = Field(
        ge=0,
        description="Which of the turn's model calls asked for it, from 1; 0 is an earlier turn.",
    )


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
    prompt_version: str = Field(
        description="Version of the profile's prompt: the first 12 hex digits of its sha256."
    )
    prompt_hash: str = Field(
        description="The sha256, in hex, of the system prompt that held, the profile's or the "
        "request's."
    )
    model_requested: str = Field(description="Model that the client asked for.")
    provider_requested: str | None = Field(
        default=None, description="Provider that the client asked for, None where it named none."
    )
    model: str | None = Field(default=None, description="Model that answered.")
    provider: str | None = Field(default=None, description="Provider of that model.")
    question: str
    answer: str = ""
    attachments: tuple[Attachment, ...] = ()
    passages: tuple[Passage, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    received_at: datetime
    first_token_at: datetime | None = None
    finished_at: datetime
    outcome: Outcome
    error: str | None = Field(default=None, description="One line without user text.")
    streamed: bool = False


class TurnCopies(Protocol):
    """Keeps what a turn's texts are in beside its record: responses and conversations."""

    async def forget_turn(
        self, response_id: str, conversation_id: str | None, later_response_ids: Sequence[str]
    ) -> None:
        """Remove the response, its items in the conversation, and its texts in later responses.

        Repeating it is harmless; what is gone already is no error.
        """
        ...

    async def forget_conversation(self, conversation_id: str, response_ids: Sequence[str]) -> None:
        """Remove the conversation with its items and these responses."""
        ...

    async def may_use_conversation(self, conversation_id: str) -> bool:
        """Whether the conversation exists and the request's user may use it."""
        ...


Redact = Callable[[Direction, str], Awaitable[str]]
"""Gives a text that travels in a direction as the shields leave it."""


class TurnSink(Protocol):
    """Where finished turns go."""

    def copies_are_kept_by(self, copies: TurnCopies) -> None:
        """Name who else keeps texts of turns, so that deleting a turn deletes them there too."""
        ...

    def texts_are_redacted_by(self, redact: Redact) -> None:
        """Name who redacts what users write about a turn, so that it is kept as the turn is."""
        ...

    async def record(self, turn: Turn) -> None:
        """Take a finished turn. Never raises and never waits longer than a bounded time."""
        ...
