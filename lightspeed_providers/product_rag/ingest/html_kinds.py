"""What an element is, told by its tag, role and classes."""

import functools
import re

from lxml import etree

HEADINGS = {f"h{level}": level for level in range(1, 7)}
BLOCKS = frozenset(
    """
    address article aside blockquote body caption center dd details dialog dir div dl dt
    fieldset figcaption figure footer form header hgroup hr html legend li main menu
    noframes ol optgroup option p section summary table tbody td tfoot th thead tr ul
    """.split()  # noqa: SIM905
)
CODE = frozenset({"code", "kbd", "samp", "tt"})
_SILENT_TAGS = frozenset(
    """
    audio button canvas dialog embed footer head iframe input map nav noscript object script
    select style svg template textarea title video
    """.split()  # noqa: SIM905
)
_SILENT_ROLES = frozenset(
    """
    banner complementary contentinfo doc-pagelist doc-toc menu menubar navigation search
    """.split()  # noqa: SIM905
)
_SILENT_CLASSES = frozenset(
    """
    toplang bottomlang nav-panel navigation navpath shortcontents
    toc localtoc toctree-wrapper sphinxsidebar sphinxsidebarwrapper related navheader
    navfooter breadcrumb breadcrumbs wy-breadcrumbs theme-doc-breadcrumbs headerlink
    anchor-link hash-link header-anchor headeranchor permalink anchorjs-link edit-page
    edit-this-page page-edit edit-link editlink theme-edit-this-page theme-doc-footer
    md-content__button md-source-file md-header md-sidebar md-footer md-search md-tabs
    pagination pagination-nav prev-next prev-next-area prev-next-footer rst-footer-buttons
    nav-links page-nav nextprev search searchbox search-form cookie-banner cookie-consent
    cookie-notice cookieconsent skip-link skip-to-content skip-nav copybtn copy-button
    copybutton btn-copy clipboard-button copy-code-button btn-clipboard linenos lineno
    linenodiv line-number line-numbers-rows rouge-gutter hljs-ln-numbers blob-num
    viewcode-link viewcode-back ethical-rtd navbar site-header site-footer on-this-page
    page-toc table-of-contents tableofcontents toc-menu theme-doc-toc-mobile
    theme-doc-toc-desktop bd-toc bd-sidebar wy-nav-side last-updated theme-last-updated
    katex-html mathjax_preview giscus feedback-widget page-feedback
    visually-hidden-focusable srclink pilcrow mark-copy
    """.split()  # noqa: SIM905
)
_SILENT_IDS = frozenset(
    """
    toc toc_container tableofcontents searchbox cookie-banner cookie-consent cookieconsent
    breadcrumbs breadcrumb sidebar navbar footer navigation on-this-page quickview
    """.split()  # noqa: SIM905
)
_WHERE_IDS_TELL = frozenset({"div", "ul", "ol", "table", "p", "aside", "form"})
_SECTION = re.compile(
    r"^(?:section|chapter|appendix|article|part|preface|glossary|bibliography|refentry"
    r"|(?:ref|simple)?sect\d*)$"
)
_ADMONITIONS = {
    "attention": "Attention",
    "caution": "Caution",
    "danger": "Danger",
    "error": "Error",
    "hint": "Hint",
    "important": "Important",
    "info": "Info",
    "note": "Note",
    "seealso": "See also",
    "success": "Success",
    "tip": "Tip",
    "todo": "Todo",
    "warning": "Warning",
}
_SURE = frozenset({"attention", "caution", "danger", "important", "note", "seealso", "tip",
                   "warning"})  # fmt: skip
_FRAMES = re.compile(r"^(?:admonition|admonitionblock|callout|alert|theme-admonition|notice|hint)$")
_VARIANT = re.compile(r"^(?:\w+-)*(?:admonition|alert|callout|aside|is|notice|hint)--?(\w+)$")
_ASIDES = frozenset({"footnote", "footnote-list", "topic", "sidebar", "citation"})
_HOLDS_ADMONITION = frozenset({"div", "aside", "section", "blockquote", "p", "details", "table"})
_LANGUAGE = re.compile(
    r"^(?:language|lang|highlight-source|highlight|src|sourcecode|brush|code)[-:](.+)$"
)
_ALIASES = {"python3": "python", "py": "python", "ipython3": "python", "c++": "cpp"}
_NO_LANGUAGE = frozenset({"default", "none", "text", "plaintext", "txt", "notranslate", "block"})


def classes(node: etree._Element) -> tuple[str, ...]:
    """Return an element's classes, in lower case."""
    return _split(node.get("class") or "")


@functools.lru_cache(maxsize=10_000)
def _split(names: str) -> tuple[str, ...]:
    return tuple(names[:1000].lower().split())


def is_silent(node: etree._Element) -> bool:
    """Whether an element is not of the text: scripts, navigation, forms, buttons, gutters."""
    tag = node.tag
    if tag in _SILENT_TAGS:
        return not (tag == "script" and (node.get("type") or "").startswith("math/tex"))
    if not node.attrib:
        return tag == "header" and not _has_heading(node)
    if node.get("role") in _SILENT_ROLES or node.get("aria-hidden") == "true":
        return True
    names = node.get("class")
    if names and _has_silent_class(names):
        return True
    if tag == "td" and names and "gutter" in names:
        return True
    if tag in _WHERE_IDS_TELL and (node.get("id") or "").lower() in _SILENT_IDS:
        return not any(_SECTION.match(name) for name in classes(node))
    if tag == "header" or (tag == "div" and names == "header"):
        return not _has_heading(node)
    return tag == "aside" and not (admonition_kind(node) or _ASIDES & {*classes(node)})


@functools.lru_cache(maxsize=10_000)
def _has_silent_class(names: str) -> bool:
    found = frozenset(_split(names))
    if "contents" in found and found & {"topic", "local"}:
        return True
    return bool(found & _SILENT_CLASSES)


def _has_heading(node: etree._Element) -> bool:
    return next(node.iter(*HEADINGS), None) is not None


def is_section(node: etree._Element) -> bool:
    """Whether an element is a part of the text with a heading, so that its id is an address."""
    return node.tag in {"section", "article"} or any(_SECTION.match(n) for n in classes(node))


def admonition_kind(node: etree._Element) -> str:
    """Return `Note`, `Warning` or what else an element is marked as, or nothing."""
    if node.tag not in _HOLDS_ADMONITION:
        return ""
    label = _kind_of(node.get("class") or "")
    if not label and node.tag == "aside":
        label = _ADMONITIONS.get((node.get("aria-label") or "").lower(), "")
    return label


@functools.lru_cache(maxsize=10_000)
def _kind_of(names: str) -> str:
    found = _split(names)
    framed = any(_FRAMES.match(name) for name in found)
    for name in found:
        if name in _ADMONITIONS and (framed or name in _SURE):
            return _ADMONITIONS[name]
        variant = _VARIANT.match(name)
        if variant and variant[1] in _ADMONITIONS:
            return _ADMONITIONS[variant[1]]
    return "Note" if "admonition" in found or "admonitionblock" in found else ""


def code_language(pre: etree._Element) -> str:
    """Return the language of a code block, as its classes or those around it tell."""
    near = [pre, *pre.iterchildren("code"), *_around(pre)]
    for node in near:
        told = node.get("data-lang") or node.get("data-language") or ""
        if told.isalnum():
            return _known(told.lower())
        for position, name in enumerate(classes(node)):
            found = _LANGUAGE.match(name)
            if found:
                return _known(found[1])
            if name in {"sourcecode", "brush:", "src"} and len(classes(node)) > position + 1:
                return _known(classes(node)[position + 1].rstrip(";"))
    return ""


def _around(node: etree._Element) -> list[etree._Element]:
    return [holder for _, holder in zip(range(3), node.iterancestors(), strict=False)]


def _known(language: str) -> str:
    if language in _NO_LANGUAGE or not re.fullmatch(r"[\w+#.-]{1,30}", language):
        return ""
    return _ALIASES.get(language, language)
