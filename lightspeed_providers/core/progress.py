"""How long work shows itself: a bar in a terminal, a few lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, int, int], None]
"""Is told a stage of the work, how much of it is done, and how much there is."""

_SAYS_SOMETHING_AFTER_S = 1.0


@contextmanager
def shown_progress() -> Iterator[Report]:
    """Give a report function that writes to standard error."""
    if sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        yield _lines()


@contextmanager
def _bars() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {}
        started: dict[str, float] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, rate="")
                started[stage] = time.monotonic()
            rate = shown_rate(done, time.monotonic() - started[stage])
            bars.update(tasks[stage], completed=done, rate=rate)

        yield report


def shown_rate(done: int, seconds: float) -> str:
    """Return how many a second, or nothing before that can be said."""
    return f"{done / seconds:.0f}/s" if seconds >= _SAYS_SOMETHING_AFTER_S else ""


def shown_left(done: int, total: int, seconds: float) -> str:
    """Return the rate and the time left, or nothing before that can be said."""
    if done >= total or not shown_rate(done, seconds):
        return ""
    left = (total - done) * seconds / done
    return f", {shown_rate(done, seconds)}, {int(left // 60)} min {int(left % 60)} s left"


def _lines() -> Report:
    tenths: dict[str, int] = {}
    started: dict[str, float] = {}

    def report(stage: str, done: int, total: int) -> None:
        seconds = time.monotonic() - started.setdefault(stage, time.monotonic())
        tenth = 10 * done // total
        if tenth > tenths.get(stage, 0):
            tenths[stage] = tenth
            sys.stderr.write(f"{stage}: {done} of {total}{shown_left(done, total, seconds)}\n")
            sys.stderr.flush()

    return report
