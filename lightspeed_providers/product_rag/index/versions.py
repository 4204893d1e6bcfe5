"""Versions compare as versions: 1.10 is above 1.9."""

import functools
import re
from collections.abc import Iterable

from packaging.version import InvalidVersion, Version

_PARTS = re.compile(r"\d+|[a-zA-Z]+")


@functools.total_ordering
class _Odd:
    """A version that is none by the rules, compared by its numbers and words."""

    def __init__(self, text: str) -> None:
        self.parts = [
            (part.isdigit(), int(part) if part.isdigit() else 0, part.lower())
            for part in _PARTS.findall(text)
        ]

    def __lt__(self, other: "_Odd") -> bool:
        return self.parts < other.parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Odd) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(tuple(self.parts))


@functools.lru_cache(maxsize=1024)
def version_key(text: str) -> tuple[int, Version | _Odd]:
    """Return what versions are sorted by; names such as `main` come above all numbers."""
    try:
        return 1, Version(text)
    except InvalidVersion:
        return (0 if text[:1].isdigit() else 2), _Odd(text)


def latest(versions: Iterable[str]) -> str:
    """Return the highest version; one of numbers before a name such as `main`."""
    every = list(versions)
    numbered = [version for version in every if version_key(version)[0] < 2]
    return max(numbered or every, key=version_key)


def matching_version(wanted: str, held: Iterable[str]) -> str | None:
    """Return which of the held versions is meant: that one, the series it belongs to, or its own
    highest release. `5.2.19` means 5.2, and `5` means the highest 5.x.
    """
    every = list(held)
    parts = _dotted(wanted)
    same = [version for version in every if _dotted(version) == parts]
    series = [version for version in every if _is_series(_dotted(version), parts)]
    below = [version for version in every if _is_series(parts, _dotted(version))]
    if same:
        return same[0]
    if series:
        return max(series, key=lambda version: len(_dotted(version)))
    return latest(below) if below else None


def _is_series(series: list[str], release: list[str]) -> bool:
    return len(series) < len(release) and release[: len(series)] == series


def _dotted(version: str) -> list[str]:
    return version.strip().lower().removeprefix("v").split(".")
