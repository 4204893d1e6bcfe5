"""What a question says itself of the product and version it is about."""

import re
from collections.abc import Iterable, Sequence

from lightspeed_providers.core.errors import InvalidRequestError
from lightspeed_providers.product_rag.filters import LATEST, Wanted, groups_of, named_versions
from lightspeed_providers.product_rag.index.content import Group


def named_products(question: str, products: Iterable[str]) -> frozenset[str]:
    """Return the products whose name stands in the question as words of their own."""
    text = question.casefold()
    return frozenset(
        product
        for product in products
        if re.search(rf"(?<!\w){re.escape(product.casefold())}(?!\w)", text)
    )


def limited_by_question(
    question: str, groups: Sequence[Group], allowed: frozenset[int], default_version: str
) -> frozenset[int]:
    """Return the allowed groups of the versions that the question names, else of the default.

    Each product is looked at on its own: a question about two versions finds both, and a product
    that has no such version as the default is searched in its latest.
    """
    chosen: set[int] = set()
    inside = [group for group in groups if group.number in allowed]
    for product in {group.product for group in inside}:
        of_product = [group for group in inside if group.product == product]
        named = named_versions(question, product, {group.version for group in of_product})
        if named:
            chosen |= {group.number for group in of_product if group.version in named}
        else:
            chosen |= _of_default(default_version, of_product)
    return frozenset(chosen)


def _of_default(version: str, groups: Sequence[Group]) -> frozenset[int]:
    try:
        return groups_of(Wanted(version=version), groups)
    except InvalidRequestError:
        return groups_of(Wanted(version=LATEST), groups)
