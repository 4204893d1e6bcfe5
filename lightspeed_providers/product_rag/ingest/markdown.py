"""Markdown, also as MyST, MkDocs, Docusaurus and GitHub write it, and plain text, as pages."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from lightspeed_providers.product_rag.ingest.front_matter import front_matter_of
from lightspeed_providers.product_rag.ingest.myst_blocks import blocks_of, unread_of
from lightspeed_providers.product_rag.ingest.myst_inline import anchors_in, heading_text
from lightspeed_providers.product_rag.ingest.myst_parser import Node, parsed
from lightspeed_providers.product_rag.ingest.page import Block, Page, Section

_TOLD = 3


def parse_markdown(text: str, path: str) -> Page:
    """Return a page whose blocks read as the site shows them, list items one by one."""
    said, text = front_matter_of(text.replace("\r\n", "\n").removeprefix("\ufeff"))
    nodes = parsed(text)
    sections = list(_sections(nodes))
    heads = [s.heading_path for s in sections if s.heading_path]
    head = heads[0][0] if heads else ""
    title = said.title or head or PurePosixPath(path).name
    if head.casefold() == title.casefold() and all(other[0] == head for other in heads):
        sections = [Section(s.heading_path[1:], s.anchor, s.blocks) for s in sections]
    problems = (*said.problems, *unread_of(nodes))[:_TOLD]
    shown = tuple(s for s in sections if s.blocks)
    return Page(path, title, shown, problems, said.language, said.attributes)


def parse_plain_text(text: str, path: str) -> Page:
    """Return a page of paragraphs, called by its first line where that is short."""
    paragraphs = [p.strip("\n") for p in re.split(r"\n\s*\n", text) if p.strip()]
    first = paragraphs[0].strip() if paragraphs else ""
    is_title = len(paragraphs) > 1 and "\n" not in first and len(first) <= 100
    title = first if is_title else PurePosixPath(path).name
    body = tuple(Block(p) for p in paragraphs[is_title:])
    return Page(path, title, (Section((), "", body),) if body else ())


def _sections(nodes: Sequence[Node]) -> Iterator[Section]:
    path: list[tuple[int, str]] = []
    anchor = target = ""
    used: dict[str, int] = {}
    blocks: list[Block] = []
    for node in nodes:
        if node.token.type == "heading_open" and node.inline:
            yield Section(tuple(h for _, h in path), anchor, tuple(blocks))
            heading, chosen = heading_text(node.inline)
            slug = _slug(heading, used)
            level = int(node.token.tag[1:])
            path = [*(entry for entry in path if entry[0] < level), (level, heading)]
            anchor, target, blocks = chosen or target or slug, "", []
            continue
        blocks.extend(blocks_of([node]))
        target = _target(node) or (target if node.token.type == "myst_line_comment" else "")
    yield Section(tuple(h for _, h in path), anchor, tuple(blocks))


def _target(node: Node) -> str:
    """Return the name that a block gives to the heading after it."""
    if node.token.type == "myst_target":
        return node.token.content
    source = node.token.content if node.token.type == "html_block" else ""
    if node.inline and node.inline.content.startswith("<a "):
        source = node.inline.content
    return next(iter(anchors_in(source)), "")


def _slug(heading: str, used: dict[str, int]) -> str:
    """Return the anchor that most Markdown sites make of a heading."""
    slug = re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())
    count = used.get(slug, 0)
    used[slug] = count + 1
    return f"{slug}-{count}" if count else slug
