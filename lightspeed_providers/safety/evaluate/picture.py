"""The ROC curves: what is caught for how many false alarms, at every threshold."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightspeed_providers.core.plots import BAND, FAINT, INK, OTHERS, PRODUCT, tidy
from lightspeed_providers.safety.evaluate.decisions import Quality
from lightspeed_providers.safety.evaluate.rates import Rate
from lightspeed_providers.safety.evaluate.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 100
_SIZE_PX = (1200, 700)
_FEW = 0.1
"""Where false alarms still let a shield be used; the right panel shows only so many."""
_LONGEST = 60


def can_draw(results: Results) -> bool:
    """Whether there is anything both to catch and to let pass."""
    return any(_is_shown(one) for one in results.qualities)


def draw(results: Results, path: Path) -> None:
    """Write the picture as a PNG that is 1200 pixels wide."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = _SIZE_PX
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1, 2, left=0.07, right=0.97, bottom=0.24, top=0.8, wspace=0.18)
    shown = [one for one in results.qualities if _is_shown(one)]
    whole, few = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    for axes, most in ((whole, 1.0), (few, _FEW)):
        _panel(axes, shown, most)
    whole.plot([0, 1], [0, 1], color=FAINT, linewidth=1.5, linestyle="--", zorder=1)
    whole.set_title("All thresholds", loc="left", fontsize=11.5, color=INK)
    few.set_title(f"With at most {_FEW:.0%} false alarms", loc="left", fontsize=11.5, color=INK)
    figure.legend(
        *whole.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0.055, 0.14),
        ncols=2, frameon=False, fontsize=10.5,
    )  # fmt: skip
    name = ", ".join(results.settings.shields)
    title = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    first = results.qualities[0]
    facts = (
        f"{first.recall.of} texts to block, {first.false_positives.of} to let pass, split "
        f"{results.settings.split}. Dots are the shields as configured, lines 95 % intervals."
    )
    figure.text(0.02, 0.96, title, fontsize=17, fontweight="bold", color=INK, va="top")
    figure.text(0.02, 0.9, facts, fontsize=11.5, color="#555555", va="top")
    figure.savefig(path, dpi=_DPI)


def _panel(axes: "Axes", shown: Sequence[Quality], most: float) -> None:
    colors = (PRODUCT, *OTHERS)
    for n, one in enumerate(shown):
        color = colors[n % len(colors)]
        label = f"{one.name}: {_at(one)}"
        if one.curve is not None:
            label += f", AUC {one.curve.auc:.3f}"
            axes.plot(
                one.curve.false_positives, one.curve.recall, color=color, linewidth=2.2,
                drawstyle="steps-post", zorder=2, alpha=0.9,
            )  # fmt: skip
        _point(axes, one, color, label)
    margin = 0.02 * most
    axes.set_xlim(-margin, most + margin)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("false alarms: share blocked of what should pass", fontsize=10.5)
    axes.set_ylabel("caught: share blocked of what should be", fontsize=10.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_facecolor(BAND if most < 1 else "white")
    tidy(axes, "y")
    axes.grid(axis="x", color=FAINT)


def _point(axes: "Axes", one: Quality, color: str, label: str) -> None:
    across, up = one.false_positives, one.recall
    axes.errorbar(
        [across.share or 0], [up.share or 0], xerr=_arms(across), yerr=_arms(up), fmt="o",
        color=color, markersize=8, elinewidth=2.5, alpha=0.95, zorder=3, label=label,
        markeredgecolor="white",
    )  # fmt: skip


def _arms(told: Rate) -> list[list[float]]:
    share = told.share or 0.0
    below = max(share - (told.low or 0.0), 0.0)
    return [[below], [max((told.high or 0.0) - share, 0.0)]]


def _at(one: Quality) -> str:
    return f"{one.recall.share or 0:.0%} caught, {one.false_positives.share or 0:.1%} false alarms"


def _is_shown(one: Quality) -> bool:
    return one.recall.share is not None and one.false_positives.share is not None
