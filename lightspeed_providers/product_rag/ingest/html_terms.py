"""Terms of definition lists, and which of them are sections of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

from lxml import etree

from lightspeed_providers.product_rag.ingest.html_addresses import chosen_address
from lightspeed_providers.product_rag.ingest.html_kinds import classes, is_silent
from lightspeed_providers.product_rag.ingest.html_words import one_line

_MUCH = 160
"""Characters of a description with which its term is a section."""
_LONGEST_LABEL = 120
_SHORT = 40
_OBJECT_NAMES = frozenset({"descclassname", "descname", "sig-prename", "sig-name"})
_CALLABLES = frozenset({"function", "method", "classmethod", "staticmethod"})


@dataclass(frozen=True, slots=True)
class Term:
    """What is described: its text, a label that is short enough for a heading, its address."""

    text: str
    label: str
    anchor: str
    is_signature: bool

    @property
    def is_short(self) -> bool:
        """Whether several of them fit on a line."""
        return len(self.text) <= _SHORT and not self.is_signature


def term_of(node: etree._Element, words: str) -> Term:
    """Return the term that a `dt` holds; `words` is its text as it was collected."""
    text = one_line(words.replace("\u2028", ", ")).replace(" ,", ",").strip(", ")
    is_signature = _is_signature(node)
    label = _object_name(node) if is_signature else ""
    return Term(text, label or _cut(text.replace("`", "")), chosen_address(node), is_signature)


def described_at(terms: Sequence[Term], description: etree._Element) -> bool:
    """Whether a description can be cited on its own: it has an address and something to say."""
    if not terms or not terms[0].anchor:
        return False
    return terms[0].is_signature or _says_much(description)


def _says_much(node: etree._Element) -> bool:
    length = 0
    for text in node.itertext():
        length += len(text.strip())
        if length >= _MUCH:
            return True
    return False


def _is_signature(node: etree._Element) -> bool:
    return "sig" in classes(node) or any(
        name in {"descname", "sig-name"} for child in node.iterchildren() for name in classes(child)
    )


def _object_name(node: etree._Element) -> str:
    """`QuerySet.filter()` from Sphinx's markup of a signature."""
    names = [
        "".join(child.itertext())
        for child in node.iterchildren()
        if _OBJECT_NAMES & {*classes(child)} and not is_silent(child)
    ]
    holder = node.getparent()
    is_callable = holder is not None and bool(_CALLABLES & {*classes(holder)})
    return "".join(names).strip() + "()" * is_callable


def _cut(text: str) -> str:
    if len(text) <= _LONGEST_LABEL:
        return text
    return text[:_LONGEST_LABEL].rpartition(" ")[0] + " …"
