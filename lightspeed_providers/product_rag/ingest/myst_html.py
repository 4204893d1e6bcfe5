"""The text in a Markdown page's blocks of HTML."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from lightspeed_providers.product_rag.ingest.layout import code_block, table_block, text_block
from lightspeed_providers.product_rag.ingest.page import Block

_NO_TAG = re.compile(r"<(?!/?[a-zA-Z][^<>]{0,5000}>)")
_SILENT = frozenset({"script", "style", "template", "svg", "iframe", "video", "audio"})
_INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "code", "del", "em", "font", "i", "img", "input", "ins", "kbd"}
    | {"mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "tt", "u", "var", "wbr"}
)


def html_blocks(html: str) -> Iterator[Block]:
    """Yield what a block of HTML says: paragraphs, tables as pipe tables, `pre` as code."""
    reader = _Reader()
    reader.feed(only_tags(html))
    reader.close()
    yield from reader.finished()


def only_tags(html: str) -> str:
    """Return HTML without comments, and with every `<` that begins no tag as text.

    Python's reader takes quadratic time for tags and comments that are never closed.
    """
    kept: list[str] = []
    at = 0
    while (begin := html.find("<!--", at)) >= 0:
        kept.append(html[at:begin])
        end = html.find("-->", begin + 4)
        at = end + 3 if end >= 0 else len(html)
    kept.append(html[at:])
    return _NO_TAG.sub("&lt;", "".join(kept))


class _Reader(HTMLParser):
    """Collects text until a tag that ends a line; a table's until its last row."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[Block] = []
        self._said: list[str] = []
        self._rows: list[list[str]] = []
        self._silent = 0
        self._pre = False
        self._in_table = False

    def finished(self) -> list[Block]:
        """Return all blocks, also of tags that were never closed."""
        self._end_line()
        self._end_table()
        return self._blocks

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag == "img":
            self._said.append(dict(attrs).get("alt") or "")
        elif tag not in _INLINE:
            self._end_line()
        self._in_table = self._in_table or tag == "table"
        self._pre = self._pre or tag == "pre"
        if tag == "tr":
            self._rows.append([])

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag == "pre":
            self._blocks.extend(code_block("".join(self._said)))
            self._said, self._pre = [], False
        elif tag in {"td", "th"} and self._rows:
            self._rows[-1].append("".join(self._said))
            self._said = []
        elif tag == "table":
            self._end_table()
        elif tag not in _INLINE:
            self._end_line()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._said.append(data)

    def _end_line(self) -> None:
        if self._in_table or self._pre:  # a paragraph inside a cell is part of it
            self._said.append(" " if self._in_table else "")
            return
        self._blocks.extend(text_block(" ".join("".join(self._said).split())))
        self._said = []

    def _end_table(self) -> None:
        self._blocks.extend(table_block([row for row in self._rows if any(row)]))
        self._rows, self._in_table, self._said = [], False, []
