"""The time that is looked at, cut into even steps."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US
_MONDAY_US = 4 * DAY_US
"""The first Monday since 1970, where weeks begin."""
_MOST_HOURS, _MOST_DAYS, _MOST_WEEKS = 72, 100, 105

Integers = NDArray[np.int64]


def moment(us: int) -> datetime:
    """The moment of so many microseconds since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


@dataclass(frozen=True, slots=True)
class Steps:
    """Even steps of time that cover a period; times are UTC and weeks begin on Mondays."""

    start_us: int
    step_us: int
    count: int

    def of(self, times_us: NDArray[Any]) -> Integers:  # Any: of whole numbers
        """The step that each moment is in; one outside is in the nearest."""
        places = (np.asarray(times_us, dtype=np.int64) - self.start_us) // self.step_us
        within: Integers = np.clip(places, 0, self.count - 1)
        return within

    def begins(self, step: int) -> datetime:
        """When a step begins."""
        return moment(self.start_us + step * self.step_us)

    @property
    def each(self) -> str:
        """What a step is: hour, day, week, 5 weeks."""
        named = {HOUR_US: "hour", DAY_US: "day", WEEK_US: "week"}
        return named.get(self.step_us) or f"{self.step_us // WEEK_US} weeks"

    def name(self, step: int) -> str:
        """A step as a table names it."""
        return f"{self.begins(step):%Y-%m-%d %H:%M}" if self.is_hourly else self.day(step)

    def day(self, step: int) -> str:
        """The day that a step begins on."""
        return f"{self.begins(step):%Y-%m-%d}"

    @property
    def is_hourly(self) -> bool:
        """Whether a step is less than a day."""
        return self.step_us < DAY_US


def steps_of(since_us: int, until_us: int, *, least_us: int = HOUR_US) -> Steps:
    """Cut a period into hours, days or weeks, so that there are about a hundred at most."""
    step = max(_step_us(until_us - since_us), least_us)
    offset = _MONDAY_US if step >= WEEK_US else 0
    start = since_us - (since_us - offset) % step
    return Steps(start, step, max(-(-(until_us - start) // step), 1))


def _step_us(span_us: int) -> int:
    if span_us <= _MOST_HOURS * HOUR_US:
        return HOUR_US
    if span_us <= _MOST_DAYS * DAY_US:
        return DAY_US
    return max(-(-span_us // (_MOST_WEEKS * WEEK_US)), 1) * WEEK_US


def last_days(now_us: int, days: int) -> int:
    """When a period of so many days until now begins: on the full hour if short, else on a day."""
    since = now_us - days * DAY_US
    return since - since % (HOUR_US if days <= _MOST_HOURS // 24 - 1 else DAY_US)
