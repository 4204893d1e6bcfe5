"""docutils nodes as the text that a reader sees."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from docutils import nodes

from lightspeed_providers.product_rag.ingest.page import Block, Kind
from lightspeed_providers.product_rag.ingest.sphinx_markup import described

_SILENT = (
    nodes.comment,
    nodes.target,
    nodes.substitution_definition,
    nodes.pending,
    nodes.transition,
    nodes.raw,
    nodes.title,
)
_INDENT = "  "
_WORD = re.compile(r"\w")


def blocks_of(node: nodes.Node) -> Iterator[Block]:
    """Yield a node's blocks; nested ones are indented below what they belong to."""
    if isinstance(node, _SILENT):
        return
    for kind, render in _RENDERERS:
        if isinstance(node, kind):
            yield from render(node)
            return
    if isinstance(node, nodes.TextElement):
        yield from _text(inline_text(node))
    elif isinstance(node, nodes.Element):
        yield from _children(node)


def inline_text(node: nodes.Node) -> str:
    """Return a paragraph's words on one line."""
    return " ".join(_visible(node).split())


def _visible(node: nodes.Node) -> str:
    if isinstance(node, nodes.image):
        return str(node.get("alt", ""))
    if isinstance(node, nodes.footnote_reference):
        return f" [{node.astext()}]"
    if isinstance(node, nodes.Text):
        return node.astext()
    return "".join(_visible(child) for child in node.children)


def _children(node: nodes.Element) -> Iterator[Block]:
    for child in node.children:
        yield from blocks_of(child)


def _text(text: str) -> Iterator[Block]:
    if text:
        yield Block(text)


def _code(node: nodes.Element) -> Iterator[Block]:
    code = node.astext().strip("\n").rstrip()
    if code:
        # A fence longer than any inside, so that the code can't end it.
        fence = "````" if "```" in code else "```"
        yield Block(f"{fence}{node.get('language', '')}\n{code}\n{fence}", Kind.CODE)


def _lines(node: nodes.Element) -> Iterator[Block]:
    lines = (inline_text(line) for line in node.findall(nodes.line))
    yield from _text("\n".join(line for line in lines if line))


def _items(node: nodes.Element) -> Iterator[Block]:
    numbered = isinstance(node, nodes.enumerated_list)
    start = node.get("start", 1)
    for number, item in enumerate(node.children, start=start):
        mark = f"{number}. " if numbered else "- "
        yield from _marked(mark, _children_of(item))


def _definitions(node: nodes.Element) -> Iterator[Block]:
    terms = [inline_text(c) for c in node.children if isinstance(c, nodes.term)]
    classifiers = [inline_text(c) for c in node.children if isinstance(c, nodes.classifier)]
    head = " : ".join([", ".join(terms), *classifiers])
    rest = [c for c in node.children if isinstance(c, nodes.definition)]
    yield from _headed(head, [block for part in rest for block in _children(part)])


def _field(node: nodes.Element) -> Iterator[Block]:
    name, body = node.children[0], node.children[-1]
    yield from _headed(f"{inline_text(name)}:", list(_children_of(body)))


def _option(node: nodes.Element) -> Iterator[Block]:
    head, body = node.children[0], node.children[-1]
    names = ", ".join(c.astext() for c in head.children)
    yield from _headed(names, list(_children_of(body)))


def _admonition(node: nodes.Element) -> Iterator[Block]:
    title = next((inline_text(c) for c in node.children if isinstance(c, nodes.title)), None)
    yield from _marked(f"{title or node.tagname.capitalize()}: ", _children(node), indent="")


def _topic(node: nodes.Element) -> Iterator[Block]:
    title = next((inline_text(c) for c in node.children if isinstance(c, nodes.title)), "")
    yield from _text(title)
    yield from _children(node)


def _footnote(node: nodes.Element) -> Iterator[Block]:
    label = next((c.astext() for c in node.children if isinstance(c, nodes.label)), "")
    said = [c for c in node.children if not isinstance(c, nodes.label)]
    yield from _marked(f"[{label}] ", (b for c in said for b in blocks_of(c)))


def _misunderstood(node: nodes.Element) -> Iterator[Block]:
    """Keep the source that docutils could not make sense of, without its underlines."""
    for source in node.children:
        if isinstance(source, nodes.literal_block):
            lines = source.astext().split("\n")
            yield from _text("\n".join(line for line in lines if _WORD.search(line)))


def _described(node: nodes.Element) -> Iterator[Block]:
    yield from _headed("\n".join(node["signatures"]), list(_children(node)))


def _table(node: nodes.Element) -> Iterator[Block]:
    rows = [
        [
            " ".join(inline_text(part) for part in entry.children).replace("|", "\\|")
            for entry in row.findall(nodes.entry)
        ]
        for row in node.findall(nodes.row)
    ]
    for title in node.children:
        if isinstance(title, nodes.title):
            yield from _text(inline_text(title))
    if not rows:
        return
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    yield Block("\n".join(lines), Kind.TABLE)


def _children_of(node: nodes.Node) -> Iterator[Block]:
    for child in node.children:
        yield from blocks_of(child)


def _marked(mark: str, blocks: Iterator[Block], indent: str = _INDENT) -> Iterator[Block]:
    """Put a mark before the first block and indent the rest below it."""
    first = next(blocks, None)
    if first is None:
        return
    if first.kind is Kind.TEXT:
        yield Block(mark + _indented(first.text, indent).lstrip())
    else:
        yield Block(mark.rstrip())
        yield Block(_indented(first.text, indent), first.kind)
    for block in blocks:
        yield Block(_indented(block.text, indent), block.kind)


def _headed(head: str, blocks: list[Block]) -> Iterator[Block]:
    """Keep a term and the first text about it in one block, as one is nothing without the other."""
    if blocks and blocks[0].kind is Kind.TEXT:
        yield Block(f"{head}\n{_indented(blocks[0].text)}")
        blocks = blocks[1:]
    else:
        yield from _text(head)
    yield from (Block(_indented(block.text), block.kind) for block in blocks)


def _indented(text: str, indent: str = _INDENT) -> str:
    return "\n".join(f"{indent}{line}" if line else "" for line in text.split("\n"))


_RENDERERS: tuple[
    tuple[type[Any], Callable[..., Iterator[Block]]], ...
] = (  # Any: docutils' categories are not nodes
    (described, _described),
    (nodes.literal_block, _code),
    (nodes.doctest_block, _code),
    (nodes.math_block, _code),
    (nodes.line_block, _lines),
    (nodes.bullet_list, _items),
    (nodes.enumerated_list, _items),
    (nodes.definition_list_item, _definitions),
    (nodes.field, _field),
    (nodes.option_list_item, _option),
    (nodes.table, _table),
    (nodes.topic, _topic),
    (nodes.sidebar, _topic),
    (nodes.system_message, _misunderstood),
    (nodes.footnote, _footnote),
    (nodes.citation, _footnote),
    (nodes.Admonition, _admonition),
    (nodes.image, lambda node: _text(inline_text(node))),
)
