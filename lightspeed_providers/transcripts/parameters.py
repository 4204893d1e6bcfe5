"""The parameters of the routes, as the documentation of the server shows them."""

import re
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import BeforeValidator

from lightspeed_providers.core.turns import Outcome

from .models import Category

_ID = 200
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?")


def _moment(value: object) -> object:
    # Pydantic reads a number as seconds since 1970: a year would silently be half an hour.
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        raise ValueError("give an ISO 8601 time such as 2026-01-31T12:00:00Z")
    return value


def _number(value: object) -> object:
    return int(value) if value in ("1", "-1") and isinstance(value, str) else value


TurnId = Annotated[str, Path(max_length=_ID, description="The id of a turn.")]
ConversationId = Annotated[
    str, Path(max_length=_ID, description="The conversation, with or without `conv_`.")
]
UserHash = Annotated[
    str, Path(max_length=_ID, description="The keyed hash of a user's id: `user_id` of a turn.")
]
FeedbackId = Annotated[str, Path(max_length=_ID, description="The id of a piece of feedback.")]

Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
After = Annotated[
    str | None, Query(pattern=r"^-?[0-9]{1,18}$", description="`next` of the page before.")
]
Everyone = Annotated[
    bool,
    Query(description="Everybody's instead of your own; needs a role that sees everything."),
]
OfUser = Annotated[
    str | None,
    Query(
        max_length=_ID,
        description="Only of this user, by the keyed hash of the id; another's needs a role that "
        "sees everything.",
    ),
]
OfConversation = Annotated[
    str | None,
    Query(max_length=_ID, description="Only of this conversation, with or without `conv_`."),
]
OfProfile = Annotated[
    str | None, Query(max_length=_ID, description="Only where this profile answered.")
]
Since = Annotated[
    datetime | None,
    BeforeValidator(_moment),
    Query(description="Only from this time on, in ISO 8601; without a time zone it is UTC."),
]
Until = Annotated[
    datetime | None,
    BeforeValidator(_moment),
    Query(description="Only before this time, in ISO 8601; without a time zone it is UTC."),
]

OfResponse = Annotated[
    str | None, Query(max_length=_ID, description="Only the turn of this response.")
]
WithOutcome = Annotated[Outcome | None, Query(description="Only turns that ended like this.")]
ByShield = Annotated[
    str | None,
    Query(max_length=_ID, description="Only turns that this shield blocked or rewrote."),
]
OfModel = Annotated[
    str | None, Query(max_length=_ID, description="Only turns that this model answered.")
]
HasFeedback = Annotated[
    bool | None, Query(description="Only turns with feedback, or only those without.")
]
WithText = Annotated[
    str | None,
    Query(
        max_length=_ID,
        description="Only turns whose question and answer together hold all these words.",
    ),
]

OfTurn = Annotated[str | None, Query(max_length=_ID, description="Only on this turn.")]
OfPromptVersion = Annotated[
    str | None, Query(max_length=_ID, description="Only where this version of the prompt held.")
]
WithSentiment = Annotated[
    Literal[-1, 1] | None,
    BeforeValidator(_number),
    Query(description="Only with this sentiment: -1 is bad, 1 is good."),
]
OfCategory = Annotated[Category | None, Query(description="Only what names this category.")]
