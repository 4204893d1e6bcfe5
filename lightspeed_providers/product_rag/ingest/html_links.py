"""Lists of links: each leads to what is read anyway, and would hide it in a search."""

from lxml import etree

from lightspeed_providers.product_rag.ingest.html_kinds import is_silent

_FEWEST = 5
_SHARE = 0.9


def linked_length(content: etree._Element) -> tuple[int, int]:
    """Return how many characters of an element are links, and how many links there are."""
    length = links = 0
    walk = etree.iterwalk(content, events=("start",))
    for _, node in walk:
        if node is not content and is_silent(node):
            walk.skip_subtree()
        elif node.tag == "a" and node.get("href"):
            length += _letters("".join(node.itertext()))
            links += 1
            walk.skip_subtree()
    return length, links


def is_list_of_links(node: etree._Element) -> bool:
    """Whether a list says nothing but where else to look, as menus and tables of contents do."""
    linked, links = linked_length(node)
    return links >= _FEWEST and linked >= _SHARE * _letters("".join(node.itertext()))


def _letters(text: str) -> int:
    return len("".join(text.split()))
