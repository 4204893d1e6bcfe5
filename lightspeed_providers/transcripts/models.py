"""What the transcripts routes take and answer."""

from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator, model_validator

from lightspeed_providers.core.turns import Turn

MAX_TEXT = 200_000


class Transcript(Turn):
    """A turn as it is stored."""

    user_id: str = Field(description="Keyed hash of the user's id.")


class TranscriptPage(BaseModel):
    """Turns of the caller, newest first."""

    object: Literal["list"] = "list"
    data: list[Transcript]
    has_more: bool = Field(description="Whether older turns follow.")
    next: str | None = Field(default=None, description="Give it as `after` to get the next page.")


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
    user_feedback: str | None = Field(default=None, max_length=4096, description="In own words.")
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


class Feedback(Opinion):
    """Feedback as it is stored."""

    feedback_id: str = Field(description="`fb_` and 32 hex digits.")
    created_at: datetime
    user_id: str = Field(description="Keyed hash of the user's id.")
    conversation_id: str | None = None
    turn_id: str | None = None
    user_question: str
    llm_response: str


class FeedbackList(BaseModel):
    """Feedback on one turn, oldest first."""

    object: Literal["list"] = "list"
    data: list[Feedback]


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
