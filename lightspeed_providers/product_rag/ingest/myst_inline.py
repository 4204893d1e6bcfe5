"""Markdown's inline text as a reader sees it: no link targets, no markup, code in backticks."""

import re
from collections.abc import Iterable
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from lightspeed_providers.product_rag.ingest.myst_html import only_tags

if TYPE_CHECKING:
    from markdown_it.token import Token

_SHORTCODE = re.compile(r"\{\{[<%] *([^{}]*?) *[%>]\}\}|\{% *[^{}%]* *%\}|\{/\*.*?\*/\}")
_SHOWN_ATTRIBUTE = re.compile(r'\btext="([^"]*)"')
_ATTRIBUTES = re.compile(r"\s*\{(?::\s*)?[.#][^{}]*\}\s*$")
_ID = re.compile(r"#([\w.:-]+)")
_LINE_ENDS = frozenset({"softbreak", "hardbreak"})


def inline_text(inline: "Token | None") -> str:
    """Return a paragraph's words on one line."""
    if inline is None:
        return ""
    return " ".join(_SHORTCODE.sub(_shown, _visible(inline.children or ())).split())


def heading_text(inline: "Token") -> tuple[str, str]:
    """Return a heading's words and the anchor that its author chose, or an empty one."""
    text = inline_text(inline)
    attributes = _ATTRIBUTES.search(text)
    chosen = _ID.search(attributes[0]) if attributes else None
    anchor = chosen[1] if chosen else next(iter(anchors_in(_html(inline))), "")
    return (text[: attributes.start()] if attributes else text).strip(), anchor


def anchors_in(html: str) -> list[str]:
    """Return the ids of the empty link anchors in a piece of HTML."""
    finder = _Anchors()
    finder.feed(only_tags(html))
    return finder.found


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("id") or given.get("name")
        if tag == "a" and name and "href" not in given:
            self.found.append(name)


def _html(inline: "Token") -> str:
    return "".join(c.content for c in inline.children or () if c.type == "html_inline")


def _visible(tokens: Iterable["Token"]) -> str:
    said: list[str] = []
    target: str | None = None  # of a link that has shown no text of its own so far
    for token in tokens:
        if token.type == "link_open":
            target = str(token.attrGet("href") or "")
        elif token.type == "link_close":
            said.append((target or "").lstrip("#").rpartition("/")[2])
            target = None
        elif shown := _one(token):
            said.append(shown)
            target = None
    return "".join(said)


def _one(token: "Token") -> str:
    match token.type:
        case "text" | "text_special":
            return token.content
        case "code_inline":
            fence = "``" if "`" in token.content else "`"
            return f"{fence}{token.content}{fence}"
        case "image":
            return _visible(token.children or ())
        case "html_inline":
            return " " if token.content.lower().startswith("<br") else ""
        case "math_inline" | "math_inline_double":
            return f"${token.content}$"
        case "myst_role":
            return _role(str(token.meta["name"]), token.content)
        case "footnote_ref":
            return f" [{token.meta.get('label') or token.meta['id'] + 1}]"
    return " " if token.type in _LINE_ENDS else ""


def _role(name: str, text: str) -> str:
    if name == "math":
        return f"${text}$"
    from lightspeed_providers.product_rag.ingest.sphinx_markup import shown_text

    return shown_text(name, text)


def _shown(shortcode: re.Match[str]) -> str:
    """What a Hugo shortcode or a template's tag leaves to read: the text it is given, if any."""
    text = _SHOWN_ATTRIBUTE.search(shortcode[0])
    return text[1] if text else ""
