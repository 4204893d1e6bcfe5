"""The address of a heading: an id that the page has."""

import re

from lxml import etree

from lightspeed_providers.product_rag.ingest.html_kinds import is_section

_PRODUCED = re.compile(r"^id[pm-]?[\d.-]{3,}")
"""Ids that DocBook counts, other ones after each edit."""


class Addresses:
    """Ids since the last text, which lead to the heading that comes next."""

    def __init__(self, content: etree._Element) -> None:
        self._content = content
        self._section = ""
        self._targets: list[str] = []

    def note(self, node: etree._Element) -> None:
        """Remember an element's address, if it is that of a section or of nothing but a place."""
        if not node.attrib or node.get("class") == "indexterm":
            return
        if is_section(node):
            self._section = node.get("id") or self._section
        elif node.tag in {"a", "span", "p"} or (node.tag == "div" and not len(node)):
            self._targets.append(address_of(node))

    def forget(self) -> None:
        """Forget all of them: text came that they belong to."""
        self._section = ""
        self._targets.clear()

    def of_heading(self, heading: etree._Element) -> str:
        """Return a heading's own id, its section's, or that of a target in or before it."""
        inside = [address_of(node) for node in heading.iter("a", "span")]
        around = self._around(heading)
        found = [heading.get("id"), self._section, *inside, around, *reversed(self._targets)]
        known = [address for address in found if address]
        return next((a for a in known if not _PRODUCED.match(a)), known[0] if known else "")

    def _around(self, heading: etree._Element) -> str:
        """The id of an element that begins with the heading."""
        node, holder = heading, heading.getparent()
        while holder is not None and holder is not self._content and node.getprevious() is None:
            if address := holder.get("id"):
                return address
            node, holder = holder, holder.getparent()
        return ""


def address_of(node: etree._Element) -> str:
    """Return an element's id, or the name by which an old page addresses it."""
    return node.get("id") or (node.get("name") or "" if node.tag == "a" else "")


def chosen_address(node: etree._Element) -> str:
    """Return an element's own id, or that of a target in it which an author chose."""
    if own := node.get("id"):
        return own
    inside = (address_of(target) for target in node.iter("a", "span"))
    return next((found for found in inside if found and not _PRODUCED.match(found)), "")
