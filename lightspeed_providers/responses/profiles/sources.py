"""Where profiles were written: files and lines, for faults that an operator can find."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lightspeed_providers.core.errors import ConfigurationError

type Place = tuple[str | int, ...]
"""Names and numbers on the way to a value, as in `("shields", "input", 0)`."""


@dataclass(frozen=True)
class Source:
    """What a profile was written in; a place without a line goes by what holds it."""

    name: str
    folder: Path | None = None
    lines: Mapping[Place, int] = field(default_factory=dict)
    blocks: frozenset[Place] = frozenset()
    """Where texts begin in the line after their name."""

    def line(self, place: Place) -> int | None:
        """Return the line of a place, or of the innermost that holds it."""
        for length in range(len(place), -1, -1):
            if (line := self.lines.get(place[:length])) is not None:
                return line
        return None

    def within(self, place: Place) -> "Source":
        """Return what a part of this is written in."""
        depth = len(place)
        return Source(
            self.name,
            None,
            {p[depth:]: line for p, line in self.lines.items() if p[:depth] == place},
            frozenset(p[depth:] for p in self.blocks if p[:depth] == place),
        )

    def fault(self, place: Place, said: str, *, within: int = 0) -> "Fault":
        """Return a fault at a place, some lines further where it is within a text."""
        line = self.line(place)
        if line is not None and within and place in self.blocks:
            line += within
        return Fault(self.name, line, said)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a profile."""

    source: str
    line: int | None
    said: str

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}, line {self.line}"
        return f"{where}: {self.said}"


class ProfileFaults(Exception):
    """What is wrong in a file, all of it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(str(faults[0]))
        self.faults = faults


class BrokenProfilesError(ConfigurationError):
    """Stops the start: the first fault, and how many more there are."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        more = len(faults) - 1
        count = f" ({more} more fault{'s' if more > 1 else ''} after this one)" if more else ""
        super().__init__(f"{faults[0]}.{count}")
        self.faults = faults


class _Loader(yaml.SafeLoader):
    """Reads YAML in which only `true` and `false` are no words: `off` is a mode of ours."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, found) for tag, found in pairs if tag != "tag:yaml.org,2002:bool"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF")
)


def read_mapping(path: Path) -> tuple[dict[str, Any], Source]:  # Any: YAML
    """Return what a YAML file holds, and where each part of it stands."""
    source = Source(str(path), path.parent)
    try:
        text = path.read_text("utf-8")
    except OSError as fault:
        reason = (fault.strerror or type(fault).__name__).lower()
        raise ProfileFaults([Fault(str(path), None, f"can't be read ({reason})")]) from fault
    except UnicodeDecodeError as fault:
        raise ProfileFaults([Fault(str(path), None, "is not UTF-8: save it so")]) from fault
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            said = "no profile: write fields as `name: value`"
            raise ProfileFaults([Fault(str(path), 1, said)])
        marked = list(_marks(node, (), set()))
        source = Source(
            source.name,
            source.folder,
            {(): 1} | {place: value.line for place, value in marked},
            frozenset(place for place, value in marked if value.is_block),
        )
        _refuse_repeated(marked, source)
        content: dict[str, Any] = loader.construct_document(node)  # Any: YAML
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        line = mark.line + 1 if mark else None
        said = f"no valid YAML: {fault.problem or fault.context}"
        raise ProfileFaults([Fault(str(path), line, said)]) from fault
    except yaml.reader.ReaderError as fault:
        line = text.count("\n", 0, fault.position) + 1
        said = f"no valid YAML: it holds the character #x{fault.character:04x}"
        raise ProfileFaults([Fault(str(path), line, said)]) from fault
    return content, source


@dataclass(frozen=True)
class _Marked:
    line: int
    is_block: bool


def _marks(node: yaml.Node, place: Place, seen: set[int]) -> Iterator[tuple[Place, _Marked]]:
    """Yield the place and line of each named or numbered value; one that is repeated, each time."""
    if id(node) in seen:  # an alias, maybe of what holds it
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            yield inner, _Marked(key.start_mark.line + 1, getattr(value, "style", None) == "|")
            yield from _marks(value, inner, seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            inner = (*place, number)
            yield inner, _Marked(value.start_mark.line + 1, False)
            yield from _marks(value, inner, seen)


def _refuse_repeated(marked: Sequence[tuple[Place, _Marked]], source: Source) -> None:
    first: dict[Place, int] = {}
    for place, value in marked:
        if place in first:
            said = f"`{dotted(place)}` is given twice: it stands in line {first[place]} too"
            raise ProfileFaults([Fault(source.name, value.line, said)])
        first[place] = value.line


def dotted(place: Place) -> str:
    """Return a place as an operator would write it, as in `shields.input[0]`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
