"""reStructuredText, also as Sphinx writes it, as pages."""

import io
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from docutils import nodes
from docutils.core import publish_doctree

from lightspeed_providers.product_rag.ingest.page import Block, Page, Section
from lightspeed_providers.product_rag.ingest.render import blocks_of, inline_text
from lightspeed_providers.product_rag.ingest.sphinx_markup import (
    Scope,
    described,
    register,
    register_unknown,
)

_ERROR = 3
_NEVER = 5
_TOLD = 3
_PROBLEM = re.compile(r"^.*?:(\d+): \(\w+/\d\) (.*)$", re.MULTILINE)
_AUTOMATIC = re.compile(r"(?:id|section-)\d+")


def parse_restructuredtext(text: str, path: str) -> Page:
    """Return a page; what docutils can't make sense of is kept and told."""
    register()
    register_unknown(text)
    said = io.StringIO()
    settings = {
        "scope": Scope(),
        "file_insertion_enabled": False,
        "raw_enabled": False,
        "_disable_config": True,
        "doctitle_xform": False,  # the first section stays a section, with its anchor
        "docinfo_xform": False,
        "auto_id_prefix": "id",  # as Sphinx has it, so that anchors are the same
        "syntax_highlight": "none",
        "smart_quotes": False,
        "report_level": _ERROR,
        "halt_level": _NEVER,
        "warning_stream": said,
    }
    document = publish_doctree(text, source_path=path, settings_overrides=settings)
    heads = [c for c in document.children if isinstance(c, nodes.section)]
    title = _title(heads[0]) if heads else PurePosixPath(path).name
    sections = tuple(_merged(_sections(document, (), "")))
    if len(heads) == 1:
        # The page's title is said once, not in front of every heading path.
        sections = tuple(
            Section(s.heading_path[1:], s.anchor, s.blocks) if s.heading_path else s
            for s in sections
        )
    return Page(path, title, sections, _problems(said.getvalue()))


def _problems(said: str) -> tuple[str, ...]:
    told = [
        f"line {line}: {what}"
        for line, what in _PROBLEM.findall(said)
        if not what.startswith("Undefined substitution")  # Sphinx projects define theirs elsewhere
    ]
    return tuple(told[:_TOLD])


def _sections(node: nodes.Node, path: tuple[str, ...], anchor: str) -> Iterator[Section]:
    """Yield blocks under the heading or object description that they stand in."""
    for child in node.children:
        if isinstance(child, nodes.section):
            inner = (*path, _title(child))
            yield from _sections(child, inner, _anchor(child) or anchor)
        elif isinstance(child, described):
            yield from _described(child, path, anchor)
        elif _holds_descriptions(child):
            yield from _sections(child, path, anchor)
        elif blocks := tuple(blocks_of(child)):
            yield Section(path, anchor, blocks)


def _described(node: described, path: tuple[str, ...], anchor: str) -> Iterator[Section]:
    signatures = tuple(Block(signature) for signature in node["signatures"])
    if not node.children:  # what describes it follows, under the heading
        if signatures:
            yield Section(path, anchor, signatures)
        return
    inner = path if path and _says(path[-1], node["label"]) else (*path, node["label"])
    anchor = node["anchor"] or anchor
    if signatures:
        yield Section(inner, anchor, signatures)
    yield from _sections(node, inner, anchor)


def _merged(sections: Iterator[Section]) -> Iterator[Section]:
    """Join neighbours that stand under the same heading."""
    last: Section | None = None
    for section in sections:
        if last and (last.heading_path, last.anchor) == (section.heading_path, section.anchor):
            last = Section(last.heading_path, last.anchor, (*last.blocks, *section.blocks))
            continue
        if last:
            yield last
        last = section
    if last:
        yield last


def _title(section: nodes.Element) -> str:
    return inline_text(section.children[0]) if section.children else ""


def _anchor(section: nodes.Element) -> str:
    """Return the section's id: what its title gives or its author chose, before a counted one."""
    ids: list[str] = section["ids"]
    return next((i for i in ids if not _AUTOMATIC.fullmatch(i)), ids[0] if ids else "")


def _holds_descriptions(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container | nodes.block_quote) and any(
        isinstance(child, described) for child in node.children
    )


def _says(heading: str, label: str) -> bool:
    """Whether a heading already names the object: `filter()` and `QuerySet.filter()`."""
    return heading.removesuffix("()") in {label.removesuffix("()"), _last_name(label)}


def _last_name(label: str) -> str:
    return label.removesuffix("()").rpartition(".")[2]
