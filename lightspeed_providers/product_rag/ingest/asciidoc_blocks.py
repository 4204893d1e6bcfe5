"""AsciiDoc's blocks as the text that a reader sees, laid out as reStructuredText's are."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lightspeed_providers.product_rag.ingest.asciidoc_inline import inline_text
from lightspeed_providers.product_rag.ingest.asciidoc_lists import Item, listed, marker_of
from lightspeed_providers.product_rag.ingest.asciidoc_tables import rows_of
from lightspeed_providers.product_rag.ingest.layout import (
    code_block,
    indented,
    marked,
    table_block,
    text_block,
)
from lightspeed_providers.product_rag.ingest.page import Block

_MOST_NESTED = 15
_DELIMITER = re.compile(r"-{4,}|\.{4,}|={4,}|\*{4,}|_{4,}|\+{4,}|--|`{3,}[^`]*|[|,:!]={3,}|\"{2}")
_ATTRIBUTES = re.compile(r"\[(?:\[([^\[\]]+)\]|([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*))\]")
_TITLE = re.compile(r"\.([^\s.].*)")
_HEADING = re.compile(r"(={1,6}|#{1,6})[ \t]+(\S.*?)(?:[ \t]+\1)?")
_ADMONITION = re.compile(r"(NOTE|TIP|IMPORTANT|CAUTION|WARNING):[ \t]+(.*)", re.DOTALL)
_MACRO = re.compile(r"(image|video|audio|toc|include|chapter|stem)::([^\[\]]*)\[(.*)\]")
_RULE = re.compile(r"'{3,}|<{3,}|-{3}|\*{3}|_{3}|- - -|\* \* \*")
_SHORTHAND = re.compile(r"([.#%])([^.#%,\s]+)")
_NAMED = re.compile(r"\s*([\w-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^,]*))\s*(?:,|$)")
_CODE_STYLES = frozenset({"source", "listing", "literal", "stem", "latexmath", "asciimath"})
_ADMONITIONS = frozenset({"NOTE", "TIP", "IMPORTANT", "CAUTION", "WARNING"})


@dataclass(slots=True)
class Given:
    """What stands before a block: its title, id, style and other attributes."""

    title: str = ""
    anchor: str = ""
    positional: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)

    @property
    def style(self) -> str:
        """The first of the attributes without a name, such as `source`."""
        return self.positional[0] if self.positional else ""

    @property
    def language(self) -> str:
        """The language of a code block."""
        is_source = self.style in {"source", ""} and len(self.positional) > 1
        language = self.positional[1] if is_source else self.named.get("language", "")
        return language if re.fullmatch(r"[\w+#.-]*", language) else ""

    def take(self, line: str) -> bool:
        """Read a line that says something of the block after it; False where it does not."""
        title = _TITLE.fullmatch(line)
        if title and marker_of(line) is None and not line.startswith("..."):
            self.title = title[1]
            return True
        found = _ATTRIBUTES.fullmatch(line) if line.startswith("[") else None
        if found is None:
            return False
        if found[1]:
            self.anchor = found[1].partition(",")[0].strip()
        else:
            self._take_attributes(found[2] or "")
        return True

    def _take_attributes(self, text: str) -> None:
        while text:
            named = _NAMED.match(text)
            if named:
                self.named[named[1]] = next(v for v in (*named.groups()[1:], "") if v is not None)
                text = text[named.end() :]
                continue
            part, _, text = text.partition(",")
            self._take_positional(part.strip().strip('"'))
        self.anchor = self.named.get("id", self.anchor)
        for short, long in (("opts", "options"),):
            if short in self.named:
                self.named[long] = self.named.pop(short)

    def _take_positional(self, part: str) -> None:
        for sign, word in _SHORTHAND.findall(part):
            if sign == "#":
                self.anchor = word
            elif sign == "%":
                self.named["options"] = f"{self.named.get('options', '')},{word}"
        self.positional.append(re.split("[.#%]", part)[0])


def heading_of(line: str, following: str) -> tuple[int, str, bool] | None:
    """Return a heading's depth and text, and whether the next line is part of it."""
    if line.startswith(("=", "#")) and (found := _HEADING.fullmatch(line)):
        return len(found[1]) - 1, found[2], False
    level = "=-~^+".find(following[:1]) if following else -1
    is_underline = level >= 0 and len(following) > 2 and not following.strip(following[0])
    # A listing's delimiter is four or more dashes too: only a line of the title's length is not.
    if is_underline and re.match(r"\w", line) and abs(len(line) - len(following)) <= 1:
        return level, line, True
    return None


@dataclass(frozen=True, slots=True)
class BlockReader:
    """Reads lines as blocks; `titles` are what references to an id show."""

    titles: Mapping[str, str]

    def blocks_of(self, lines: list[str], depth: int = 0) -> Iterator[Block]:
        """Yield the blocks of lines that hold no section."""
        at = 0
        given = Given()
        while at < len(lines):
            line = lines[at]
            if not line.strip() or line == "+" or given.take(line):
                at += 1
                continue
            at, blocks = self.block_at(lines, at, given, depth)
            yield from blocks
            given = Given()

    def block_at(
        self, lines: list[str], at: int, given: Given, depth: int
    ) -> tuple[int, list[Block]]:
        """Return the line after a block, and how it reads."""
        line = lines[at]
        if len(line) < 200 and _DELIMITER.fullmatch(line):
            end = _end_of(lines, at)
            body = lines[at + 1 : end]
            return end + 1, self._delimited(line, body, given, depth)
        if marker_of(line):
            end, items = listed(lines, at, self, given.named.get("start", ""), depth)
            return end, [*self._title(given), *self._items(items)]
        if _RULE.fullmatch(line):
            return at + 1, []
        if found := _MACRO.fullmatch(line):
            said = self._inline(found[3].split(",")[0]) if found[1] == "image" else ""
            return at + 1, [*self._title(given), *text_block("" if "=" in said else said)]
        heading = heading_of(line, "")
        if heading:  # a discrete one, or inside another block
            return at + 1, list(text_block(self._inline(heading[1])))
        end = at + 1
        while end < len(lines) and not _ends_paragraph(lines[end]):
            end += 1
        return end, list(self._paragraph(lines[at:end], given))

    def text(self, lines: list[str]) -> str:
        """Return a paragraph as it reads."""
        return self._inline("\n".join(lines))

    def _inline(self, text: str) -> str:
        return inline_text(text, self.titles)

    def _title(self, given: Given) -> Iterator[Block]:
        return text_block(self._inline(given.title))

    def _paragraph(self, lines: list[str], given: Given) -> Iterator[Block]:
        text = "\n".join(lines)
        if given.style in _CODE_STYLES or lines[0].startswith(" "):
            yield from self._title(given)
            yield from code_block(_dedented(lines), given.language)
            return
        if given.style in {"comment", "pass"}:
            return
        named = _ADMONITION.match(text)
        style = named[1] if named else given.style
        said = list(text_block(self._inline(named[2] if named else text)))
        if style in _ADMONITIONS:
            yield from marked(f"{style.capitalize()}: ", [*self._title(given), *said], indent="")
        elif given.style in {"quote", "verse"}:
            verse = "\n".join(self._inline(line) for line in lines)
            yield from [*self._title(given), *text_block(verse)]
        else:
            yield from [*self._title(given), *said]

    def _delimited(self, mark: str, body: list[str], given: Given, depth: int) -> list[Block]:
        title = list(self._title(given))
        sign = mark[0]
        if given.style == "comment" or (sign == "+" and given.style not in _CODE_STYLES):
            return []
        if len(mark) > 3 and mark[1:] == "=" * (len(mark) - 1) and sign in "|,:!":
            return [*title, *self._table(sign, body, given, depth)]
        is_code = (sign in "-." and mark != "--") or sign == "`" or given.style in _CODE_STYLES
        if is_code:
            language = mark.strip("`").strip() if sign == "`" else given.language
            return [*title, *code_block("\n".join(body), language)]
        if given.style == "verse" or depth >= _MOST_NESTED:
            return [*title, *text_block("\n".join(self._inline(line) for line in body))]
        inside = [*title, *self.blocks_of(body, depth + 1)]
        if given.style in _ADMONITIONS:
            return list(marked(f"{given.style.capitalize()}: ", inside, indent=""))
        return inside

    def _table(self, sign: str, body: list[str], given: Given, depth: int) -> Iterator[Block]:
        def shown(source: str, style: str) -> str:
            if style != "a" or depth >= _MOST_NESTED:
                return self._inline(source)
            blocks = self.blocks_of([line.strip() for line in source.split("\n")], depth + 3)
            return " ".join(block.text for block in blocks)

        rows, has_header = (
            rows_of(body, given.named, "|" if sign == "!" else sign, shown)
            if (sign != "!")
            else rows_of([b.replace("!", "|") for b in body], given.named, "|", shown)
        )
        yield from table_block(rows, has_header=has_header)

    def _items(self, items: list[Item]) -> Iterator[Block]:
        terms: list[str] = []
        for item, following in zip(items, [*items[1:], None], strict=True):
            indent = "  " * item.level
            said = f"{item.mark}{self.text(item.lines)}"
            if item.term is not None:
                terms.append(self._inline(item.term))
                if following and item.shares_with(following):
                    continue
                head, terms = ", ".join(terms), []
                said = f"{head}\n{indented(said)}" if said else head
            yield from text_block(indented(said, indent))
            for block in item.attached:
                yield Block(indented(block.text, indent + "  "), block.kind)


def _end_of(lines: list[str], at: int) -> int:
    """Return where a block is closed, or the end of the lines where it never is."""
    mark = "```" if lines[at].startswith("```") else lines[at]
    try:
        return lines.index(mark, at + 1)
    except ValueError:
        return len(lines)


def _ends_paragraph(line: str) -> bool:
    if not line.strip() or line == "+":
        return True
    if line.startswith("[") and _ATTRIBUTES.fullmatch(line):
        return True
    return len(line) < 200 and _DELIMITER.fullmatch(line) is not None


def _dedented(lines: list[str]) -> str:
    margin = min((len(li) - len(li.lstrip()) for li in lines if li.strip()), default=0)
    return "\n".join(line[margin:] for line in lines)
