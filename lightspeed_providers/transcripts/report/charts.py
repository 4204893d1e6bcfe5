"""The kinds of plot, each drawn at any width."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lightspeed_providers.transcripts.report.canvas import FONT_PX, Paint
from lightspeed_providers.transcripts.report.figures import Floats
from lightspeed_providers.transcripts.report.period import Integers, Steps
from lightspeed_providers.transcripts.report.shares import Share
from lightspeed_providers.transcripts.report.texts import one_line, seconds, short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = Callable[["Figure"], None]

ROW_PX = 40
_ROWS_FOOT_PX = 8
_SCALE_PX = 22
_CHARACTER_PX = 6.6
_MONTH = "%b"


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a bar chart: its parts, each with its colour, and what stands at its end."""

    label: str
    parts: Sequence[tuple[Paint, float]]
    value: str


@dataclass(frozen=True, slots=True)
class Rated:
    """A row of shares with their intervals."""

    label: str
    share: Share
    value: str


def stacked(
    steps: Steps, series: Sequence[tuple[Paint, Integers | Floats]], unit: str, *, below: int = 0
) -> Draw:
    """Bars over time, the series on top of one another; the last `below` of them hang down."""

    def draw(figure: "Figure") -> None:
        axes = _time_axes(figure, steps, unit)
        places = np.arange(steps.count)
        up, down = np.zeros(steps.count), np.zeros(steps.count)
        for number, (paint, values) in enumerate(series):
            hangs = number >= len(series) - below
            heights = values.astype(np.float64) * (-1 if hangs else 1)
            bottom = down if hangs else up
            axes.bar(places, heights, 0.78, bottom=bottom, color=paint.rgb, linewidth=0)
            bottom += heights
        most = max(float(up.max()), 1.0)
        least = float(down.min())
        axes.set_ylim(1.06 * least, 1.06 * most)
        if least < 0:
            axes.axhline(0, color=Paint.MUTED.rgb, linewidth=0.8)
            axes.spines["bottom"].set_visible(False)
        _count_ticks(axes, least, most)

    return draw


def bands(steps: Steps, quantiles: Floats) -> Draw:
    """The p50 as a line, from it to the p90 a band, and to the p99 a lighter one."""

    def draw(figure: "Figure") -> None:
        axes = _time_axes(figure, steps, "seconds")
        places = np.arange(steps.count)
        p50, p90, p99 = quantiles
        color = Paint.ACCENT.rgb
        alone = _alone(p50)
        for low, high, alpha in ((p50, p90, 0.38), (p90, p99, 0.16)):
            axes.fill_between(places, low, high, color=color, alpha=alpha, linewidth=0)
            axes.vlines(places[alone], low[alone], high[alone], color=color, alpha=alpha, lw=6)
        axes.plot(places, p99, color=color, linewidth=0.9, alpha=0.6, linestyle=(0, (2, 2)))
        axes.plot(places, p50, color=color, linewidth=2, solid_capstyle="round")
        axes.plot(places[alone], p50[alone], "o", color=color, markersize=6)
        known = quantiles[np.isfinite(quantiles)]
        _second_ticks(axes, known)

    return draw


def bars(rows: Sequence[Bar], most: float | None = None) -> Draw:
    """A row each: its label and value, and the bar below them."""

    def draw(figure: "Figure") -> None:
        axes, width = _row_axes(figure, len(rows))
        whole = most or max((sum(value for _, value in row.parts) for row in rows), default=0) or 1
        for place, row in enumerate(rows):
            _row_words(axes, place, row.label, row.value, width)
            _line(axes, place, 0, 1, Paint.TRACK)
            at = 0.0
            for paint, value in row.parts:
                _line(axes, place, at, at + value / whole, paint)
                at += value / whole

    return draw


def intervals(rows: Sequence[Rated]) -> Draw:
    """A row each: its label, its share as a dot, and where the share may well be as a line."""

    def draw(figure: "Figure") -> None:
        axes, width = _row_axes(figure, len(rows), foot_px=_SCALE_PX)
        for part in (0, 0.25, 0.5, 0.75, 1):
            axes.plot([part] * 2, [-0.35, len(rows) - 0.75], color=Paint.GRID.rgb, lw=1, zorder=0)
            side = "left" if part == 0 else "right" if part == 1 else "center"
            axes.annotate(
                f"{part:.0%}".replace("%", " %"),
                (part, len(rows) - 0.75),
                xytext=(0, -8),
                textcoords="offset points",
                ha=side,
                va="top",
                color=Paint.MUTED.rgb,
                fontsize=FONT_PX - 1,
            )
        for place, row in enumerate(rows):
            _row_words(axes, place, row.label, row.value, width)
            _line(axes, place, row.share.low, row.share.high, Paint.LIKED, thick=0.1, alpha=0.45)
            if row.share.value is not None:
                axes.plot(
                    [row.share.value],
                    [place + 0.02],
                    "o",
                    color=Paint.LIKED.rgb,
                    markersize=9,
                    clip_on=False,
                )

    return draw


def rows_px(rows: int, *, with_scale: bool = False) -> int:
    """How tall a chart of so many rows is."""
    return rows * ROW_PX + (_SCALE_PX if with_scale else _ROWS_FOOT_PX)


def _row_axes(figure: "Figure", rows: int, foot_px: int = _ROWS_FOOT_PX) -> "tuple[Axes, float]":
    width, height = figure.get_size_inches() * 72
    edge = 6 / width
    axes = figure.add_axes((edge, foot_px / height, 1 - 2 * edge, 1 - foot_px / height))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(rows - 0.75, -0.75)
    return axes, float(width) - 12


def _row_words(axes: "Axes", place: int, label: str, value: str, width: float) -> None:
    room = max(int(width / _CHARACTER_PX) - len(value) - 2, 8)
    axes.text(0, place - 0.3, one_line(label, room), va="center", color=Paint.INK.rgb)
    axes.text(1, place - 0.3, value, va="center", ha="right", color=Paint.MUTED.rgb)


def _line(
    axes: "Axes",
    place: int,
    start: float,
    end: float,
    paint: Paint,
    thick: float = 0.2,
    alpha: float = 1,
) -> None:
    if end > start:
        axes.barh(place + 0.02, end - start, thick, start, color=paint.rgb, alpha=alpha, lw=0)


def _time_axes(figure: "Figure", steps: Steps, unit: str) -> "Axes":
    width, height = figure.get_size_inches() * 72
    left, right, foot, head = 48, 22, 36, 24
    axes = figure.add_axes(
        (left / width, foot / height, 1 - (left + right) / width, 1 - (foot + head) / height)
    )
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(Paint.MUTED.rgb)
    axes.tick_params(length=0, labelcolor=Paint.MUTED.rgb, labelsize=FONT_PX - 1, pad=6)
    axes.grid(axis="y", color=Paint.GRID.rgb, linewidth=1)
    axes.set_axisbelow(True)
    axes.set_xlim(-0.6, steps.count - 0.4)
    figure.text(
        6 / width, 1 - 4 / height, unit, va="top", color=Paint.MUTED.rgb, fontsize=FONT_PX - 1
    )
    ticks = _ticks(steps, max(int((width - left - right) / 74), 2))
    axes.set_xticks(ticks, _tick_labels(steps, ticks))
    return axes


def _ticks(steps: Steps, most: int) -> list[int]:
    if steps.is_hourly:
        every = next((hours for hours in (1, 2, 3, 6, 12) if steps.count <= hours * most), 24)
        return [step for step in range(steps.count) if steps.begins(step).hour % every == 0]
    every = next(
        (days for days in (1, 2, 5, 7, 10, 14, 28) if steps.count <= days * most),
        -(-steps.count // most),
    )
    return list(range(steps.count - 1, -1, -every))[::-1]


def _tick_labels(steps: Steps, ticks: Sequence[int]) -> list[str]:
    labels = []
    before = None
    for tick in ticks:
        begins = steps.begins(tick)
        day = f"{begins.day} {begins:{_MONTH}}"
        if steps.is_hourly:
            new = before is None or before.date() != begins.date()
            labels.append(f"{begins:%H:%M}\n{day}" if new else f"{begins:%H:%M}")
        else:
            new = before is None or before.year != begins.year
            labels.append(f"{day}\n{begins.year}" if new else day)
        before = begins
    return labels


def _count_ticks(axes: "Axes", least: float, most: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(
        MaxNLocator(4, integer=most - least < 20, steps=[1, 2, 2.5, 5, 10])
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(abs(value))))


def _second_ticks(axes: "Axes", known: Floats) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    most, least = (float(known.max()), float(known.min())) if len(known) else (1.0, 0.0)
    if least > 0 and most / least > 40:
        axes.set_yscale("log")
        low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
        axes.set_ylim(max(least / 1.4, 10**low), most * 1.2)
        axes.yaxis.set_major_locator(FixedLocator([10.0**power for power in range(low, high + 1)]))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(0, 1.08 * most or 1)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "0" if value == 0 else seconds(value))
    )


def _alone(values: Floats) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """The steps before and after which nothing is: no line would show them."""
    known = np.concatenate([[False], np.isfinite(values), [False]])
    alone: np.ndarray[tuple[int], np.dtype[np.bool_]] = known[1:-1] & ~known[:-2] & ~known[2:]
    return alone
