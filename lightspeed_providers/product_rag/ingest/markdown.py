"""Markdown and plain text as pages."""

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lightspeed_providers.product_rag.ingest.page import Block, Kind, Page, Section

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---\r?\n.*?\r?\n---\r?\n", re.DOTALL)
_KINDS = {"fence": Kind.CODE, "code_block": Kind.CODE, "table_open": Kind.TABLE}
_LEFT_OUT = frozenset({"html_block", "hr", "heading_close"})
_LISTS = frozenset({"bullet_list_open", "ordered_list_open"})


def parse_markdown(text: str, path: str) -> Page:
    """Return a page whose blocks are the source's own lines, list items one by one."""
    text = _FRONT_MATTER.sub("", text.replace("\r\n", "\n"))
    lines = text.split("\n")
    sections = list(_sections(_parser().parse(text), lines))
    heads = [s.heading_path for s in sections if s.heading_path]
    title = heads[0][0] if heads else PurePosixPath(path).name
    if heads and all(head[0] == title for head in heads):
        sections = [Section(s.heading_path[1:], s.anchor, s.blocks) for s in sections]
    return Page(path, title, tuple(s for s in sections if s.blocks))


def parse_plain_text(text: str, path: str) -> Page:
    """Return a page of paragraphs, called by its first line where that is short."""
    paragraphs = [p.strip("\n") for p in re.split(r"\n\s*\n", text) if p.strip()]
    first = paragraphs[0].strip() if paragraphs else ""
    is_title = len(paragraphs) > 1 and "\n" not in first and len(first) <= 100
    title = first if is_title else PurePosixPath(path).name
    body = tuple(Block(p) for p in paragraphs[is_title:])
    return Page(path, title, (Section((), "", body),) if body else ())


@functools.cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def _sections(tokens: Sequence["Token"], lines: list[str]) -> Iterator[Section]:
    path: list[tuple[int, str]] = []
    anchor = ""
    used: dict[str, int] = {}
    blocks: list[Block] = []
    for number, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0:
            yield Section(tuple(h for _, h in path), anchor, tuple(blocks))
            level, heading = int(token.tag[1:]), _plain(tokens[number + 1])
            path = [*(entry for entry in path if entry[0] < level), (level, heading)]
            anchor, blocks = _slug(heading, used), []
        elif token.map and _is_leaf(token) and token.type not in _LEFT_OUT:
            source = "\n".join(lines[token.map[0] : token.map[1]]).rstrip()
            blocks.append(Block(source, _kind(token, source)))
    yield Section(tuple(h for _, h in path), anchor, tuple(blocks))


def _is_leaf(token: "Token") -> bool:
    """Whether a token is a block of its own: list items are, the list around them is not."""
    if token.level == 0:
        return token.nesting >= 0 and token.type not in _LISTS
    return token.level == 1 and token.type == "list_item_open"


def _kind(token: "Token", source: str) -> Kind:
    if token.type in {"list_item_open", "blockquote_open"} and "```" in source:
        return Kind.CODE
    return _KINDS.get(token.type, Kind.TEXT)


def _plain(inline: "Token") -> str:
    kept = {"text", "code_inline"}
    return "".join(c.content for c in inline.children or () if c.type in kept).strip()


def _slug(heading: str, used: dict[str, int]) -> str:
    """Return the anchor that most Markdown sites make of a heading."""
    slug = re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())
    count = used.get(slug, 0)
    used[slug] = count + 1
    return f"{slug}-{count}" if count else slug
