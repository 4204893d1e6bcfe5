"""What goes into the store and what is asked of it, as plain values.

Times are microseconds since 1970 UTC. A `seq` numbers every change (turn, feedback, removal) in
the order of commits; a `position` is a turn's or a feedback's place in time, unique in its table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


def microseconds(moment: datetime) -> int:
    """The moment as an exact number that sorts; one without a time zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


class Kind(StrEnum):
    """What is kept."""

    TURN = "turn"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn as a row."""

    turn_id: str
    received_us: int
    first_token_us: int | None
    finished_us: int
    user_hash: str
    conversation_id: str | None
    response_id: str | None
    previous_response_id: str | None
    profile: str
    prompt_version: str
    model: str | None
    provider: str | None
    outcome: str
    input_tokens: int
    output_tokens: int
    passages: int
    """How many were found."""
    best_score: float | None
    shields: tuple[str, ...]
    """Those that blocked or rewrote."""
    blocked_by: str | None
    question: str
    answer: str
    record: str
    """The whole turn as JSON text, question and answer included."""


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """Feedback as a row."""

    feedback_id: str
    created_us: int
    user_hash: str
    conversation_id: str | None
    turn_id: str | None
    profile: str | None
    prompt_version: str | None
    sentiment: int | None
    categories: tuple[str, ...]
    record: str
    """The whole feedback as JSON text."""


@dataclass(frozen=True, slots=True)
class TurnFilter:
    """Which turns; what is None or empty does not matter."""

    user_hash: str | None = None
    conversation_id: str | None = None
    response_id: str | None = None
    outcome: str | None = None
    profile: str | None = None
    model: str | None = None
    shield: str | None = None
    """A shield that blocked or rewrote."""
    since_us: int | None = None
    until_us: int | None = None
    """Received at or after, and before."""
    has_feedback: bool | None = None
    text: str | None = None
    """Words that question and answer together hold, in any order, upper or lower case."""


@dataclass(frozen=True, slots=True)
class FeedbackFilter:
    """Which feedback; what is None does not matter."""

    user_hash: str | None = None
    conversation_id: str | None = None
    turn_id: str | None = None
    profile: str | None = None
    prompt_version: str | None = None
    sentiment: int | None = None
    category: str | None = None
    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A record with its place in a list."""

    position: int
    record: str


@dataclass(frozen=True, slots=True)
class TurnKey:
    """What a turn is known by."""

    turn_id: str
    user_hash: str
    response_id: str | None
    previous_response_id: str | None
    conversation_id: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One change in the order of commits: something added, or, where `record` is None, removed."""

    seq: int
    kind: Kind
    id: str
    user_hash: str
    conversation_id: str | None
    record: str | None


@dataclass(frozen=True, slots=True)
class FeedbackCount:
    """How much feedback one cell of a summary has."""

    day: str
    """UTC day, as 2026-01-31."""
    profile: str | None
    prompt_version: str | None
    sentiment: int | None
    count: int


@dataclass(frozen=True, slots=True)
class AuditRow:
    """That data was removed, by whom and why; never what was in it."""

    at_us: int
    actor: str
    """Keyed hash of a user, or `retention`, or `operator` for the command line."""
    action: str
    """`delete_turn`, `delete_conversation`, `delete_user`, `expire_turns`, `expire_feedback`, …"""
    subject: str
    """The id that was asked for; the bound for retention."""
    turns: int
    feedback: int


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """The numbers of a turn that a report is drawn from, with its question."""

    turn_id: str
    received_us: int
    first_token_us: int | None
    finished_us: int
    profile: str
    prompt_version: str
    model: str | None
    outcome: str
    blocked_by: str | None
    input_tokens: int
    output_tokens: int
    passages: int
    best_score: float | None
    question: str
    sentiments: Sequence[int]
    """Of the feedback that names this turn."""
