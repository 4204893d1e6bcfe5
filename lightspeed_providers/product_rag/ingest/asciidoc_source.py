"""AsciiDoc's preprocessor: conditions, attributes and comments, so that only text is left."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_ENTRY = re.compile(r":(!?)([\w][\w-]*)(!?):(?:[ \t]+(.*))?")
_CONDITION = re.compile(r"(ifdef|ifndef|ifeval|endif)::([^\[\]]*)\[(.*)\]")
_INCLUDE = re.compile(r"include::([^\[\]]+)\[.*\]")
_COMPARISON = re.compile(r"\s*(.+?)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*")
_REFERENCE = re.compile(r"(\\?)\{([\w][\w-]*)\}")
_VERBATIM = re.compile(r"-{4,}|\.{4,}|\+{4,}|`{3,}[^`]*")
_COMMENT_BLOCK = re.compile(r"/{4,}")
_SUBSTITUTED = re.compile(r"subs\s*=\s*\"?'?[^\]]*(?:attributes|normal)")
_CHARACTERS = {
    "nbsp": " ", "sp": " ", "empty": "", "blank": "", "zwsp": "", "wj": "", "amp": "&",
    "lt": "<", "gt": ">", "plus": "+", "asterisk": "*", "startsb": "[", "endsb": "]",
    "vbar": "|", "caret": "^", "tilde": "~", "backslash": "\\", "backtick": "`", "apos": "'",
    "quot": '"', "lsquo": "‘", "rsquo": "’", "ldquo": "“", "rdquo": "”", "two-colons": "::",
    "two-semicolons": ";;", "cpp": "C++", "pp": "++", "deg": "°", "brvbar": "¦", "hyphen": "-",
}  # fmt: skip
_SET_OUTSIDE = frozenset({"context"})
"""What the page that includes this one sets; it is cut from anchors, so nobody needs to be told."""
_MOST_GROWTH = 2_000_000
_LONGEST_VALUE = 10_000
_TOLD = 20


@dataclass(slots=True)
class Source:
    """A document's lines as they are shown, with what it says of itself."""

    lines: list[str] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    header: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def source_of(text: str) -> Source:
    """Return the lines of a document, its conditions decided and its attributes filled in."""
    reader = _Reader()
    for line in _continued(text.expandtabs(4).split("\n")):
        reader.read(line.rstrip())
    return reader.source


def _continued(lines: list[str]) -> Iterator[str]:
    """Join an attribute's value that goes on over lines."""
    entry = ""
    for line in lines:
        if entry:
            line, entry = f"{entry} {line.strip()}", ""
        if line.startswith(":") and line.endswith(" \\") and len(line) < _LONGEST_VALUE:
            entry = line[:-2]
        else:
            yield line
    if entry:
        yield entry


class _Reader:
    def __init__(self) -> None:
        self.source = Source()
        self._conditions: list[bool] = []
        self._verbatim = ""
        self._is_commented = ""
        self._is_substituted = False
        self._in_header = True
        self._growth = 0
        self._told: set[str] = set()

    def read(self, line: str) -> None:
        """Take the next line: keep it, fill it in, or leave it out."""
        if self._is_commented:
            self._is_commented = "" if line == self._is_commented else self._is_commented
        elif line.endswith("]") and (found := _CONDITION.fullmatch(line)):
            self._decide(found[1], found[2], found[3])
        elif not all(self._conditions):
            return
        elif line.endswith("]") and (found := _INCLUDE.fullmatch(line)):
            self._tell(f"include of {self._filled(found[1])} is not read")
        elif self._verbatim:
            self._keep(line, is_filled=self._is_substituted)
            self._verbatim = "" if line == self._verbatim else self._verbatim
        else:
            self._read_text(line)

    def _read_text(self, line: str) -> None:
        if _COMMENT_BLOCK.fullmatch(line):
            self._is_commented = line
        elif line.startswith("//") and not line.startswith("///"):
            return
        elif (found := _ENTRY.fullmatch(line)) is not None:
            self._define(found[2], found[4] or "", is_unset=bool(found[1] or found[3]))
        else:
            if len(line) < 200 and _VERBATIM.fullmatch(line):
                self._verbatim = "```" if line.startswith("```") else line
                before = self.source.lines[-3:]
                self._is_substituted = any(
                    b.startswith("[") and _SUBSTITUTED.search(b[:500]) for b in before
                )
            elif line and not line.startswith(("=", "[")):
                self._in_header = False
            self._keep(line, is_filled=True)

    def _keep(self, line: str, *, is_filled: bool) -> None:
        self.source.lines.append(self._filled(line) if is_filled else line)

    def _define(self, name: str, value: str, *, is_unset: bool) -> None:
        name = name.lower()
        if is_unset:
            self.source.attributes.pop(name, None)
            return
        self.source.attributes[name] = self._filled(value)[:_LONGEST_VALUE]
        if self._in_header:
            self.source.header[name] = self.source.attributes[name]

    def _filled(self, line: str) -> str:
        if "{" not in line:
            return line

        def value(found: re.Match[str]) -> str:
            name = found[2].lower()
            known = self.source.attributes.get(name, _CHARACTERS.get(name))
            if found[1]:
                return found[0][1:]
            if known is None:
                is_code = line.count("`", 0, min(found.start(), 5_000)) % 2
                if not is_code and name not in _SET_OUTSIDE:
                    self._tell(f"attribute {{{found[2]}}} is not defined and stays as written")
                return found[0]
            self._growth += len(known)
            return known if self._growth <= _MOST_GROWTH else found[0]

        return _REFERENCE.sub(value, line)

    def _decide(self, name: str, target: str, condition: str) -> None:
        if name == "endif":
            if self._conditions:
                self._conditions.pop()
            return
        if name == "ifeval":
            self._conditions.append(self._holds(condition))
            return
        known = [n.strip().lower() in self.source.attributes for n in re.split("[,+]", target)]
        holds = all(known) if "+" in target else any(known)
        if name == "ifndef":
            # Of names with a comma, ifndef asks that none is set; with a plus, that one is not.
            holds = not holds
        if not condition:
            self._conditions.append(holds)
        elif holds and all(self._conditions):
            self.read(condition[:_LONGEST_VALUE] if "::" not in condition else "")

    def _holds(self, condition: str) -> bool:
        found = _COMPARISON.fullmatch(self._filled(condition[:_LONGEST_VALUE]))
        if found is None:
            return False
        left, right = found[1].strip("\"'"), found[3].strip("\"'")
        a, b = (left, right) if not _are_numbers(left, right) else (float(left), float(right))
        order = (a > b) - (a < b)  # type: ignore[operator]  # both are of one kind
        return {
            "==": order == 0, "!=": order != 0, "<": order < 0, ">": order > 0,
            "<=": order <= 0, ">=": order >= 0,
        }[found[2]]  # fmt: skip

    def _tell(self, problem: str) -> None:
        if problem not in self._told and len(self._told) < _TOLD:
            self._told.add(problem)
            self.source.problems.append(problem)


def _are_numbers(*texts: str) -> bool:
    return all(re.fullmatch(r"-?\d{1,15}(?:\.\d{1,15})?", text) for text in texts)
