"""HTML, whichever generator wrote it, as pages.

html_tree.py finds the content, html_walk.py reads it; html_kinds.py tells what an element is.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from lxml import etree

from lightspeed_providers.product_rag.ingest.html_kinds import HEADINGS
from lightspeed_providers.product_rag.ingest.html_links import linked_length
from lightspeed_providers.product_rag.ingest.html_parts import Head, Part
from lightspeed_providers.product_rag.ingest.html_tree import (
    NoElementsError,
    main_content,
    tree_of,
)
from lightspeed_providers.product_rag.ingest.html_walk import parts_of
from lightspeed_providers.product_rag.ingest.html_words import one_line
from lightspeed_providers.product_rag.ingest.page import Kind, Page, Section
from lightspeed_providers.product_rag.ingest.parse import NothingToCiteError

_INDEX_PAGE = re.compile(
    r"(?:bookindex|genindex(?:-\w+)?|(?:py|np)-modindex|modindex|search|searchindex|doc-index"
    r"|theindex|ix\d+|objects-index|general-index|_index_all|tags?)"
)
_MOST_LINKED = 0.85
_INDEX_LINKED = 0.35
_FEW_WORDS = 60
_TITLE_LEVEL = 2
_NUMBERED = re.compile(r"\d+\.?\s")
_SITE_NAME = re.compile(r"\s+[—–|·»]\s+|\s+-\s+(?=[^-]*(?:documentation|docs|manual)\b)", re.I)
_ATTRIBUTES = re.compile(
    r"(?:dc\.|dcterms\.)?(?:keywords|author|description|date|subject|status|audience|platform)"
    r"|(?:docsearch:)?version|product[\w.:-]*|(?:doc|docs|release|product)[_.:-]?version"
)
_LONGEST_ATTRIBUTE = 500
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_CUT_SHORT = "elements are nested too deeply: what lies within them is left out"


def parse_html(text: str, path: str) -> Page:
    """Return a page of its main content; a page of links, or one that only redirects, is none."""
    try:
        tree, is_whole = tree_of(text)
    except NoElementsError as fault:
        raise NothingToCiteError("empty") from fault
    _refuse_redirect(tree)
    content = main_content(tree)
    parts = parts_of(content)
    told = _told_title(tree)
    own_title = _title_head(parts, told, _only_h1(tree))
    title = own_title.text if own_title else _only_h1(tree) or told or PurePosixPath(path).name
    sections = tuple(_sections(_from_title(parts, own_title), own_title))
    if not sections:
        raise NothingToCiteError("without text of its own")
    _refuse_links(content, sections, path)
    return Page(
        path,
        title,
        sections,
        problems=() if is_whole else (_CUT_SHORT,),
        language=_language(tree),
        attributes=tuple(_attributes(tree)),
    )


def _refuse_redirect(tree: etree._Element) -> None:
    for meta in tree.iter("meta"):
        refresh = (meta.get("http-equiv") or "").lower() == "refresh"
        if refresh and "url" in (meta.get("content") or "").lower():
            raise NothingToCiteError("only a redirect")


def _refuse_links(content: etree._Element, sections: Iterable[Section], path: str) -> None:
    """Refuse a list of links: each leads to what is read anyway, and would hide it in a search."""
    blocks = [block for section in sections for block in section.blocks]
    if any(block.kind is Kind.CODE for block in blocks):
        return
    shown = sum(len("".join(block.text.split())) for block in blocks)
    is_index = bool(_INDEX_PAGE.fullmatch(PurePosixPath(path).name.lower()))
    share = linked_length(content)[0] / max(shown, 1)
    if share > (_INDEX_LINKED if is_index else _MOST_LINKED):
        raise NothingToCiteError("only a list of links")
    if is_index and len(" ".join(block.text for block in blocks).split()) < _FEW_WORDS:
        raise NothingToCiteError("only a search form or an index")


def _sections(parts: Iterable[Part], title: Head | None) -> Iterator[Section]:
    """Parts with text as sections, neighbours under one heading joined."""
    open_part: Part | None = None
    for part in parts:
        if not part.blocks:
            continue
        if open_part is not None and open_part.head is part.head:
            open_part = Part(part.head, [*open_part.blocks, *part.blocks])
            continue
        if open_part is not None:
            yield _section(open_part, title)
        open_part = part
    if open_part is not None:
        yield _section(open_part, title)


def _section(part: Part, title: Head | None) -> Section:
    path: list[str] = []
    head: Head | None = part.head
    while head is not None and head.level and head is not title:
        path.append(head.text)
        head = head.above
    return Section(tuple(reversed(path)), part.head.anchor, tuple(part.blocks))


def _title_head(parts: list[Part], told: str, only: str) -> Head | None:
    """The heading that is the page's title, where one of those in the content is."""
    heads = [part.head for part in parts if 0 < part.head.level <= len(HEADINGS)]
    told = told.lower()
    same = next((h for h in heads if h.level <= _TITLE_LEVEL and h.text.lower() == told), None)
    highest = [head for head in heads if head.level == 1]
    if same or (len(highest) == 1 and not (told and _NUMBERED.match(highest[0].text))):
        return same or highest[0]
    if highest:  # a page of several: chapters, or the site's name before the title
        begun = (head for head in highest if told.startswith(head.text.lower()))
        return next(begun, None if told else highest[0])
    if only or not heads:
        return None
    first = heads[0]
    is_highest = all(head.level >= first.level for head in heads)
    return first if is_highest or first.text.lower() in told else None


def _from_title(parts: list[Part], title: Head | None) -> list[Part]:
    """Leave out the little that stands before the title: the site's name and menus."""
    start = next((n for n, part in enumerate(parts) if part.head is title), 0)
    before = [block.text for part in parts[:start] for block in part.blocks]
    words = sum(len(text.split()) for text in before if not text.lstrip().startswith("- "))
    return parts[start:] if words < _FEW_WORDS else parts


def _told_title(tree: etree._Element) -> str:
    """The window's title without the site's name."""
    title = tree.find("head/title")
    told = one_line("".join(title.itertext())) if title is not None else ""
    return _SITE_NAME.split(told, maxsplit=1)[0]


def _only_h1(tree: etree._Element) -> str:
    levels = list(tree.iter("h1"))
    only = one_line("".join(levels[0].itertext())).rstrip("¶# ") if len(levels) == 1 else ""
    return "" if _NUMBERED.match(only) else only


def _language(tree: etree._Element) -> str:
    told = tree.get("lang") or tree.get("{http://www.w3.org/XML/1998/namespace}lang") or ""
    short = told.lower().replace("_", "-").partition("-")[0]
    return short if _LANGUAGE.fullmatch(short) else ""


def _attributes(tree: etree._Element) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for meta in tree.iterfind("head/meta"):
        name = (meta.get("name") or "").strip().lower()
        value = one_line(meta.get("content") or "")[:_LONGEST_ATTRIBUTE]
        if value and name not in seen and _ATTRIBUTES.fullmatch(name):
            seen.add(name)
            yield name, value
