"""Where the expected pages and passages came."""

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.evaluate.questions import Question

Ranks = dict[str, int | None]
"""For each expected place its rank from 1, or None where it was not found."""


def page_of(passage: Passage) -> str:
    """Return the path of a passage's page inside the documentation."""
    return passage.document_id.partition(f"/{passage.version}/")[2] or passage.document_id


def anchor_of(passage: Passage) -> str:
    """Return the heading that a passage's address leads to, or nothing."""
    return unquote(urlsplit(passage.doc_url).fragment)


def page_ranks(question: Question, passages: Sequence[Passage]) -> Ranks:
    """Return the rank of each expected page; a page stands where its best passage does."""
    pages = list(dict.fromkeys(page_of(passage) for passage in passages))
    return {place.page: _rank(place.page, pages) for place in question.expected}


def passage_ranks(question: Question, passages: Sequence[Passage]) -> Ranks:
    """Return the rank of the first passage under each expected heading; none without anchors."""
    headings = [f"{page_of(passage)}#{anchor_of(passage)}" for passage in passages]
    wanted = [f"{place.page}#{place.anchor}" for place in question.expected if place.anchor]
    return {heading: _rank(heading, headings) for heading in wanted}


def best(ranks: Ranks, k: int) -> int | None:
    """Return the best rank within the first k, or None."""
    return min((rank for rank in ranks.values() if rank is not None and rank <= k), default=None)


def _rank(wanted: str, found: Sequence[str]) -> int | None:
    return found.index(wanted) + 1 if wanted in found else None
