"""HTML as a tree, and which part of it is the page's own text."""

import re
from collections.abc import Iterator

from lxml import etree

from lightspeed_providers.product_rag.ingest.html_kinds import classes, is_silent

_MOST_ATTRIBUTES = 100_000
"""Characters of a tag over which its attributes are dropped: libxml2 takes quadratic time."""
_HUGE_TAG = re.compile(rf"<(/?[A-Za-z][\w:-]{{0,50}})\s[^<>]{{{_MOST_ATTRIBUTES},}}>")
_WRAPPER = re.compile(
    r"</?(?:a|abbr|acronym|b|big|center|cite|code|dfn|div|em|font|i|kbd|label|nobr|q|s|samp"
    r"|section|small|span|strike|strong|tt|u|var)(?:\s[^<>]{0,2000})?/?>",
    re.IGNORECASE,
)
_TOO_DEEP = "Excessive depth"
_HOLDERS = ("main", "article", "div", "section", "td")
_BY_CLASS = {
    "div.body": 9,  # Sphinx
    "article.bd-article": 9,  # pydata's theme for it
    "article.md-content__inner": 9,  # MkDocs Material
    "div.md-content": 8,
    "article.doc": 9,  # Antora
    "div.vp-doc": 8,  # VitePress
    "div.td-content": 8,  # Docsy
    "section.markdown-section": 8,  # GitBook
    "article.markdown-section": 8,  # Docsify
    "div.rst-content": 5,
    "div.entry-content": 3,
    "div.page-content": 3,
    "div.main-content": 3,
}
_BY_ID = {"content": 3, "main-content": 4, "main": 3, "page-content": 3, "docs-content": 4}
_SURE = 5
"""Up to that rank, an element is only called like content."""
_ARTICLE = 6
"""One that is not alone is a teaser, not the page."""
_SHARE = 10
"""What is taken for the content has at least a tenth of the body's text."""


class NoElementsError(ValueError):
    """A text that is no HTML at all, or an empty one."""


def tree_of(text: str) -> tuple[etree._Element, bool]:
    """Return the tree, and whether it is whole: nesting beyond libxml2's limit ends it early."""
    text = _HUGE_TAG.sub(r"<\1>", text)
    tree, whole = _parsed(text)
    if not whole:
        tree, whole = _parsed(_WRAPPER.sub("", text))
    if tree is None:
        raise NoElementsError("it has no elements")
    return tree, whole


def _parsed(text: str) -> tuple[etree._Element | None, bool]:
    parser = etree.HTMLParser(
        encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True, no_network=True
    )
    try:
        tree = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:  # nothing in it
        return None, True
    return tree, not any(_TOO_DEEP in entry.message for entry in parser.error_log)


def main_content(tree: etree._Element) -> etree._Element:
    """Return the element that holds the page's text, the body where none stands out."""
    body = tree.find("body")
    if body is None:
        return tree
    ranked = sorted(_ranked(body), key=lambda candidate: -candidate[0])
    if not ranked:
        return body
    least = min(_length(body, 20_000) // _SHARE, 2000)
    for rank, node in ranked:
        if _length(node, least + 1) >= max(least, 1):
            return node if rank > _SURE or not _title_before(node) else _holder(node)
    return body


def _holder(node: etree._Element) -> etree._Element:
    holder = node.getparent()
    return node if holder is None else holder


def _title_before(node: etree._Element) -> bool:
    """Whether the title stands before the content, as Asciidoctor has it."""
    return any(
        next(sibling.iter("h1"), None) is not None
        for sibling in node.itersiblings("div", "header", preceding=True)
        if not is_silent(sibling)
    )


def _ranked(body: etree._Element) -> Iterator[tuple[int, etree._Element]]:
    """Candidates with how surely each is the content, in the page's order."""
    found = [(rank, node) for node in body.iter(*_HOLDERS) if (rank := _rank(node))]
    articles = sum(1 for _, node in found if node.tag == "article")
    for rank, node in found:
        if node.tag != "article" or articles == 1 or rank > _ARTICLE:
            yield rank, node


def _rank(node: etree._Element) -> int:
    ranks = [_BY_CLASS.get(f"{node.tag!s}.{name}", 0) for name in classes(node)]
    ranks.append(_BY_ID.get(node.get("id") or "", 0))
    if node.get("itemprop") == "articleBody":
        ranks.append(8)
    if node.tag == "main" or node.get("role") == "main":
        ranks.append(7)
    if node.tag == "article":
        ranks.append(_ARTICLE)
    return max(ranks)


def _length(node: etree._Element, enough: int) -> int:
    """How many characters a reader is shown, counted no further than needed."""
    length = 0
    walk = etree.iterwalk(node, events=("start", "end"))
    for event, child in walk:
        if event == "end":
            said = child.tail if child is not node else None
        elif is_silent(child):
            walk.skip_subtree()
            continue
        else:
            said = child.text
        length += len(said.strip()) if said else 0
        if length >= enough:
            break
    return length
