"""A tree of HTML as sections of blocks, in one pass without recursion."""

from lxml import etree

from lightspeed_providers.product_rag.ingest.html_addresses import Addresses
from lightspeed_providers.product_rag.ingest.html_code import code_text
from lightspeed_providers.product_rag.ingest.html_kinds import (
    BLOCKS,
    CODE,
    HEADINGS,
    admonition_kind,
    code_language,
    is_silent,
)
from lightspeed_providers.product_rag.ingest.html_layout import (
    Finish,
    ItemMarks,
    admonition,
    admonition_title,
)
from lightspeed_providers.product_rag.ingest.html_links import is_list_of_links
from lightspeed_providers.product_rag.ingest.html_parts import Frame, Head, Part
from lightspeed_providers.product_rag.ingest.html_table import is_layout, table_rows
from lightspeed_providers.product_rag.ingest.html_terms import described_at, term_of
from lightspeed_providers.product_rag.ingest.html_words import (
    CODE_END,
    CODE_START,
    LINE_BREAK,
    alternative,
    folded,
    math_text,
    one_line,
    raised,
)
from lightspeed_providers.product_rag.ingest.layout import (
    code_block,
    headed,
    table_block,
    text_block,
)
from lightspeed_providers.product_rag.ingest.page import Block

_PERMALINKS = frozenset({"#", "¶", "§", "🔗", "link", "permalink"})
_DEEPEST = 24
"""Lists in lists beyond which an item is a paragraph: each level indents all below it again."""


def parts_of(content: etree._Element) -> list[Part]:
    """Return a page's parts in order, those without text too."""
    walk = _Walk(content, in_cell=False)
    walk.run()
    return walk.parts


def cell_text(cell: etree._Element) -> str:
    """Return all that a table's cell says, on one line."""
    walk = _Walk(cell, in_cell=True)
    walk.run()
    return folded(block.text for part in walk.parts for block in part.blocks)


class _Walk:
    """Reads elements as they open and close."""

    def __init__(self, content: etree._Element, *, in_cell: bool) -> None:
        self._content = content
        self._in_cell = in_cell
        self._words: list[str] = []
        self._in_code: etree._Element | None = None
        self._line: etree._Element | None = None
        self._head = Head()
        self.parts = [Part(self._head)]
        self._frames = [Frame(content, iter, self.parts[0].blocks)]
        self._described: list[tuple[etree._Element, Head]] = []
        self._addresses = Addresses(content)
        self._titles: set[etree._Element] = set()
        self._marks = ItemMarks()

    def run(self) -> None:
        """Walk the whole content."""
        walk = etree.iterwalk(self._content, events=("start", "end"))
        for event, node in walk:
            if event == "start":
                if node is not self._content and self._opens(node):
                    walk.skip_subtree()
                elif node.text:
                    self._words.append(node.text)
                continue
            if node is self._content:
                break
            self._closes(node)
            if node.tail:
                self._words.append(node.tail)
        self._flush()

    def _opens(self, node: etree._Element) -> bool:
        """Take note of an element; whether all of it was read or is to be left out."""
        tag = str(node.tag)
        if is_silent(node) or node in self._titles:
            return True
        is_block = tag in BLOCKS or tag in HEADINGS or tag == "pre"
        if self._line is not None:  # a heading or a term is one line, whatever is in it
            if tag == "a" and (node.text or "").strip() in _PERMALINKS and not len(node):
                return True
            self._words.append(" " * is_block)
            return self._opens_inline(node, tag)
        if not is_block:
            return self._opens_inline(node, tag)
        self._flush()
        return self._opens_block(node, tag)

    def _opens_block(self, node: etree._Element, tag: str) -> bool:
        if tag in HEADINGS:
            self._line = node
            return False
        if tag == "pre":
            self._code(node)
            return True
        if tag in {"ul", "ol"} and self._at_top() and is_list_of_links(node):
            return True
        if tag == "li":
            self._push(node, self._marks.finish(node))
        elif tag == "dt":
            self._opens_term(node)
            return False
        elif tag == "dd":
            self._opens_description(node)
        elif tag == "table" and not self._in_cell and not is_layout(node):
            rows, has_header = table_rows(node, cell_text)
            self._caption(node)
            self._frames[-1].blocks.extend(table_block(rows, has_header=has_header))
            return True
        elif label := admonition_kind(node):
            self._opens_admonition(node, label)
        if self._line is None:
            self._addresses.note(node)
        return False

    def _opens_inline(self, node: etree._Element, tag: str) -> bool:
        words = self._words
        is_marked = self._in_code is None and self._line is None and not self._in_cell
        if tag in CODE and is_marked:
            self._in_code = node
            # Code directly after code is one piece: `a``b` would be read as nothing.
            if words and words[-1] == CODE_END:
                words.pop()
            else:
                words.append(CODE_START)
        elif tag == "br":
            words.append(LINE_BREAK)
        elif tag == "img":
            words.append(alternative(node))
        elif tag in {"sup", "sub"}:
            words.append(raised(node))
            return True
        elif tag in {"math", "script"}:
            words.append(math_text(node))
            return True
        elif tag == "q":
            words.append('"')
        if self._line is None:
            self._addresses.note(node)
        return False

    def _closes(self, node: etree._Element) -> None:
        tag = str(node.tag)
        if node is self._in_code:
            self._in_code = None
            if self._words and self._words[-1] == CODE_START:
                self._words.pop()
            else:
                self._words.append(CODE_END)
        elif tag == "q":
            self._words.append('"')
        elif node is self._line:
            self._closes_line(node)
        elif tag in BLOCKS and self._line is None:
            self._flush()
            self._pop(node)
            if tag == "dl":
                self._left_terms()

    def _closes_line(self, node: etree._Element) -> None:
        text = "".join(self._words)
        self._words.clear()
        self._line = None
        if node.tag == "dt":
            term = term_of(node, text)
            if term.text:
                self._frames[-1].terms.append(term)
        elif text := one_line(text):
            self._closes_heading(node, text)

    def _closes_heading(self, node: etree._Element, text: str) -> None:
        if self._in_cell or not self._at_top():
            self._frames[-1].blocks.append(Block(text))
            return
        level = HEADINGS[str(node.tag)]
        anchor = self._addresses.of_heading(node)
        above = self._head
        while above.above is not None and above.level >= level:
            above = above.above
        self._enter(Head(level, text, anchor, above))
        self._addresses.forget()

    # Terms: one with an address and much to say is a section of its own.

    def _opens_term(self, node: etree._Element) -> None:
        previous = node.getprevious()
        if previous is not None and previous.tag == "dd":
            self._left_terms()
        self._line = node

    def _opens_description(self, node: etree._Element) -> None:
        frame = self._frames[-1]
        terms, frame.terms = frame.terms, []
        if self._at_top() and not self._in_cell and described_at(terms, node):
            first = terms[0]
            self._described.append((node, self._head))
            level = max(self._head.level, 6) + 1
            self._enter(Head(level, first.label, first.anchor, self._head))
            if first.is_signature:
                self._frames[-1].blocks.extend(Block(term.text) for term in terms)
            return
        head = (", " if all(t.is_short for t in terms) else "\n").join(t.text for t in terms)
        self._push(node, lambda blocks: headed(head, blocks))

    def _left_terms(self) -> None:
        frame = self._frames[-1]
        for term in frame.terms:
            frame.blocks.extend(text_block(term.text))
        frame.terms = []

    # Frames

    def _at_top(self) -> bool:
        return len(self._frames) == 1

    def _enter(self, head: Head) -> None:
        self._left_terms()
        self._head = head
        self.parts.append(Part(head))
        self._frames[0].blocks = self.parts[-1].blocks

    def _push(self, node: etree._Element, finish: Finish) -> None:
        if len(self._frames) <= _DEEPEST:
            self._frames.append(Frame(node, finish))

    def _pop(self, node: etree._Element) -> None:
        if len(self._frames) > 1 and self._frames[-1].element is node:
            self._left_terms()
            frame = self._frames.pop()
            self._frames[-1].blocks.extend(frame.finish(frame.blocks))
        elif self._described and self._described[-1][0] is node:
            _, head = self._described.pop()
            self._enter(head)

    def _opens_admonition(self, node: etree._Element, label: str) -> None:
        title = admonition_title(node)
        if title is not None:
            self._titles.add(title)
            label = one_line("".join(title.itertext())).rstrip(":") or label
        self._push(node, lambda blocks: admonition(label, blocks))

    def _code(self, node: etree._Element) -> None:
        code = code_text(node)
        blocks = text_block(code) if self._in_cell else code_block(code, code_language(node))
        self._frames[-1].blocks.extend(blocks)

    def _caption(self, table: etree._Element) -> None:
        caption = next(table.iterchildren("caption"), None)
        if caption is not None:
            self._frames[-1].blocks.extend(text_block(cell_text(caption)))

    def _flush(self) -> None:
        if not self._words:
            return
        text = one_line("".join(self._words), keep_breaks=not self._in_cell)
        self._words.clear()
        if self._in_code is not None:  # code around blocks goes on in the next one
            text, self._in_code = text.rstrip("`") if text == "`" else f"{text}`", None
        if text:
            self._frames[-1].blocks.append(Block(text))
            self._addresses.forget()
