"""The text of a `pre` as it stands in the page."""

from lxml import etree

from lightspeed_providers.product_rag.ingest.html_kinds import is_silent
from lightspeed_providers.product_rag.ingest.html_words import without_unseen

_LINES = frozenset({"div", "p", "li", "tr"})


def code_text(pre: etree._Element) -> str:
    """Return code with its white space, without line numbers and copy buttons."""
    if not len(pre):
        return _plain(pre.text or "")
    said: list[str] = []
    walk = etree.iterwalk(pre, events=("start", "end"))
    for event, node in walk:
        if event == "start":
            if node is not pre and is_silent(node):
                walk.skip_subtree()
                continue
            if node.tag == "br":
                said.append("\n")
            if node.text:
                said.append(node.text)
        elif node is pre:
            break
        else:
            if node.tag in _LINES and said and not said[-1].endswith("\n"):
                said.append("\n")
            if node.tail:
                said.append(node.tail)
    return _plain("".join(said))


def _plain(text: str) -> str:
    return without_unseen(text.replace("\u00a0", " ").replace("\r\n", "\n"))
