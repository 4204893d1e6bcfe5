"""What every parser returns: a page as sections of blocks."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a block may be cut."""

    TEXT = "text"
    CODE = "code"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of text as a reader sees it. Code is never cut, a table only between its rows."""

    text: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True, slots=True)
class Section:
    """The blocks between one heading and the next."""

    heading_path: tuple[str, ...]
    anchor: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A document; `path` has no ending and uses slashes. Problems are lines for its author.

    What the page says of itself (front matter, `lang`, meta elements) is in `language`, as a short
    code such as `en`, and in `attributes`, by name.
    """

    path: str
    title: str
    sections: tuple[Section, ...]
    problems: tuple[str, ...] = ()
    language: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
