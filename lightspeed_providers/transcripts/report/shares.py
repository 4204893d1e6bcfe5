"""A part of a whole, and how sure it is."""

import math
from dataclasses import dataclass

_Z = 1.959964
"""Of a 95 % confidence interval."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with Wilson's 95 % confidence interval of the share."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share, or None of nothing."""
        return self.count / self.of if self.of else None

    @property
    def low(self) -> float:
        """The least that the share may well be."""
        return self._bound(-1)

    @property
    def high(self) -> float:
        """The most that the share may well be."""
        return self._bound(1)

    def _bound(self, sign: int) -> float:
        if not self.of:
            return 0.0 if sign < 0 else 1.0
        part, n = self.count / self.of, self.of
        middle = part + _Z * _Z / (2 * n)
        spread = _Z * math.sqrt(part * (1 - part) / n + _Z * _Z / (4 * n * n))
        return min(max((middle + sign * spread) / (1 + _Z * _Z / n), 0.0), 1.0)
