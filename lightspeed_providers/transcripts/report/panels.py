"""A plot with its words, its legend and the table of its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from lightspeed_providers.core.turns import Outcome
from lightspeed_providers.transcripts.report.canvas import Paint, svg
from lightspeed_providers.transcripts.report.charts import (
    Bar,
    Draw,
    Rated,
    bands,
    bars,
    intervals,
    rows_px,
    stacked,
)
from lightspeed_providers.transcripts.report.figures import (
    FeedbackFigures,
    Latency,
    Reason,
    TurnFigures,
)
from lightspeed_providers.transcripts.report.shares import Share
from lightspeed_providers.transcripts.report.texts import (
    number,
    percent,
    seconds,
    short_number,
    shown_text,
)

FULL_PX, HALF_PX, NARROW_PX = 1040, 498, 330
_TIME_PX = 260
MOST_ROWS = 8
_RATED = ("positive", "negative", "share positive, 95 % interval")
_SHADES = ((50, 1.0), (90, 0.54), (99, 0.22))
_PAINT = {outcome: Paint(outcome.value) for outcome in Outcome}
REASON_PAINT = {
    Reason.REFUSED: Paint.REFUSED,
    Reason.ERROR: Paint.ERROR,
    Reason.TRUNCATED: Paint.TRUNCATED,
    Reason.INTERRUPTED: Paint.INTERRUPTED,
    Reason.NOTHING_FOUND: Paint.ACCENT_2,
    Reason.LOW_SCORE: Paint.ACCENT,
    Reason.DISLIKED: Paint.INK,
}


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers as text; the first columns of `texts` are words."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1


@dataclass(frozen=True, slots=True)
class Key:
    """What a colour of a plot means."""

    name: str
    paint: Paint
    strength: float = 1


@dataclass(frozen=True, slots=True)
class Panel:
    """What the page shows in one frame; `wide` and `narrow` are the same plot for two screens."""

    title: str
    note: str
    legend: Sequence[Key]
    wide: Markup
    narrow: Markup
    table: Table
    is_half: bool = False


def turns_over_time(figures: TurnFigures) -> Panel:
    """How many turns there were, and how they ended."""
    steps = figures.steps
    shown = [outcome for outcome in Outcome if figures.total(outcome)] or [Outcome.ANSWERED]
    series = [(_PAINT[outcome], figures.outcomes[outcome]) for outcome in shown]
    rows = [
        [steps.name(step), *(number(figures.outcomes[outcome][step]) for outcome in shown)]
        for step in range(steps.count)
    ]
    return _panel(
        "turns",
        title="Turns over time",
        note=f"Turns per {steps.each}, by how they ended.",
        legend=[Key(outcome.value, _PAINT[outcome]) for outcome in shown],
        draw=stacked(steps, series, f"turns per {steps.each}"),
        height=280,
        table=Table([steps.each, *(outcome.value for outcome in shown)], rows),
        is_half=False,
    )


def outcomes(figures: TurnFigures) -> Panel:
    """How turns ended."""
    counts = [(outcome, figures.total(outcome)) for outcome in Outcome]
    rows = [
        Bar(outcome.value, [(_PAINT[outcome], count)], _of(count, figures.turns))
        for outcome, count in counts
    ]
    return _panel(
        "outcomes",
        title="Outcomes",
        note="Of all turns.",
        draw=bars(rows, figures.turns),
        height=rows_px(len(rows)),
        table=_share_table("outcome", [(o.value, count) for o, count in counts], figures.turns),
    )


def refusals(figures: TurnFigures) -> Panel | None:
    """Which shields refused."""
    if not figures.shields:
        return None
    named = [(shield or "no shield named", count) for shield, count in figures.shields]
    shown = _with_rest(named)
    total = sum(count for _, count in named)
    rows = [Bar(name, [(Paint.REFUSED, count)], _of(count, total)) for name, count in shown]
    return _panel(
        "refusals",
        title="Refusals by shield",
        note="Of all refused turns; the first shield that blocked counts.",
        draw=bars(rows, total),
        height=rows_px(len(rows)),
        table=_share_table("shield", named, total),
    )


def speed(figures: TurnFigures) -> list[Panel]:
    """How long answers took."""
    return [
        panel
        for name, title, note, latency in (
            (
                "first-token",
                "Time to first token",
                "Of streamed answers, from the request to the first word.",
                figures.first_token,
            ),
            (
                "whole-turn",
                "Whole turn",
                "Of answers, from the request to the end.",
                figures.whole_turn,
            ),
        )
        if (panel := _latency(figures, name, title, note, latency)) is not None
    ]


def _latency(
    figures: TurnFigures, name: str, title: str, note: str, latency: Latency
) -> Panel | None:
    if not latency.count:
        return None
    steps = figures.steps
    p50, p90, p99 = (seconds(value) for value in latency.overall)
    rows = [
        [steps.name(step), number(latency.counts[step]), *_seconds(latency.over_time[:, step])]
        for step in range(steps.count)
        if latency.counts[step]
    ]
    rows.append(["all", number(latency.count), p50, p90, p99])
    return _panel(
        name,
        title=title,
        note=f"{note} Half within {p50}, 90 % within {p90}, 99 % within {p99}.",
        legend=[Key(f"p{shade}", Paint.ACCENT, strength) for shade, strength in _SHADES],
        draw=bands(steps, latency.over_time),
        height=_TIME_PX,
        table=Table([steps.each, "turns", "p50", "p90", "p99"], rows),
    )


def tokens(figures: TurnFigures) -> list[Panel]:
    """What was read and written by models, over time and by model."""
    read, written = figures.input_tokens, figures.output_tokens
    if not (read.sum() or written.sum()):
        return []
    steps = figures.steps
    series = [(Paint.ACCENT, read), (Paint.ACCENT_2, written)]
    legend = [Key("in", Paint.ACCENT), Key("out", Paint.ACCENT_2)]
    models = [model for model in figures.models if model.input_tokens or model.output_tokens]
    rows = [
        Bar(
            model.model or "no model named",
            [(Paint.ACCENT, model.input_tokens), (Paint.ACCENT_2, model.output_tokens)],
            f"{short_number(model.input_tokens)} in, {short_number(model.output_tokens)} out",
        )
        for model in models[:MOST_ROWS]
    ]
    return [
        _panel(
            "tokens",
            title="Tokens over time",
            note=f"{short_number(read.sum())} in, {short_number(written.sum())} out.",
            legend=legend,
            draw=stacked(steps, series, f"tokens per {steps.each}"),
            height=_TIME_PX,
            table=Table(
                [steps.each, "in", "out"],
                [
                    [steps.name(step), number(read[step]), number(written[step])]
                    for step in range(steps.count)
                ],
            ),
        ),
        _panel(
            "models",
            title="Tokens by model",
            note="The models that were used most.",
            legend=legend,
            draw=bars(rows),
            height=rows_px(len(rows)),
            table=Table(
                ["model", "turns", "in", "out", "first token p50", "whole turn p50", "p99"],
                [
                    [
                        shown_text(model.model) or "no model named",
                        number(model.turns),
                        number(model.input_tokens),
                        number(model.output_tokens),
                        seconds(model.first_token[0]),
                        seconds(model.whole_turn[0]),
                        seconds(model.whole_turn[-1]),
                    ]
                    for model in figures.models
                ],
            ),
        ),
    ]


def sentiment(feedback: FeedbackFigures) -> Panel | None:
    """What users thought of the answers, over time."""
    if not feedback.likes.of:
        return None
    steps = feedback.steps
    return _panel(
        "sentiment",
        title="Feedback over time",
        note=f"Positive above the line, negative below. Positive: {sure(feedback.likes)}.",
        legend=[Key("positive", Paint.LIKED), Key("negative", Paint.DISLIKED)],
        draw=stacked(
            steps,
            [(Paint.LIKED, feedback.liked), (Paint.DISLIKED, feedback.disliked)],
            f"feedback per {steps.each}",
            below=1,
        ),
        height=_TIME_PX,
        table=Table(
            [steps.each, "positive", "negative"],
            [
                [steps.name(step), number(feedback.liked[step]), number(feedback.disliked[step])]
                for step in range(steps.count)
            ],
        ),
    )


def categories(feedback: FeedbackFigures) -> Panel | None:
    """What users said is wrong."""
    if not feedback.categories:
        return None
    named = [(name.replace("_", " "), count) for name, count in feedback.categories]
    rows = [
        Bar(name, [(Paint.DISLIKED, count)], _of(count, feedback.count))
        for name, count in _with_rest(named)
    ]
    return _panel(
        "categories",
        title="What is wrong, in the users’ choice",
        note="Of all feedback; one may name several.",
        draw=bars(rows, max(feedback.count, *(count for _, count in named))),
        height=rows_px(len(rows)),
        table=_share_table("category", named, feedback.count),
    )


def prompts(figures: TurnFigures, feedback: FeedbackFigures) -> Panel | None:
    """How each version of a prompt is liked, the least liked first."""
    rated = [prompt for prompt in feedback.prompts if prompt.likes.of]
    if not rated:
        return None
    turns = {(prompt.profile, prompt.version): prompt for prompt in figures.prompts}
    shown = [
        Rated(
            prompt_name(prompt.profile, prompt.version),
            prompt.likes,
            f"{number(prompt.liked)} of {number(prompt.likes.of)} positive",
        )
        for prompt in rated[:MOST_ROWS]
    ]
    rows = []
    for prompt in rated:
        asked = turns.get((prompt.profile or "", prompt.version or ""))
        of = asked.turns if asked else 0
        refused = asked.outcomes.get(Outcome.REFUSED, 0) if asked else 0
        rows.append(
            [
                shown_text(prompt.profile or "–"),
                shown_text(prompt.version or "–"),
                number(of),
                percent(Share(refused, of).value),
                number(prompt.liked),
                number(prompt.disliked),
                f"{percent(prompt.likes.low)} to {percent(prompt.likes.high)}",
            ]
        )
    return _panel(
        "prompts",
        title="Positive feedback by profile and prompt version",
        note="The dot is the share of positive feedback, the line its 95 % confidence interval: "
        "the longer, the less is known. The worst rated come first, as far as that is sure.",
        draw=intervals(shown),
        height=rows_px(len(shown), with_scale=True),
        table=Table(
            ["profile", "prompt version", "turns", "refused", *_RATED],
            rows,
            texts=2,
        ),
        is_half=False,
    )


def reasons(figures: TurnFigures) -> Panel | None:
    """Why turns count as unanswered."""
    if not figures.reasons:
        return None
    ordered = sorted(figures.reasons.items(), key=lambda pair: -pair[1])
    rows = [
        Bar(reason.value, [(REASON_PAINT[reason], count)], _of(count, figures.turns))
        for reason, count in ordered
    ]
    return _panel(
        "reasons",
        title="Reasons",
        note="Of all turns; one may have several.",
        draw=bars(rows),
        height=rows_px(len(rows)),
        table=_share_table("reason", [(r.value, count) for r, count in ordered], figures.turns),
        is_half=False,
    )


def prompt_name(profile: str | None, version: str | None) -> str:
    """A version of a profile's prompt as it is named."""
    return f"{profile or 'no profile'} · {version or 'no version'}"


def sure(share: Share) -> str:
    """A share with its interval in words."""
    return (
        f"{number(share.count)} of {number(share.of)}, "
        f"95 % interval {percent(share.low)} to {percent(share.high)}"
    )


def _panel(
    name: str,
    *,
    title: str,
    note: str,
    draw: Draw,
    height: int,
    table: Table,
    legend: Sequence[Key] = (),
    is_half: bool = True,
) -> Panel:
    label = f"{title}. {note} The numbers are in the table below."
    width = HALF_PX if is_half else FULL_PX
    wide = svg(draw, width=width, height=height, name=f"{name}-w", label=label)
    narrow = svg(draw, width=NARROW_PX, height=height, name=f"{name}-n", label=label)
    return Panel(title, note, legend, wide, narrow, table, is_half)


def _with_rest(counts: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    if len(counts) <= MOST_ROWS:
        return list(counts)
    rest = counts[MOST_ROWS - 1 :]
    return [*counts[: MOST_ROWS - 1], (f"{len(rest)} others", sum(count for _, count in rest))]


def _share_table(what: str, counts: Sequence[tuple[str, int]], total: int) -> Table:
    return Table(
        [what, "count", "share"],
        [
            [shown_text(name), number(count), percent(Share(count, total).value)]
            for name, count in counts
        ],
    )


def _of(count: int, total: int) -> str:
    share = Share(count, total).value
    return number(count) if share is None else f"{number(count)} · {percent(share)}"


def _seconds(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> list[str]:
    return [seconds(float(value)) for value in values]
