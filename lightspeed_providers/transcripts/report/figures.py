"""What is known of a period, as plain values that plots and tables are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.turns import Outcome
from lightspeed_providers.transcripts.report.period import Integers, Steps
from lightspeed_providers.transcripts.report.shares import Share

Floats = NDArray[np.float64]
QUANTILES = (0.5, 0.9, 0.99)


class Reason(StrEnum):
    """Why a turn counts as unanswered."""

    REFUSED = "refused"
    ERROR = "error"
    TRUNCATED = "truncated"
    INTERRUPTED = "interrupted"
    NOTHING_FOUND = "nothing found"
    LOW_SCORE = "low score"
    DISLIKED = "disliked"


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the turns with one question."""

    asked: int
    unanswered: int
    """Turns with any reason."""
    reasons: Mapping[Reason, int]
    liked: int
    disliked: int

    @property
    def refused(self) -> Share:
        """How many of the turns were refused."""
        return Share(self.reasons.get(Reason.REFUSED, 0), self.asked)

    @property
    def dislikes(self) -> Share:
        """How much of the feedback is negative."""
        return Share(self.disliked, self.liked + self.disliked)


@dataclass(frozen=True, slots=True)
class Wording:
    """One way to ask, and what became of it."""

    text: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class Wordings:
    """The ways to ask that are looked at, and how many there are."""

    looked_at: Sequence[Wording]
    known: int
    """Different ones that were counted."""
    missed: int
    """By how much a count may be too low, as not all fit into memory."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A time that turns take: its p50, p90 and p99, in seconds."""

    count: int
    overall: Sequence[float | None]
    over_time: Floats
    """A row a quantile, a column a step; not a number where no turn was."""
    counts: Integers
    """Of each step."""


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """What one model did."""

    model: str
    turns: int
    input_tokens: int
    output_tokens: int
    first_token: Sequence[float | None]
    whole_turn: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class PromptFigures:
    """What became of the turns with one version of a profile's prompt."""

    profile: str
    version: str
    outcomes: Mapping[Outcome, int]

    @property
    def turns(self) -> int:
        """How many there were."""
        return sum(self.outcomes.values())


@dataclass(frozen=True, slots=True)
class TurnFigures:
    """The turns of a period."""

    steps: Steps
    turns: int
    outcomes: Mapping[Outcome, Integers]
    """How many in each step."""
    shields: Sequence[tuple[str, int]]
    """Refusals by shield, most first."""
    first_token: Latency
    whole_turn: Latency
    input_tokens: Floats
    output_tokens: Floats
    models: Sequence[ModelFigures]
    prompts: Sequence[PromptFigures]
    unanswered: int
    reasons: Mapping[Reason, int]
    wordings: Wordings

    def total(self, *outcomes: Outcome) -> int:
        """How many turns ended so."""
        return sum(int(self.outcomes[outcome].sum()) for outcome in outcomes)


@dataclass(frozen=True, slots=True)
class PromptFeedback:
    """The feedback on answers with one version of a profile's prompt."""

    profile: str | None
    version: str | None
    liked: int
    disliked: int

    @property
    def likes(self) -> Share:
        """How much of it is positive."""
        return Share(self.liked, self.liked + self.disliked)


@dataclass(frozen=True, slots=True)
class FeedbackFigures:
    """The feedback of a period."""

    steps: Steps
    liked: Integers
    disliked: Integers
    unrated: int
    """With words or categories alone."""
    categories: Sequence[tuple[str, int]]
    """Most first."""
    prompts: Sequence[PromptFeedback]
    """The least liked first, as far as that is sure."""

    @property
    def likes(self) -> Share:
        """How much of it is positive."""
        liked = int(self.liked.sum())
        return Share(liked, liked + int(self.disliked.sum()))

    @property
    def count(self) -> int:
        """How much feedback there is."""
        return self.likes.of + self.unrated
