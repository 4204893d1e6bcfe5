"""Where the texts of a request stand, and the request with other texts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightspeed_providers.core.verdicts import Direction

type Place = tuple[str | int, ...]

_NAME_FIELDS = frozenset({"name", "type", "id", "tool_call_id", "file_id", "detail", "role"})
_NAME = re.compile(r"[\w.:/-]{1,128}")


@dataclass(frozen=True)
class Text:
    """One text of a request and how it is screened."""

    place: Place
    text: str
    direction: Direction | None = None
    """None for what is the client's own setting: it is rewritten, and blocks nothing."""
    group: int | None = None
    """Texts of one group reach the model as one: what is split over them counts."""
    asked: bool = False
    """Whether it belongs to what is asked now, not to what was said before."""
    in_file: bool = False
    prompt: bool = False
    """Whether it tells the model how to answer."""


def strings(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:  # Any: JSON
    """Yield every string inside JSON with its place; names of fields are none."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from strings(inner, (*place, name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from strings(inner, (*place, number))


def is_name(place: Place, text: str) -> bool:
    """Tell whether a string names something that other fields refer to, and so must stay."""
    return place[-1] in _NAME_FIELDS and _NAME.fullmatch(text) is not None


def replaced(value: Any, texts: Mapping[Place, str]) -> Any:  # Any: JSON
    """Return JSON with other strings at these places."""
    for place, text in texts.items():
        value = _replaced(value, place, text)
    return value


def _replaced(value: Any, place: Place, text: str) -> Any:  # Any: JSON
    if not place:
        return text
    first, *rest = place
    inner = _replaced(value[first], tuple(rest), text)
    if isinstance(value, Mapping):
        return {**value, first: inner}
    return [*value[: int(first)], inner, *value[int(first) + 1 :]]


def joined(texts: Sequence[Text]) -> list[Text]:
    """Return, of each group of several texts that are screened, its whole text."""
    groups: dict[int, list[Text]] = {}
    for text in texts:
        if text.group is not None:
            groups.setdefault(text.group, []).append(text)
    return [
        Text(
            place=(),
            text="\n".join(t.text for t in parts),
            direction=next(t.direction for t in parts if t.direction is not None),
            group=group,
            asked=parts[0].asked,
        )
        for group, parts in groups.items()
        if len(parts) > 1 and any(t.direction is not None for t in parts)
    ]
