"""What the benchmarks of responses print: a line a figure, beside its target and the stock's."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_RESAMPLES = 2000


@dataclass(frozen=True)
class Figure:
    """One figure: a difference to the stock provider, a ratio, or something of ours alone."""

    what: str
    unit: str
    seen: float
    low: float | None = None
    high: float | None = None
    ours: float | None = None
    stock: float | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """What is wanted, if anything is."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return "" if self.at_least is None else f">= {self.at_least:g}"

    @property
    def reached(self) -> str:
        """Whether it was seen, and whether the interval leaves no doubt."""
        if self.at_most is not None:
            return _word(self.at_most - self.seen, self.high and self.at_most - self.high)
        if self.at_least is not None:
            return _word(self.seen - self.at_least, self.low and self.low - self.at_least)
        return ""


def _word(left: float, surely: float | None) -> str:
    if left < 0:
        return "NO"
    return "yes" if surely is None or surely >= 0 else "yes?"


@dataclass
class Table:
    """Figures that were measured together."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def added(
    what: str, ours: np.ndarray, stock: np.ndarray, *, at_most: float | None = None
) -> Figure:
    """Return by how many ms ours is slower at the median, with a 95 % bootstrap interval.

    Rounds are drawn in pairs, because both of a round met the machine in the same mood.
    """
    drawn = _drawn(len(ours))
    differences = np.median(ours[drawn], axis=1) - np.median(stock[drawn], axis=1)
    low, high = np.percentile(differences, (2.5, 97.5))
    medians = float(np.median(ours)), float(np.median(stock))
    return Figure(
        what, "ms more", medians[0] - medians[1], float(low), float(high), *medians, at_most=at_most
    )


def ratio(
    what: str, unit: str, ours: np.ndarray, stock: np.ndarray, *, at_least: float | None = None
) -> Figure:
    """Return ours divided by the stock's, of means over blocks, with the same kind of interval."""
    drawn = _drawn(len(ours))
    low, high = np.percentile(ours[drawn].mean(axis=1) / stock[drawn].mean(axis=1), (2.5, 97.5))
    means = float(ours.mean()), float(stock.mean())
    return Figure(
        what, f"of {unit}", means[0] / means[1], float(low), float(high), *means, at_least=at_least
    )


def _drawn(rounds: int) -> np.ndarray:
    return np.random.default_rng(0).integers(rounds, size=(_RESAMPLES, rounds))


def print_tables(tables: Sequence[Table]) -> None:
    """Print each table, and how many targets were reached."""
    for table in tables:
        print(f"\n{table.title}")
        print(
            f"  {'':44}{'ours':>9}{'stock':>9}{'seen':>9} {'':9}{'95 % interval':>18}"
            f"{'target':>9}{'':>5}"
        )
        for f in table.figures:
            between = "" if f.low is None else f"{f.low:+.2f} to {f.high:+.2f}"
            print(
                f"  {f.what:44}{_short(f.ours):>9}{_short(f.stock):>9}{f.seen:9.2f} {f.unit:9}"
                f"{between:>18}{f.target:>9}{f.reached:>5}"
            )
        for note in table.notes:
            print(f"  {note}")
        for fault in table.faults:
            print(f"  FAULT: {fault}")
    wanted = [(t, f) for t in tables for f in t.figures if f.target]
    missed = [(t, f) for t, f in wanted if f.reached == "NO"]
    print(f"\n{len(wanted) - len(missed)} of {len(wanted)} targets reached")
    for table, figure in missed:
        print(f"  not reached: {table.title}: {figure.what}")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
