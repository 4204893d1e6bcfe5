"""Which products a question names."""

import re
from collections.abc import Iterable


def named_products(question: str, products: Iterable[str]) -> frozenset[str]:
    """Return the products whose name stands in the question as words of their own."""
    text = question.casefold()
    return frozenset(
        product
        for product in products
        if re.search(rf"(?<!\w){re.escape(product.casefold())}(?!\w)", text)
    )
