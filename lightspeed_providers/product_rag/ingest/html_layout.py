"""How items of lists and admonitions are laid out."""

from collections.abc import Callable, Iterator

from lxml import etree

from lightspeed_providers.product_rag.ingest.html_kinds import HEADINGS, classes
from lightspeed_providers.product_rag.ingest.layout import marked
from lightspeed_providers.product_rag.ingest.page import Block, Kind

Finish = Callable[[list[Block]], Iterator[Block]]
"""What becomes of an element's blocks when it ends."""

_AMONG_THE_FIRST = 8
_TITLE_CLASSES = frozenset(
    """
    title admonition-title admonition-heading admonitionheading alert-heading callout-title
    custom-block-title starlight-aside__title
    """.split()  # noqa: SIM905
)


class ItemMarks:
    """Numbers items as they come: counting those before each would take quadratic time."""

    def __init__(self) -> None:
        self._last: dict[etree._Element, int] = {}

    def finish(self, item: etree._Element) -> Finish:
        """Return what puts an item's mark before it."""
        mark = self._mark(item)
        return lambda blocks: marked(mark, blocks)

    def _mark(self, item: etree._Element) -> str:
        holder = item.getparent()
        if holder is None or holder.tag != "ol":
            return "- "
        number = self._last.get(holder, _number(holder.get("start"), 1) - 1) + 1
        self._last[holder] = number = _number(item.get("value"), number)
        return f"{number}. "


def _number(told: str | None, otherwise: int) -> int:
    return (
        int(told) if told and told.isascii() and told.isdecimal() and len(told) < 9 else otherwise
    )


def admonition_title(node: etree._Element) -> etree._Element | None:
    """Return the element with an admonition's label, which is among the first few in it."""
    for _, child in zip(range(_AMONG_THE_FIRST), node.iterdescendants(), strict=False):
        if child.tag in HEADINGS or child.tag in {"summary", "th"}:
            return child
        # Docusaurus appends a hash to its classes.
        if any(name.partition("_")[0] in _TITLE_CLASSES for name in classes(child)):
            return child
        if _TITLE_CLASSES & {*classes(child)}:
            return child
    return None


def admonition(label: str, blocks: list[Block]) -> Iterator[Block]:
    """Keep what an admonition says in one block, as far as it is text."""
    joined: list[Block] = []
    for block in blocks:
        if joined and joined[-1].kind is block.kind is Kind.TEXT:
            joined[-1] = Block(f"{joined[-1].text}\n{block.text}")
        else:
            joined.append(block)
    if joined and joined[0].text.lower().startswith(f"{label.lower()}:"):
        yield from joined
    else:
        yield from marked(f"{label}: ", joined, indent="")
