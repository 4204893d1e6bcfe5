"""How our pictures look."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PRODUCT = "#0b5fa5"
OTHERS = ("#e08e0b", "#8c8c8c", "#3a9d6e", "#b565a7")
INK, FAINT, BAND = "#222222", "#e4e4e4", "#f2f6fa"
GOOD, BAD = "#4c6b73", "#d1495b"


def tidy(axes: "Axes", grid: str) -> None:
    """Leave of a panel's frame only what helps to read it; `grid` is x or y."""
    axes.grid(axis="x" if grid == "x" else "y", color=FAINT)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=10.5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
