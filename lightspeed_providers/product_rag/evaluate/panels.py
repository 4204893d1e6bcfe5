"""The panels of the picture: ranking by type, recall, and similarity with and without an answer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightspeed_providers.core.plots import BAD, BAND, FAINT, GOOD, INK, OTHERS, PRODUCT, tidy
from lightspeed_providers.product_rag.evaluate.metrics import metric_names, recall_cuts
from lightspeed_providers.product_rag.evaluate.results import ALL, Measured, Results
from lightspeed_providers.product_rag.evaluate.table import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 24
_LONGEST = 18


def draw_quality(axes: "Axes", results: Results) -> None:
    """Draw how well each search ranks, for all questions and for each type."""
    metric = metric_names(results.settings.k)[0]
    groups = (ALL, *results.types)
    step = 1 / (len(results.searchers) + 0.6)
    first = -(len(results.searchers) - 1) * step / 2
    axes.axhspan(-0.5, 0.5, color=BAND, zorder=0)
    for n, searcher in enumerate(results.searchers):
        _draw_searcher(axes, results, searcher, groups, first + n * step)
    for edge in range(1, len(groups)):
        axes.axhline(edge - 0.5, color=FAINT, linewidth=1, zorder=1)
    axes.set_yticks(range(len(groups)), [_with_count(results, group) for group in groups])
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlim(0, 1.09)  # room for the number beside an interval that ends at 1
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.set_xlabel(f"{label(metric)} on pages (1: the right page always comes first)")
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(results.searchers), frameon=False,
        borderaxespad=0.3, handletextpad=0.3, columnspacing=1.2, fontsize=10.5,
    )  # fmt: skip
    tidy(axes, "x")


def draw_recall(axes: "Axes", results: Results) -> None:
    """Draw how much of what was expected is among the first passages of each search."""
    cuts = recall_cuts(results.settings.k)
    width = 0.84 / len(results.searchers)
    for n, searcher in enumerate(results.searchers):
        summary = searcher.summary(ALL, "pages")
        if summary is None:
            continue
        means = [summary.metrics[f"recall@{cut}"].mean for cut in cuts]
        places = [at + (n - (len(results.searchers) - 1) / 2) * width for at in range(len(cuts))]
        axes.bar(places, means, width * 0.92, color=_color(results, searcher))
        if searcher is results.searchers[-1]:
            for place, mean in zip(places, means, strict=True):
                axes.annotate(
                    f"{mean:.0%}", (place, mean), xytext=(0, 2), textcoords="offset points",
                    ha="center", fontsize=9.5, fontweight="bold", color=PRODUCT,
                )  # fmt: skip
    axes.set_title("The right page is", loc="left", fontsize=11.5, color=INK, pad=14)
    axes.set_xticks(range(len(cuts)), [_among(cut) for cut in cuts])
    axes.set_ylim(0, 1.0)
    axes.set_yticks([0, 0.5, 1.0], ["0 %", "50 %", "100 %"])
    tidy(axes, "y")


def draw_scores(axes: "Axes", results: Results) -> None:
    """Draw how similar the best passage is, for questions with and without an answer."""
    product = results.searcher()
    answerable = {question.id for question in results.questions if question.is_answerable}
    yes = [one.best_score for one in product.outcomes if one.id in answerable]
    no = [one.best_score for one in product.outcomes if one.id not in answerable]
    low, high = min(yes + no), max(yes + no)
    for values, color, name in (
        (yes, GOOD, "with an answer"),
        (no, BAD, "without"),
    ):
        if values:
            axes.hist(
                values, bins=_BINS, range=(low, max(high, low + 0.01)), color=color, alpha=0.6,
                weights=[100 / len(values)] * len(values), label=f"{name} ({len(values)})",
            )  # fmt: skip
    told = product.separation
    axes.set_xlabel("score of the best passage")
    if told is not None:
        axes.axvline(told.threshold, color=INK, linestyle="--", linewidth=1.2)
        axes.set_xlabel(
            f"score of the best passage\n{told.threshold:.2f} separates best: keeps "
            f"{told.answerable_kept:.0%}, refuses {told.unanswerable_refused:.0%}"
        )
    axes.set_ylabel("% of the questions")
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.04, 1.0), ncols=2, frameon=False, borderaxespad=0.2,
        handlelength=1.2, handletextpad=0.4, columnspacing=1.0, fontsize=10.5,
    )  # fmt: skip
    tidy(axes, "x")


def _draw_searcher(
    axes: "Axes", results: Results, searcher: Measured, groups: Sequence[str], offset: float
) -> None:
    metric = metric_names(results.settings.k)[0]
    color = _color(results, searcher)
    is_product = searcher is results.searchers[-1]
    told = [
        (row + offset, summary.metrics[metric])
        for row, group in enumerate(groups)
        if (summary := searcher.summary(group, "pages")) is not None
    ]
    for place, estimate in told:
        low, high = estimate.low, estimate.high
        if low is not None and high is not None:
            axes.hlines(place, low, high, color=color, linewidth=3, alpha=0.45, zorder=2)
        axes.annotate(
            f"{estimate.mean:.2f}", (high if high is not None else estimate.mean, place),
            xytext=(7, 0), textcoords="offset points", va="center", color=color, zorder=4,
            fontsize=10 if is_product else 9, fontweight="bold" if is_product else "normal",
        )  # fmt: skip
    axes.scatter(
        [estimate.mean for _, estimate in told], [place for place, _ in told], color=color,
        s=70 if is_product else 45, label=searcher.name, zorder=3, clip_on=False,
    )  # fmt: skip


def _color(results: Results, searcher: Measured) -> str:
    place = results.searchers.index(searcher)
    is_product = place == len(results.searchers) - 1
    return PRODUCT if is_product else OTHERS[place % len(OTHERS)]


def _with_count(results: Results, group: str) -> str:
    summary = results.searcher().summary(group, "pages")
    name = "all questions" if group == ALL else group
    shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return f"{shown} ({summary.questions if summary else 0})"


def _among(cut: int) -> str:
    return "first" if cut == 1 else f"in first {cut}"
