"""Which index is believed where two hold a release differently."""

from enum import StrEnum


class Prefer(StrEnum):
    """The first or the last of those that are merged."""

    FIRST = "first"
    LAST = "last"
