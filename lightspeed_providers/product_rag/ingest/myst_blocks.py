"""Markdown's blocks as the text that a reader sees, laid out as reStructuredText's are."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from lightspeed_providers.product_rag.ingest.layout import (
    code_block,
    headed,
    marked,
    table_block,
    text_block,
)
from lightspeed_providers.product_rag.ingest.myst_directives import Directive, Style
from lightspeed_providers.product_rag.ingest.myst_html import html_blocks
from lightspeed_providers.product_rag.ingest.myst_inline import inline_text
from lightspeed_providers.product_rag.ingest.myst_parser import Node, parsed
from lightspeed_providers.product_rag.ingest.page import Block

if TYPE_CHECKING:
    from markdown_it.token import Token

_ALERT = re.compile(r"\[!(\w+)\][+-]?\s*")
_MODULE_LINE = re.compile(
    r"\s*(?:import\s+(?:[^'\"\n]*\sfrom\s+)?['\"][^'\"\n]+['\"]|"
    r"export\s+(?:const|default|function|let)\s).*"
)
_COMPONENT = re.compile(r"(?s)\s*</?[A-Z][\w.]*[\s/>].*>\s*|\s*\{:[^}]*\}\s*")
_LANGUAGE = re.compile(r"\s*\{?\s*\.?([\w+#.-]*)")
_MOST_DIRECTIVES = 12  # inside each other


def blocks_of(nodes: Iterable[Node], depth: int = 0) -> Iterator[Block]:
    """Yield the blocks of nodes; nested ones are indented below what they belong to."""
    for node in nodes:
        kind = node.token.type.removesuffix("_open")
        render = _RENDERERS.get(kind)
        if render:
            yield from render(node, depth)
        else:
            yield from blocks_of(node.children, depth)


def unread_of(nodes: Iterable[Node]) -> Iterator[str]:
    """Yield a line for each file that a page wants to show and that is not read."""
    for node in nodes:
        directive = Directive.of(node.token)
        if directive and directive.style is Style.UNREAD:
            yield f"{directive.name} of {directive.argument!r} is not read"
        yield from unread_of(node.children)


def _paragraph(node: Node, depth: int) -> Iterator[Block]:
    source = node.inline.content if node.inline else ""
    if all(_MODULE_LINE.fullmatch(line) for line in source.split("\n")):
        return
    if len(source) < 10_000 and _COMPONENT.fullmatch(source):
        return
    yield from text_block(inline_text(node.inline))


def _code(node: Node, depth: int) -> Iterator[Block]:
    language = _LANGUAGE.match(node.token.info)
    yield from code_block(node.token.content, language[1] if language else "")


def _fence(node: Node, depth: int) -> Iterator[Block]:
    directive = Directive.of(node.token)
    if directive is None:
        yield from _code(node, depth)
    elif depth > _MOST_DIRECTIVES:
        yield from text_block(directive.body)
    else:
        yield from _directive(directive, depth + 1)


def _directive(directive: Directive, depth: int) -> Iterator[Block]:
    match directive.style:
        case Style.LEFT_OUT | Style.UNREAD:
            return
        case Style.CODE:
            yield from text_block(directive.caption)
            yield from code_block(directive.body, directive.language)
        case Style.CSV_TABLE:
            yield from text_block(directive.argument)
            yield from table_block(directive.csv_rows(), has_header=directive.has_header)
        case Style.LIST_TABLE:
            yield from text_block(directive.argument)
            yield from table_block(
                _listed_rows(parsed(directive.body), depth), has_header=directive.has_header
            )
        case Style.RESTRUCTUREDTEXT:
            yield from _restructuredtext(directive.body)
        case Style.OBJECT:
            yield from headed(directive.argument, list(blocks_of(parsed(directive.body), depth)))
        case Style.NOTE:
            yield from marked(
                f"{directive.title}: ", blocks_of(parsed(directive.text), depth), indent=""
            )
        case Style.TITLED:
            yield from text_block(directive.title)
            yield from blocks_of(parsed(directive.text), depth)


def _listed_rows(nodes: list[Node], depth: int) -> list[list[str]]:
    return [
        [_flat(cell.children, depth) for cells in row.children for cell in cells.children]
        for rows in nodes
        for row in rows.children
    ]


def _flat(nodes: Iterable[Node], depth: int) -> str:
    return " ".join(block.text for block in blocks_of(nodes, depth))


def _restructuredtext(text: str) -> Iterator[Block]:
    from lightspeed_providers.product_rag.ingest.restructuredtext import parse_restructuredtext

    for section in parse_restructuredtext(text, "").sections:
        yield from section.blocks


def _html(node: Node, depth: int) -> Iterator[Block]:
    if not _COMPONENT.match(node.token.content):
        yield from html_blocks(node.token.content)


def _items(node: Node, depth: int) -> Iterator[Block]:
    if _is_contents(node):
        return
    numbered = node.token.type == "ordered_list_open"
    start = int(node.token.attrGet("start") or 1) if numbered else 1
    for number, item in enumerate(node.children, start=start):
        yield from marked(f"{number}. " if numbered else "- ", blocks_of(item.children, depth))


def _is_contents(node: Node) -> bool:
    """Whether a list says nothing but which headings the page has."""
    inlines = list(_inlines(node))
    return len(inlines) > 1 and all(
        len(inline) > 2
        and inline[0].type == "link_open"
        and str(inline[0].attrGet("href")).startswith("#")
        and next(n for n, t in enumerate(inline) if t.type == "link_close") == len(inline) - 1
        for inline in inlines
    )


def _inlines(node: Node) -> Iterator[list["Token"]]:
    if node.token.type == "inline":
        yield node.token.children or []
    for child in node.children:
        yield from _inlines(child)


def _definitions(node: Node, depth: int) -> Iterator[Block]:
    terms: list[str] = []
    for child in node.children:
        if child.token.type == "dt_open":
            terms.append(inline_text(child.inline))
        else:
            yield from headed(", ".join(terms), list(blocks_of(child.children, depth)))
            terms = []


def _quote(node: Node, depth: int) -> Iterator[Block]:
    blocks = list(blocks_of(node.children, depth))
    alert = _ALERT.match(blocks[0].text) if blocks else None
    if alert is None:
        yield from blocks
        return
    first = blocks[0].text[alert.end() :]
    said = [Block(first), *blocks[1:]] if first else blocks[1:]
    yield from marked(f"{alert[1].capitalize()}: ", said, indent="")


def _admonition(node: Node, depth: int) -> Iterator[Block]:
    titles = [c for c in node.children if c.token.type == "admonition_title_open"]
    title = inline_text(titles[0].inline) if titles else ""
    title = title or str(node.token.meta["tag"]).capitalize()
    said = blocks_of((c for c in node.children if c not in titles), depth)
    if node.token.meta["tag"] == "tab":
        yield from text_block(f"{title}:")
        yield from said
    else:
        yield from marked(f"{title}: ", said, indent="")


def _table(node: Node, depth: int) -> Iterator[Block]:
    rows = [
        [inline_text(cell.inline) for cell in row.children]
        for part in node.children
        for row in part.children
    ]
    yield from table_block(rows)


def _footnote(node: Node, depth: int) -> Iterator[Block]:
    label = node.token.meta.get("label") or node.token.meta["id"] + 1
    yield from marked(f"[{label}] ", blocks_of(node.children, depth))


def _silent(node: Node, depth: int) -> Iterator[Block]:
    return iter(())


_RENDERERS: dict[str, Callable[[Node, int], Iterator[Block]]] = {
    "admonition": _admonition,
    "blockquote": _quote,
    "bullet_list": _items,
    "code_block": _code,
    "colon_fence": _fence,
    "dl": _definitions,
    "fence": _fence,
    "footnote": _footnote,
    "heading": lambda node, depth: text_block(inline_text(node.inline)),
    "html_block": _html,
    "math_block": _code,
    "math_block_label": _code,
    "myst_block_break": _silent,
    "myst_line_comment": _silent,
    "myst_target": _silent,
    "ordered_list": _items,
    "paragraph": _paragraph,
    "table": _table,
}
