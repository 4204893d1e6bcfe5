"""How long a server asks its clients to wait."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_S = 3600.0
"""No client is told to wait longer: the other server's clock may be wrong."""


def retry_after_of(
    headers: Mapping[str, str], now: datetime | None = None, *, longest_s: float = LONGEST_S
) -> float | None:
    """Return the seconds that `Retry-After` names, as a number or a date; None where it does not.

    Those who know milliseconds say them in `retry-after-ms`, which is more exact.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000, longest_s)
    told = headers.get("retry-after")
    seconds = _number(told)
    if seconds is not None:
        return _bounded(seconds, longest_s)
    if not told:
        return None
    try:
        moment = parsedate_to_datetime(told)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _bounded((moment - (now or datetime.now(UTC))).total_seconds(), longest_s)


def _number(told: str | None) -> float | None:
    try:
        number = float(told or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _bounded(seconds: float, longest_s: float) -> float:
    return min(max(seconds, 0.0), longest_s)
