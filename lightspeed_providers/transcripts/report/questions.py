"""The tables of questions: most asked, unanswered, worst rated."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightspeed_providers.transcripts.report.canvas import Paint
from lightspeed_providers.transcripts.report.grouping import Group
from lightspeed_providers.transcripts.report.panels import REASON_PAINT
from lightspeed_providers.transcripts.report.shares import Share
from lightspeed_providers.transcripts.report.texts import (
    MOST_CHARACTERS,
    number,
    one_line,
    percent,
    shown_text,
)

MOST_SHOWN = 20
_MOST_OTHERS = 12
_LINE = 150


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the page shows it."""

    short: str
    full: str
    """Empty where `short` is all."""
    others: Sequence[str]
    more_others: int
    asked: str
    part: float
    """Of the most asked, for its bar, in percent."""
    refused: str
    disliked: str
    unanswered: str
    reasons: Sequence[tuple[str, Paint]]


def most_asked(groups: Sequence[Group]) -> list[Asked]:
    """The questions that were asked most often."""
    return _shown(sorted(groups, key=lambda group: -group.tally.asked))


def unanswered(groups: Sequence[Group], usual: float) -> list[Asked]:
    """The questions that go wrong more often than the usual share, most such turns first."""

    def beyond(group: Group) -> float:
        return group.tally.unanswered - usual * group.tally.asked

    found = [group for group in groups if group.tally.unanswered]
    return _shown(sorted(found, key=lambda g: (-beyond(g), -g.tally.unanswered)))


def worst_rated(groups: Sequence[Group]) -> list[Asked]:
    """The questions whose answers are disliked most surely; one of one is not sure."""
    found = [group for group in groups if group.tally.disliked]
    return _shown(sorted(found, key=lambda g: (-g.tally.dislikes.low, -g.tally.disliked)))


def _shown(groups: Sequence[Group]) -> list[Asked]:
    first = groups[:MOST_SHOWN]
    most = max((group.tally.asked for group in first), default=1)
    return [_asked(group, most) for group in first]


def _asked(group: Group, most: int) -> Asked:
    tally = group.tally
    short = one_line(group.example, _LINE) or "(empty)"
    full = shown_text(group.example).strip()
    if len(group.example) >= MOST_CHARACTERS:
        full += "…"
    return Asked(
        short=short,
        full="" if full == short else full,
        others=[one_line(other, _LINE) for other in group.others[:_MOST_OTHERS]],
        more_others=max(len(group.others) - _MOST_OTHERS, 0),
        asked=number(tally.asked),
        part=round(100 * tally.asked / most, 1),
        refused=percent(tally.refused.value) if tally.refused.count else "–",
        disliked=f"{number(tally.disliked)} of {number(tally.dislikes.of)}"
        if tally.dislikes.of
        else "–",
        unanswered=f"{number(tally.unanswered)} · "
        f"{percent(Share(tally.unanswered, tally.asked).value)}",
        reasons=[
            (f"{reason.value} {number(count)}", REASON_PAINT[reason])
            for reason, count in tally.reasons.items()
        ],
    )
