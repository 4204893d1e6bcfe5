"""What the transcripts routes take and answer."""

from datetime import date, datetime
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator, model_validator

from lightspeed_providers.core.turns import Outcome, Turn

MAX_TEXT = 200_000
MAX_WORDS = 4096
NEXT = "Give it as `after` to get the next page; null on the last one."


class Transcript(Turn):
    """A turn as it is stored."""

    user_id: str = Field(description="Keyed hash of the user's id.")


class TranscriptQuery(BaseModel):
    """Which turns are asked for; what is None does not matter."""

    model_config = ConfigDict(frozen=True)

    conversation_id: str | None = None
    response_id: str | None = None
    profile: str | None = None
    outcome: Outcome | None = None
    shield: str | None = None
    model: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    has_feedback: bool | None = None
    text: str | None = None
    user: str | None = None
    everyone: bool = False


class TranscriptPage(BaseModel):
    """Turns, newest first."""

    object: Literal["list"] = "list"
    data: list[Transcript]
    has_more: bool = Field(description="Whether older turns follow.")
    next: str | None = Field(default=None, description=NEXT)


class ConversationPage(BaseModel):
    """Turns of one conversation, oldest first."""

    object: Literal["list"] = "list"
    data: list[Transcript]
    has_more: bool = Field(description="Whether later turns follow.")
    next: str | None = Field(default=None, description=NEXT)


class Removed(BaseModel):
    """What was removed, with every copy of it."""

    object: Literal["removed"] = "removed"
    turns: int = Field(ge=0, description="How many turns.")
    feedback: int = Field(ge=0, description="How many pieces of feedback.")


class AuditLine(BaseModel):
    """That data was removed, by whom and why; never what was in it."""

    at: datetime = Field(description="When.")
    actor: str = Field(
        description="Keyed hash of the user who did it, `retention`, or `operator` for the "
        "command line."
    )
    action: str = Field(
        description="`delete_turn`, `delete_conversation`, `delete_user`, `delete_feedback`, "
        "`expire_turns` or `expire_feedback`."
    )
    subject: str = Field(description="The id that was asked for, or the limit that expired.")
    turns: int = Field(description="How many turns were removed.")
    feedback: int = Field(description="How many pieces of feedback were removed.")


class AuditPage(BaseModel):
    """Audit lines, newest first."""

    object: Literal["list"] = "list"
    data: list[AuditLine]
    has_more: bool = Field(description="Whether older lines follow.")
    next: str | None = Field(default=None, description=NEXT)


class Category(StrEnum):
    """What can be wrong with an answer."""

    INCORRECT = "incorrect"
    NOT_RELEVANT = "not_relevant"
    INCOMPLETE = "incomplete"
    OUTDATED_INFORMATION = "outdated_information"
    UNSAFE = "unsafe"
    OTHER = "other"


class Opinion(BaseModel):
    """What a user thinks of an answer; at least one of the three."""

    model_config = ConfigDict(extra="forbid")

    sentiment: Literal[-1, 1] | None = Field(default=None, description="-1 is bad, 1 is good.")
    user_feedback: str | None = Field(
        default=None, max_length=MAX_WORDS, description="In own words."
    )
    categories: list[Category] | None = Field(
        default=None, max_length=100, description="What is wrong; duplicates are removed."
    )

    @field_validator("categories")
    @classmethod
    def _without_duplicates(cls, value: list[Category] | None) -> list[Category] | None:
        return None if value is None else list(dict.fromkeys(value))

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.sentiment is None and not self.user_feedback and not self.categories:
            raise ValueError("give at least one of sentiment, user_feedback and categories")
        return self


class FeedbackRequest(Opinion):
    """Feedback on an answer of one of the caller's conversations."""

    conversation_id: str = Field(
        min_length=1, max_length=200, description="The conversation, with or without `conv_`."
    )
    user_question: str = Field(max_length=MAX_TEXT, description="The question asked.")
    llm_response: str = Field(max_length=MAX_TEXT, description="The answer given.")
    turn_id: str | None = Field(
        default=None, max_length=200, description="The turn of that conversation that is meant."
    )


class Feedback(BaseModel):
    """Feedback as it is stored."""

    feedback_id: str = Field(description="`fb_` and 32 hex digits.")
    created_at: datetime
    user_id: str = Field(description="Keyed hash of the user's id.")
    conversation_id: str | None = None
    turn_id: str | None = None
    profile: str | None = Field(default=None, description="Profile that answered, where known.")
    prompt_version: str | None = Field(default=None, description="Version of its prompt.")
    user_question: str
    llm_response: str
    sentiment: Literal[-1, 1] | None = None
    user_feedback: str | None = None
    categories: list[Category] | None = None


class FeedbackQuery(BaseModel):
    """Which feedback is asked for; what is None does not matter."""

    model_config = ConfigDict(frozen=True)

    conversation_id: str | None = None
    turn_id: str | None = None
    profile: str | None = None
    prompt_version: str | None = None
    sentiment: Literal[-1, 1] | None = None
    category: Category | None = None
    since: datetime | None = None
    until: datetime | None = None
    user: str | None = None
    everyone: bool = False


class FeedbackList(BaseModel):
    """Feedback on one turn, oldest first."""

    object: Literal["list"] = "list"
    data: list[Feedback]


class FeedbackPage(BaseModel):
    """Feedback, newest first."""

    object: Literal["list"] = "list"
    data: list[Feedback]
    has_more: bool = Field(description="Whether older feedback follows.")
    next: str | None = Field(default=None, description=NEXT)


class Sentiments(BaseModel):
    """How much feedback was good, bad, or said neither."""

    good: int = Field(default=0, description="Sentiment 1.")
    bad: int = Field(default=0, description="Sentiment -1.")
    unsaid: int = Field(default=0, description="No sentiment given.")


class DaySentiments(Sentiments):
    """Feedback of one UTC day."""

    day: date


class PromptSentiments(Sentiments):
    """Feedback on answers with one version of a profile's prompt."""

    profile: str | None = Field(description="Null where the answered turn is not known.")
    prompt_version: str | None = None


class FeedbackSummary(BaseModel):
    """Feedback in numbers."""

    total: int
    sentiments: Sentiments
    categories: dict[Category, int] = Field(
        description="How often each was named; one piece of feedback can name several."
    )
    by_day: list[DaySentiments] = Field(description="Oldest first; days without any are left out.")
    by_prompt: list[PromptSentiments] = Field(description="By profile and version of its prompt.")


class FeedbackReceived(BaseModel):
    """Says that feedback is stored."""

    response: Literal["feedback received"] = "feedback received"
    feedback_id: str


class FeedbackEnabled(BaseModel):
    """Whether feedback is taken."""

    enabled: bool


class FeedbackStatus(BaseModel):
    """Whether feedback is taken, in the shape that Lightspeed clients read."""

    functionality: Literal["feedback"] = "feedback"
    status: FeedbackEnabled


class FeedbackStatusRequest(BaseModel):
    """Switches feedback on or off."""

    model_config = ConfigDict(extra="forbid")

    status: StrictBool = Field(description="Whether feedback is to be taken.")


class FeedbackStatusChange(BaseModel):
    """What a switch changed."""

    previous_status: bool
    updated_status: bool
    updated_by: str = Field(description="Keyed hash of the caller's id.")
    timestamp: datetime


class FeedbackStatusChanged(BaseModel):
    """The answer to a switch."""

    status: FeedbackStatusChange
