"""Markdown with all that documentation sites add to it, as a tree of markdown-it's tokens."""

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

_MOST_NESTED = 40
_LONGEST_INLINE = 50_000
"""Characters of a paragraph over which it is data, not prose, and its markup is left as it is."""
_CONTENT_TAB = re.compile(r'^( *)===[!+]? (".*")[ \t]*$', re.MULTILINE)


@dataclass(slots=True)
class Node:
    """A token with what it holds; `inline` is its own text."""

    token: "Token"
    children: list["Node"] = field(default_factory=list)

    @property
    def inline(self) -> "Token | None":
        """The inline token of a paragraph, a heading, a term or a cell."""
        return next((c.token for c in self.children if c.token.type == "inline"), None)


def parsed(text: str) -> list[Node]:
    """Return the blocks of a text; what is nested too deeply is left out."""
    # MkDocs' content tabs are indented like its admonitions, for which there is a rule.
    return _tree(_parser().parse(_CONTENT_TAB.sub(r"\1!!! tab \2", text)))


def _tree(tokens: list["Token"]) -> list[Node]:
    top: list[Node] = []
    open_nodes: list[list[Node]] = [top]
    for token in tokens:
        if token.nesting < 0:
            open_nodes.pop()
            continue
        node = Node(token)
        open_nodes[-1].append(node)
        if token.nesting > 0:
            open_nodes.append(node.children)
    return top


@functools.cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt
    from mdit_py_plugins.admon import admon_plugin
    from mdit_py_plugins.colon_fence import colon_fence_plugin
    from mdit_py_plugins.deflist import deflist_plugin
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.footnote import footnote_plugin
    from mdit_py_plugins.myst_blocks import myst_block_plugin
    from mdit_py_plugins.myst_role import myst_role_plugin

    parser = MarkdownIt("commonmark", {"maxNesting": _MOST_NESTED}).enable("table")
    for plugin in (admon_plugin, colon_fence_plugin, deflist_plugin, footnote_plugin):
        parser.use(plugin)
    parser.use(myst_block_plugin).use(myst_role_plugin)
    parser.use(dollarmath_plugin, allow_space=False, allow_digits=False)
    parser.core.ruler.at("inline", _bounded_inline)
    return parser


def _bounded_inline(state: "StateCore") -> None:
    from markdown_it.token import Token

    for token in state.tokens:
        if token.type == "inline":
            token.children = token.children or []
            if len(token.content) > _LONGEST_INLINE:
                token.children.append(Token("text", "", 0, content=token.content))
            else:
                state.md.inline.parse(token.content, state.md, state.env, token.children)
