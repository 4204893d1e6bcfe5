"""docutils nodes as the text that a reader sees."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from docutils import nodes

from lightspeed_providers.product_rag.ingest.layout import (
    code_block,
    headed,
    marked,
    table_block,
    text_block,
)
from lightspeed_providers.product_rag.ingest.page import Block
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
        yield from text_block(inline_text(node))
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


def _code(node: nodes.Element) -> Iterator[Block]:
    yield from code_block(node.astext(), node.get("language", ""))


def _lines(node: nodes.Element) -> Iterator[Block]:
    lines = (inline_text(line) for line in node.findall(nodes.line))
    yield from text_block("\n".join(line for line in lines if line))


def _items(node: nodes.Element) -> Iterator[Block]:
    numbered = isinstance(node, nodes.enumerated_list)
    start = node.get("start", 1)
    for number, item in enumerate(node.children, start=start):
        mark = f"{number}. " if numbered else "- "
        yield from marked(mark, _children_of(item))


def _definitions(node: nodes.Element) -> Iterator[Block]:
    terms = [inline_text(c) for c in node.children if isinstance(c, nodes.term)]
    classifiers = [inline_text(c) for c in node.children if isinstance(c, nodes.classifier)]
    head = " : ".join([", ".join(terms), *classifiers])
    rest = [c for c in node.children if isinstance(c, nodes.definition)]
    yield from headed(head, [block for part in rest for block in _children(part)])


def _field(node: nodes.Element) -> Iterator[Block]:
    name, body = node.children[0], node.children[-1]
    yield from headed(f"{inline_text(name)}:", list(_children_of(body)))


def _option(node: nodes.Element) -> Iterator[Block]:
    head, body = node.children[0], node.children[-1]
    names = ", ".join(c.astext() for c in head.children)
    yield from headed(names, list(_children_of(body)))


def _admonition(node: nodes.Element) -> Iterator[Block]:
    title = next((inline_text(c) for c in node.children if isinstance(c, nodes.title)), None)
    yield from marked(f"{title or node.tagname.capitalize()}: ", _children(node), indent="")


def _topic(node: nodes.Element) -> Iterator[Block]:
    title = next((inline_text(c) for c in node.children if isinstance(c, nodes.title)), "")
    yield from text_block(title)
    yield from _children(node)


def _footnote(node: nodes.Element) -> Iterator[Block]:
    label = next((c.astext() for c in node.children if isinstance(c, nodes.label)), "")
    said = [c for c in node.children if not isinstance(c, nodes.label)]
    yield from marked(f"[{label}] ", (b for c in said for b in blocks_of(c)))


def _misunderstood(node: nodes.Element) -> Iterator[Block]:
    """Keep the source that docutils could not make sense of, without its underlines."""
    for source in node.children:
        if isinstance(source, nodes.literal_block):
            lines = source.astext().split("\n")
            yield from text_block("\n".join(line for line in lines if _WORD.search(line)))


def _described(node: nodes.Element) -> Iterator[Block]:
    yield from headed("\n".join(node["signatures"]), list(_children(node)))


def _table(node: nodes.Element) -> Iterator[Block]:
    rows = [
        [
            " ".join(inline_text(part) for part in entry.children)
            for entry in row.findall(nodes.entry)
        ]
        for row in node.findall(nodes.row)
    ]
    for title in node.children:
        if isinstance(title, nodes.title):
            yield from text_block(inline_text(title))
    yield from table_block(rows)


def _children_of(node: nodes.Node) -> Iterator[Block]:
    for child in node.children:
        yield from blocks_of(child)


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
    (nodes.image, lambda node: text_block(inline_text(node))),
)
