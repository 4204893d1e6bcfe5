"""The page: everything that is known of a period, in one file that asks for nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lightspeed_providers.core.turns import Outcome
from lightspeed_providers.transcripts.report import panels, questions
from lightspeed_providers.transcripts.report.figures import FeedbackFigures, TurnFigures
from lightspeed_providers.transcripts.report.grouping import Group
from lightspeed_providers.transcripts.report.period import moment
from lightspeed_providers.transcripts.report.shares import Share
from lightspeed_providers.transcripts.report.texts import (
    number,
    percent,
    seconds,
    short_number,
    shown_text,
)

_FEW = 20
"""Of so few a percentage says more than is known."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a page is made of."""

    since_us: int
    until_us: int
    made_at: datetime
    profile: str | None
    low_score: float
    turns: TurnFigures
    feedback: FeedbackFigures
    groups: Sequence[Group]
    by_meaning: bool


@dataclass(frozen=True, slots=True)
class Tile:
    """One number at the top."""

    name: str
    value: str
    note: str


def render(report: Report) -> str:
    """The page as HTML; whatever users or operators wrote is text in it, never markup."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    turns, feedback = report.turns, report.feedback
    wordings = turns.wordings
    looked_at = sum(wording.tally.asked for wording in wordings.looked_at)
    return environment.get_template("page.html.j2").render(
        since=_minute(report.since_us),
        until=_minute(report.until_us),
        made=f"{report.made_at:%Y-%m-%d %H:%M} UTC",
        profile=shown_text(report.profile) if report.profile is not None else None,
        turns=turns.turns,
        tiles=_tiles(turns, feedback),
        activity=panels.turns_over_time(turns) if turns.turns else None,
        ends=_there(panels.outcomes(turns), panels.refusals(turns)) if turns.turns else [],
        speed=panels.speed(turns),
        tokens=panels.tokens(turns),
        feedback=_there(
            panels.sentiment(feedback),
            panels.categories(feedback),
            panels.prompts(turns, feedback),
        ),
        unrated=feedback.unrated,
        reasons=panels.reasons(turns),
        most_asked=questions.most_asked(report.groups),
        unanswered=questions.unanswered(
            report.groups, Share(turns.unanswered, turns.turns).value or 0
        ),
        worst_rated=questions.worst_rated(report.groups),
        by_meaning=report.by_meaning,
        low_score=report.low_score,
        looked_at=number(len(wordings.looked_at)),
        known=number(wordings.known),
        covered=percent(Share(looked_at, turns.turns).value),
        missed=wordings.missed,
        number=number,
    )


def _tiles(turns: TurnFigures, feedback: FeedbackFigures) -> list[Tile]:
    answered = Share(turns.total(Outcome.ANSWERED), turns.turns)
    refused = Share(turns.total(Outcome.REFUSED), turns.turns)
    failed = Share(turns.total(Outcome.ERROR, Outcome.INTERRUPTED, Outcome.TRUNCATED), turns.turns)
    tokens = float(turns.input_tokens.sum() + turns.output_tokens.sum())
    a_step = turns.turns / turns.steps.count
    return [
        Tile("Turns", number(turns.turns), f"about {short_number(a_step)} per {turns.steps.each}"),
        Tile("Answered", percent(answered.value), _turns(answered.count)),
        Tile("Refused", percent(refused.value), _turns(refused.count)),
        Tile("Not finished", percent(failed.value), "errors, interrupted, truncated"),
        _time("First token", turns.first_token.overall),
        _time("Whole turn", turns.whole_turn.overall),
        Tile(
            "Tokens", short_number(tokens), f"{short_number(tokens / max(turns.turns, 1))} a turn"
        ),
        _likes(feedback.likes),
    ]


def _likes(likes: Share) -> Tile:
    name, interval = "Positive feedback", f"{percent(likes.low)} to {percent(likes.high)}"
    if not likes.of:
        return Tile(name, "–", "none was given")
    counts = f"{number(likes.count)} of {number(likes.of)}"
    if likes.of < _FEW:
        return Tile(name, counts, f"95 % interval {interval}")
    return Tile(name, percent(likes.value), f"{counts}; 95 % interval {interval}")


def _time(name: str, quantiles: Sequence[float | None]) -> Tile:
    p50, _, p99 = quantiles
    note = "none was measured" if p50 is None else f"median; 99 % within {seconds(p99)}"
    return Tile(name, seconds(p50), note)


def _turns(count: int) -> str:
    return "1 turn" if count == 1 else f"{number(count)} turns"


def _there(*found: panels.Panel | None) -> list[panels.Panel]:
    return [panel for panel in found if panel is not None]


def _minute(us: int) -> str:
    at = moment(us)
    return f"{at.day} {at:%B %Y}" if at.hour == at.minute == 0 else f"{at.day} {at:%B %Y, %H:%M}"
