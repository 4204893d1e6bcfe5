"""What a walk through a page's elements collects."""

from dataclasses import dataclass, field

from lxml import etree

from lightspeed_providers.product_rag.ingest.html_layout import Finish
from lightspeed_providers.product_rag.ingest.html_terms import Term
from lightspeed_providers.product_rag.ingest.page import Block


@dataclass(slots=True, eq=False)
class Head:
    """A heading or a term, with those that it stands under; level 0 is the page itself."""

    level: int = 0
    text: str = ""
    anchor: str = ""
    above: "Head | None" = None


@dataclass(slots=True)
class Part:
    """The blocks that stand directly under a heading."""

    head: Head
    blocks: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class Frame:
    """An open element whose blocks are laid out together when it ends."""

    element: etree._Element
    finish: Finish
    blocks: list[Block] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
