"""What the shields' benchmarks print: a line a figure, with its target and the others' figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """One figure of ours, what is wanted of it, and the same of others."""

    what: str
    ours: float
    unit: str = ""
    at_most: float | None = None
    stock: float | None = None
    nemo: float | None = None
    note: str = ""


@dataclass
class Report:
    """The figures of one measure, and what went wrong in it."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def expect(self, holds: bool, fault: str) -> None:
        """Note a fault where something does not hold that has nothing to do with speed."""
        if not holds and fault not in self.faults:
            self.faults.append(fault)


_COLUMNS = f"{'':52}{'target':>10}{'ours':>10}{'':5}{'stock':>10}{'NeMo':>10}{'stock/ours':>12}"


def print_report(report: Report) -> None:
    """Print a measure as a table."""
    print(f"\n{report.title} (measured in {report.took_s:.0f} s)\n{_COLUMNS}")
    for figure in report.figures:
        target = "" if figure.at_most is None else f"<= {_short(figure.at_most)}"
        reached = "" if figure.at_most is None else "yes" if figure.ours <= figure.at_most else "NO"
        ratio = ""
        if figure.stock is not None and figure.ours >= 1:  # of less, a ratio tells noise
            ratio = f"{figure.stock / figure.ours:.1f}"
        what = f"{figure.what}{f', {figure.unit}' if figure.unit else ''}"
        print(
            f"  {what:50}{target:>10}{_short(figure.ours):>10}{reached:>5}"
            f"{_short(figure.stock):>10}{_short(figure.nemo):>10}{ratio:>12}"
            + (f"  {figure.note}" if figure.note else "")
        )
    for note in report.notes:
        print(f"  {note}")
    for fault in report.faults:
        print(f"  FAULT: {fault}")


def summary(reports: Sequence[Report]) -> str:
    """Return how many targets were reached, and which were not."""
    aimed = [(r, f) for r in reports for f in r.figures if f.at_most is not None]
    missed = [f"{r.title}: {f.what}" for r, f in aimed if f.ours > (f.at_most or 0)]
    lines = [f"{len(aimed) - len(missed)} of {len(aimed)} targets reached"]
    return "\n".join([*lines, *(f"  not reached: {line}" for line in missed)])


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    if value == round(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
