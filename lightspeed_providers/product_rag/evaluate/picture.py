"""Results as one picture that is understood at a glance."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightspeed_providers.product_rag.evaluate.panels import (
    draw_quality,
    draw_recall,
    draw_scores,
)
from lightspeed_providers.product_rag.evaluate.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH_PX = 1200
_DPI = 100
_HEAD_PX, _FOOT_PX, _ROW_PX, _LEAST_PX = 140, 75, 24, 680


def draw(results: Results, path: Path) -> None:
    """Write the picture as a PNG that is 1200 pixels wide."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = height_px(results)
    figure = Figure(figsize=(WIDTH_PX / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    place = {"bottom": _FOOT_PX / height, "top": 1 - _HEAD_PX / height, "right": 0.97}
    if results.types:
        left = figure.add_gridspec(1, 1, left=0.17, **{**place, "right": 0.62})
        right = figure.add_gridspec(2, 1, left=0.71, hspace=0.5, **place)
        draw_quality(figure.add_subplot(left[0, 0]), results)
        draw_recall(figure.add_subplot(right[0, 0]), results)
        draw_scores(figure.add_subplot(right[1, 0]), results)
    else:
        draw_scores(figure.add_subplot(figure.add_gridspec(1, 1, left=0.1, **place)[0]), results)
    _head(figure, results, height)
    figure.savefig(path, dpi=_DPI)


def height_px(results: Results) -> int:
    """Return how tall the picture is: it grows with the types and searches."""
    rows = (len(results.types) + 1) * (len(results.searchers) + 1) * _ROW_PX
    return max(_LEAST_PX, _HEAD_PX + _FOOT_PX + rows)


def _head(figure: "Figure", results: Results, height: int) -> None:
    index, settings = results.index, results.settings
    split = "" if settings.split == "all" else f"{settings.split} "
    lines = (
        (22, 17, "bold", "#222222", f"Search in the documentation of {_short(index.holds)}"),
        (
            58,
            11.5,
            "normal",
            "#555555",
            f"{len(results.questions)} {split}questions, {index.pages} pages, {index.passages} "
            "passages. Dots are means, lines 95 % confidence intervals.",
        ),
    )
    for down, size, weight, color, text in lines:
        figure.text(
            0.02, 1 - down / height, text, fontsize=size, fontweight=weight, color=color, va="top"
        )


def _short(text: str, most: int = 70) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
