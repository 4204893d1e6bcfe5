"""AsciiDoc as pages.

There is no well-kept Apache-compatible reader in Python: `asciidoc` is under the GPL and no
library, `asciidoctrine` is an alpha that gives up on a page with an include or an unclosed block.
So this one is our own. It reads line by line what a page shows, not all that the language allows:
conditions and attributes first (`asciidoc_source`), then blocks, lists and tables, then words.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from lightspeed_providers.product_rag.ingest.asciidoc_blocks import (
    BlockReader,
    Given,
    heading_of,
)
from lightspeed_providers.product_rag.ingest.asciidoc_inline import inline_text
from lightspeed_providers.product_rag.ingest.asciidoc_source import Source, source_of
from lightspeed_providers.product_rag.ingest.front_matter import front_matter_of, short_language
from lightspeed_providers.product_rag.ingest.page import Page, Section

_CLOSED = re.compile(r"-{4,}|\.{4,}|={4,}|\*{4,}|_{4,}|\+{4,}|--|`{3,}[^`]*|[|,:!]={3,}")
_AUTHOR = re.compile(r"[\w.'-]+(?: [\w.'-]+){0,2} <[^<>\s]+>(?:;.*)?|v\d[\w.]*(?:, .*)?")
_UNKNOWN = re.compile(r"[-_]?\{[\w-]+\}")
_NOT_IN_ID = re.compile(r"[^\w \-.]")
_LONGEST_VALUE = 1_000


def parse_asciidoc(text: str, path: str) -> Page:
    """Return a page; includes and unknown attributes are told, as they are not read."""
    _, text = front_matter_of(text.replace("\r\n", "\n").removeprefix("\ufeff"))
    source = source_of(text)
    heads = _Headings(source)
    heads.find()
    reader = BlockReader(heads.titles)
    sections = tuple(s for s in heads.sections(reader) if s.blocks)
    title = heads.title or PurePosixPath(path).name
    said = {name: value for name, value in source.header.items() if value}
    language = short_language(said.pop("lang", ""))
    attributes = tuple((name, value[:_LONGEST_VALUE]) for name, value in said.items())
    return Page(path, title, sections, tuple(source.problems), language, attributes)


class _Headings:
    """The headings of a document, found before its text is read, as references show them."""

    def __init__(self, source: Source) -> None:
        self.titles: dict[str, str] = {}
        self.title = ""
        self._source = source
        self._found: list[tuple[int, int, int, str, str]] = []
        """Where a heading's lines begin and end, its depth, its text and its anchor."""
        self._used: dict[str, int] = {}

    def find(self) -> None:
        """Go along the lines, outside of delimited blocks."""
        lines = self._source.lines
        at, given, begin = 0, Given(), 0
        while at < len(lines):
            line = lines[at]
            following = lines[at + 1] if at + 1 < len(lines) else ""
            heading = heading_of(line, following)
            if heading and given.style not in {"discrete", "float"}:
                at += 2 if heading[2] else 1
                self._add(begin, at, heading[0], heading[1], given)
            elif len(line) < 200 and _CLOSED.fullmatch(line):
                at = _closing(lines, at) + 1
            elif line.strip() and given.take(line):
                at += 1
                continue  # what is said stays for the block after it
            else:
                at += 1
                if not line.strip() and (given.anchor or given.style):
                    continue
            given, begin = Given(), at

    def _add(self, begin: int, end: int, depth: int, source: str, given: Given) -> None:
        text = inline_text(source, {})
        anchor = _UNKNOWN.sub("", given.anchor) if given.anchor else self._automatic(text)
        self.titles.setdefault(given.anchor or anchor, text)
        self._found.append((begin, end, depth, text, anchor))

    def _automatic(self, text: str) -> str:
        """Return the id that Asciidoctor gives to a section."""
        prefix = self._source.attributes.get("idprefix", "_")
        mark = self._source.attributes.get("idseparator", "_")[:1]
        name = _NOT_IN_ID.sub("", text.lower())
        name = re.sub(r"[ .-]", mark, name)
        if mark:
            name = re.sub(f"{re.escape(mark)}+", lambda _: mark, name).strip(mark)
        anchor = f"{prefix}{name}"
        count = self._used[anchor] = self._used.get(anchor, 0) + 1
        return f"{anchor}{mark}{count}" if count > 1 else anchor

    def sections(self, reader: BlockReader) -> Iterator[Section]:
        """Yield the document's sections; the first heading of depth 0 is its title."""
        lines = self._source.lines
        path: list[tuple[int, str]] = []
        anchor, begin = "", 0
        for number, (start, end, depth, text, own) in enumerate(self._found):
            blocks = tuple(reader.blocks_of(lines[begin:start]))
            yield Section(tuple(t for _, t in path), anchor, blocks)
            begin = end
            if not number and depth == 0:
                self.title = text
                anchor = own if self._is_chosen(own) else ""
                begin = self._after_authors(end)
                continue
            if not number:
                self.title = self._source.header.get("title", "") or text
            path = [*(entry for entry in path if entry[0] < depth), (depth, text)]
            anchor = own
        yield Section(tuple(t for _, t in path), anchor, tuple(reader.blocks_of(lines[begin:])))

    def _is_chosen(self, anchor: str) -> bool:
        return anchor not in self._used

    def _after_authors(self, at: int) -> int:
        lines = self._source.lines
        for _ in range(2):
            if at < len(lines) and len(lines[at]) < 200 and _AUTHOR.fullmatch(lines[at]):
                at += 1
        return at


def _closing(lines: list[str], at: int) -> int:
    mark = "```" if lines[at].startswith("```") else lines[at]
    try:
        return lines.index(mark, at + 1)
    except ValueError:
        return len(lines)
