"""AsciiDoc's lists: items at levels, with the blocks that are attached to them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from lightspeed_providers.product_rag.ingest.page import Block

_MARKED = re.compile(
    r"[ \t]*(\*{1,20}|-|\.{1,20}|\d{1,6}\.|[a-zA-Z]\.|[ivxIVX]{1,6}\)|<(?:\d{1,3}|\.)>)[ \t]+(\S.*)"
)
_TERM = re.compile(r"[ \t]*(\S.{0,1000}?)(:{2,4}|;;)(?:[ \t]+(\S.*))?")
_ATTRIBUTE_LINE = re.compile(r"\[.*\]|\.[^\s.].*")
_BLOCK = re.compile(r"-{4,}|\.{4,}|={4,}|\*{4,}|_{4,}|\+{4,}|--|`{3,}[^`]*|[|,:!]={3,}")
_HEADING = re.compile(r"={1,6}[ \t]+\S.*")
_MOST_LEVELS = 12


@dataclass(slots=True)
class Item:
    """An item's own lines, how it is marked, and what belongs to it."""

    level: int
    mark: str
    term: str | None = None
    lines: list[str] = field(default_factory=list)
    attached: list[Block] = field(default_factory=list)

    def shares_with(self, following: "Item") -> bool:
        """Whether a term says nothing itself, as what is said of the next is said of both."""
        says_nothing = not self.lines and not self.attached
        return says_nothing and following.term is not None and following.level == self.level


class _Reader(Protocol):
    def blocks_of(self, lines: list[str], depth: int = 0) -> Iterator[Block]: ...


def marker_of(line: str) -> tuple[str, str, str | None] | None:
    """Return the kind of an item's marker, the item's text, and its term if it has one."""
    line = line[:20_000]
    found = _MARKED.fullmatch(line)
    if found:
        sign = found[1]
        if sign[0] in "*-.":
            return sign, found[2], None
        if sign[0] == "<":
            return "<>", f"{sign} {found[2]}", None
        return ("1." if sign[0].isdigit() else "a." if sign.endswith(".") else "i)"), found[2], None
    term = _TERM.fullmatch(line) if "::" in line or ";;" in line else None
    if term is None or re.match(r"\w+::\S*\[", line) or term[1].startswith(("//", "|")):
        return None
    return term[2], term[3] or "", term[1]


def listed(
    lines: list[str], at: int, reader: _Reader, start: str, depth: int
) -> tuple[int, list[Item]]:
    """Return the line after a list, and its items with those of the lists inside it."""
    walk = _List(lines, at, reader, int(start) if start.isdecimal() else 1, depth)
    walk.run()
    return walk.at, walk.items


class _List:
    """Goes along a list's lines; the kinds of the open lists tell an item's level."""

    def __init__(self, lines: list[str], at: int, reader: _Reader, start: int, depth: int) -> None:
        self.at = at
        self.items: list[Item] = []
        self._lines = lines
        self._reader = reader
        self._start = start
        self._depth = depth
        self._kinds: list[str] = []
        self._counts: list[int] = []
        self._owners: list[Item] = []

    def run(self) -> None:
        while self.at < len(self._lines) and self._step():
            pass

    def _step(self) -> bool:
        line = self._lines[self.at]
        if not line.strip():
            return self._skip_blank()
        if line == "+":
            self._attach(self._owners[-1])
            return True
        if found := marker_of(line):
            self._begin(*found)
            self.at += 1
            return True
        if not self.items or self._ends(line):
            return False
        self._owners[-1].lines.append(line.strip())
        self.at += 1
        return True

    def _ends(self, line: str) -> bool:
        is_block = len(line) < 200 and _BLOCK.fullmatch(line)
        return bool(is_block or _ATTRIBUTE_LINE.fullmatch(line) or _HEADING.fullmatch(line))

    def _begin(self, kind: str, text: str, term: str | None) -> None:
        if kind in self._kinds:
            level = self._kinds.index(kind)
        else:
            level = min(len(self._kinds), _MOST_LEVELS)
        is_new = level >= len(self._kinds)
        self._kinds = [*self._kinds[:level], kind]
        self._counts = [*self._counts[: level + 1], *([self._start - 1] if is_new else [])]
        self._start = 1
        self._counts[level] += 1
        is_bullet = kind[0] in "*-"
        mark = (
            ""
            if kind == "<>" or term is not None
            else "- "
            if is_bullet
            else f"{self._counts[level]}. "
        )
        item = Item(level, mark, term, [text] if text else [])
        self._owners = [*self._owners[:level], item]
        self.items.append(item)

    def _skip_blank(self) -> bool:
        """Pass empty lines; False where the list is over."""
        after = self.at
        while after < len(self._lines) and not self._lines[after].strip():
            after += 1
        if after == len(self._lines):
            self.at = after
            return False
        line, blanks = self._lines[after], after - self.at
        if line == "+":  # each empty line goes up to the item around
            self.at = after
            self._attach(self._owners[max(0, len(self._owners) - 1 - blanks)])
            return True
        last = self._owners[-1]
        is_unsaid = last.term is not None and not last.lines and not last.attached
        if marker_of(line) or (is_unsaid and not self._ends(line)):
            self.at = after
            return True
        if line.startswith(" "):
            self.at = after
            self._take(last, self._paragraph_end(after))
            return True
        self.at = after
        return False

    def _paragraph_end(self, at: int) -> int:
        while at < len(self._lines) and self._lines[at].strip() and self._lines[at] != "+":
            at += 1
        return at

    def _attach(self, owner: Item) -> None:
        """Read the block after a `+` as part of an item."""
        begin = self.at + 1
        while begin < len(self._lines) and not self._lines[begin].strip():
            begin += 1
        end = begin
        while end < len(self._lines) and _ATTRIBUTE_LINE.fullmatch(self._lines[end]):
            end += 1
        line = self._lines[end] if end < len(self._lines) else ""
        if len(line) < 200 and _BLOCK.fullmatch(line):
            mark = "```" if line.startswith("```") else line
            try:
                end = self._lines.index(mark, end + 1) + 1
            except ValueError:
                end = len(self._lines)
        else:
            end += 1
            while end < len(self._lines) and not self._stops(self._lines[end]):
                end += 1
        self.at = begin
        self._take(owner, min(end, len(self._lines)))

    def _stops(self, line: str) -> bool:
        return not line.strip() or line == "+" or self._ends(line) or marker_of(line) is not None

    def _take(self, owner: Item, end: int) -> None:
        lines = self._lines[self.at : end]
        if owner is not self.items[-1]:  # what follows an inner list is read after it
            owner = Item(owner.level, "")
            self.items.append(owner)
        if self._depth < _MOST_LEVELS:
            owner.attached += self._reader.blocks_of(lines, self._depth + 1)
        else:
            owner.attached.append(Block("\n".join(lines)))
        self.at = max(end, self.at)
