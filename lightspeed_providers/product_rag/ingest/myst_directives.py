"""MyST's directives, and other sites' fenced containers, by what they show."""

import csv
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from markdown_it.token import Token


class Style(Enum):
    """How a directive is shown."""

    NOTE = auto()
    TITLED = auto()
    CODE = auto()
    LIST_TABLE = auto()
    CSV_TABLE = auto()
    OBJECT = auto()
    RESTRUCTUREDTEXT = auto()
    LEFT_OUT = auto()
    UNREAD = auto()


_NAMES = {
    Style.NOTE: "note warning tip hint important caution danger attention error seealso admonition"
    " info success question failure bug example abstract todo versionadded versionchanged"
    " versionremoved deprecated",
    Style.TITLED: "tab-set tab-item tab tabs dropdown details card card-carousel grid grid-item"
    " grid-item-card figure image margin sidebar aside topic epigraph highlights pull-quote rubric"
    " container div only table glossary figure-md button-link button-ref button blockquote"
    " exercise solution proof theorem definition step steps code-group",
    Style.CODE: "code code-block code-cell sourcecode parsed-literal math prompt doctest console",
    Style.LIST_TABLE: "list-table flat-table",
    Style.CSV_TABLE: "csv-table",
    Style.RESTRUCTUREDTEXT: "eval-rst",
    Style.LEFT_OUT: "toctree tableofcontents contents index raw highlight currentmodule module"
    " meta bibliography default-role iframe youtube video include-fragment",
    Style.UNREAD: "include literalinclude mdinclude",
}
_STYLES = {name: style for style, names in _NAMES.items() for name in names.split()}
_OBJECT = re.compile(r"(?:py|js|c|cpp|rst|std|http)?:?"
                     r"(?:function|class|method|attribute|data|exception|module|option|envvar"
                     r"|confval|describe|type|property|get|post|put|delete|patch)")  # fmt: skip
_VERSIONS = {
    "versionadded": "New in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
    "versionremoved": "Removed in version",
}
_PICTURES = frozenset({"figure", "image"})
_TITLED_BY_ARGUMENT = frozenset({"admonition", "example", "todo"})
_INFO = re.compile(r"(\{)?\s*([\w.:+-]+)\s*(?(1)\})\s*(?:\[([^\]]*)\]|\{[^}]*\})?\s*(.*)")
_OPTION = re.compile(r":([\w-]+):[ \t]*(.*)")
_CODE_ATTRIBUTES = re.compile(r"[\w+#.-]*")


@dataclass(frozen=True, slots=True)
class Directive:
    """A fence that is not code as it stands."""

    name: str
    argument: str
    options: dict[str, str]
    body: str
    style: Style
    is_myst: bool

    @classmethod
    def of(cls, token: "Token") -> Self | None:
        """Return the directive that a token is; a fence with backticks needs braces for it."""
        is_container = token.type == "colon_fence"
        if not is_container and token.type != "fence":
            return None
        found = _INFO.fullmatch(token.info.strip())
        if found is None or not (found[1] or is_container):
            return _plain(cls, token) if is_container else None
        name, style = found[2].lower(), _style(found[2].lower())
        if style is None:
            style = Style.TITLED if is_container else Style.CODE
        options, body = _split(token.content) if found[1] else ({}, token.content)
        argument = (found[3] or found[4] or "").strip()
        return cls(name, argument, options, body, style, is_myst=bool(found[1]))

    @property
    def title(self) -> str:
        """What stands before the text."""
        if self.name in _VERSIONS:
            return f"{_VERSIONS[self.name]} {self.argument.partition(' ')[0]}"
        if self.argument and self._argument_is_title and self.name not in _PICTURES:
            return self.argument
        if self.style is Style.NOTE:
            return "See also" if self.name == "seealso" else self.name.capitalize()
        return ""

    @property
    def text(self) -> str:
        """The Markdown inside, with an argument that is the first of its words."""
        if self.name in _PICTURES:
            return self.body if self.body.strip() else self.options.get("alt", "")
        first = self.argument
        if self.name in _VERSIONS:
            first = self.argument.partition(" ")[2]
        elif self._argument_is_title:
            first = ""
        return f"{first}\n{self.body}" if first else self.body

    @property
    def caption(self) -> str:
        """The title of code."""
        return self.options.get("caption", "")

    @property
    def language(self) -> str:
        """The language of code."""
        if self.name in {"math", "console", "doctest"}:
            return self.name
        shown = self.argument.partition(" ")[0] if self.name in _STYLES else self.name
        return shown if _CODE_ATTRIBUTES.fullmatch(shown) else ""

    @property
    def has_header(self) -> bool:
        """Whether a table's first row is its head."""
        return "header" in self.options or self.options.get("header-rows", "0") != "0"

    def csv_rows(self) -> list[list[str]]:
        """Return the rows of a table of comma separated values."""
        header = [self.options["header"]] if "header" in self.options else []
        lines = [*header, *self.body.strip().split("\n")]
        delimiter = self.options.get("delim", ",")
        delimiter = {"tab": "\t", "space": " "}.get(delimiter, delimiter[:1])
        return [row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row]

    @property
    def _argument_is_title(self) -> bool:
        by_name = self.style is not Style.NOTE or self.name in _TITLED_BY_ARGUMENT
        return by_name or not self.is_myst


def _plain[D: Directive](made: type[D], token: "Token") -> D:
    return made("div", "", {}, token.content, Style.TITLED, is_myst=False)


def _style(name: str) -> Style | None:
    if _OBJECT.fullmatch(name) or name.startswith("auto"):
        return Style.OBJECT
    return _STYLES.get(name)


def _split(content: str) -> tuple[dict[str, str], str]:
    """Part a directive's options, in either of MyST's two ways, from its body."""
    lines = content.split("\n")
    options: dict[str, str] = {}
    if lines[0].strip() == "---" and "---" in (line.strip() for line in lines[1:]):
        end = next(n for n, line in enumerate(lines[1:], start=1) if line.strip() == "---")
        for line in lines[1:end]:
            name, _, value = line.partition(":")
            options[name.strip()] = value.strip().strip("'\"")
        return options, "\n".join(lines[end + 1 :])
    taken = 0
    for line in lines:
        found = _OPTION.fullmatch(line.strip())
        if found is None:
            break
        options[found[1]] = found[2].strip()
        taken += 1
    return options, "\n".join(lines[taken:])
