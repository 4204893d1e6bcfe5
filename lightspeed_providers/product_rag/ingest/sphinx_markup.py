"""What Sphinx adds to reStructuredText, reduced to what a reader sees.

Roles become their shown text, object descriptions become `described` nodes, and whatever nobody
knows keeps its text. docutils keeps roles and directives per process, so registering is global.
"""

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives, roles
from docutils.parsers.rst.states import Inliner
from docutils.utils import unescape

_CALLABLES = frozenset({"method", "classmethod", "staticmethod", "function", "decorator"})
_NAMESPACES = frozenset({"class", "exception"})
_PYTHON = _CALLABLES | _NAMESPACES | {"attribute", "data", "property"}
_OTHER_OBJECTS = frozenset(
    {"django-admin", "django-admin-option", "option", "describe", "object", "envvar", "confval"}
)
_LITERALS = frozenset(
    {"code-block", "sourcecode", "highlight-block", "console", "productionlist", "doctest"}
)
_LEFT_OUT = """
    toctree index raw include literalinclude contents highlight default-domain sectionauthor
    codeauthor tabularcolumns module py:module currentmodule py:currentmodule program setting
    templatetag templatefilter fieldlookup meta default-role sectnum target-notes
""".split()  # noqa: SIM905 # a list would fill the page
_VERSIONS = {
    "versionadded": "New in version {}",
    "versionchanged": "Changed in version {}",
    "deprecated": "Deprecated since version {}",
    "versionremoved": "Removed in version {}",
}
_ROLES = """
    class meth setting ref attr func doc mod exc ttag lookup tfilter djadmin option data file
    term source envvar mimetype keyword menuselection abbr obj const samp command guilabel kbd
    program regexp any download numref token dfn manpage makevar newsgroup raw ticket rfc pep
    cve bpo default-role-error
""".split()  # noqa: SIM905 # a list would fill the page
_USED_ROLE = re.compile(r":([A-Za-z][\w+.:-]*?):`")
_USED_DIRECTIVE = re.compile(r"^\s*\.\. +([A-Za-z][\w+.:-]*?) ?::(?:\s|$)", re.MULTILINE)
_TITLED = re.compile(r"(?s)^(.*?)\s*<[^<>]*>$")
_SIGNATURE = re.compile(r"^(?:async |abstract |static )*([\w.]*\.)?(\w+)\s*(?:\(|$|:|=|\s)")


class described(nodes.General, nodes.Element):  # docutils names nodes like this
    """A described object: `signatures`, a short `label`, an `anchor` or none, and its text."""


@dataclass(slots=True)
class Scope:
    """Which module and class a description stands in; one a document."""

    module: str = ""
    classes: list[str] = field(default_factory=list)

    def full_name(self, signature: str) -> str | None:
        """Return the dotted name that Sphinx makes the anchor of."""
        found = _SIGNATURE.match(signature)
        if found is None:
            return None
        prefix, name = found[1] or "", found[2]
        owner = self.classes[-1] if self.classes else ""
        if owner and not (prefix == f"{owner}." or prefix.startswith(f"{owner}.")):
            prefix = f"{owner}.{prefix}"
        return f"{prefix}{name}"


class _AnyOptions(dict[str, Callable[[str | None], str]]):
    """Takes every option of a directive, known or not."""

    def __bool__(self) -> bool:
        return True

    def __missing__(self, name: str) -> Callable[[str | None], str]:
        return lambda value: value or ""


class _Markup(Directive):
    """A directive that never fails for its arguments or options."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[Any] = _AnyOptions()

    @property
    def argument(self) -> str:
        return self.arguments[0].strip() if self.arguments else ""

    @property
    def scope(self) -> Scope:
        scope: Scope = self.state.document.settings.scope
        return scope

    def parsed(self, into: nodes.Element) -> nodes.Element:
        """Parse the content into a node; sections are allowed in it."""
        self.state.nested_parse(self.content, self.content_offset, into, match_titles=True)
        return into

    def inline(self, text: str) -> nodes.paragraph:
        parsed, _ = self.state.inline_text(text, self.lineno)
        return nodes.paragraph(text, "", *parsed)


class _Described(_Markup):
    def run(self) -> list[nodes.Node]:
        kind = self.name.removeprefix("py:")
        lines = self.argument.replace("\\\n", " ").splitlines()
        signatures = [unescape(" ".join(line.split())) for line in lines if line.strip()]
        node = described(signatures=signatures, label="", anchor="")
        if signatures:
            self._name(node, kind, signatures[0])
        return [node]

    def _name(self, node: described, kind: str, signature: str) -> None:
        full_name = self.scope.full_name(signature) if kind in _PYTHON else None
        node["label"] = signature.partition("(")[0].strip() + "()" * (kind in _CALLABLES)
        if full_name is None:
            node["anchor"] = _anchor(kind, signature)
            self.parsed(node)
            return
        module = f"{self.scope.module}." if self.scope.module else ""
        owner = f"{self.scope.classes[-1]}." if self.scope.classes else ""
        node["label"] = full_name.removeprefix(owner) + "()" * (kind in _CALLABLES)
        if not {"noindex", "no-index"} & self.options.keys():
            node["anchor"] = f"{module}{full_name}"
        if kind not in _NAMESPACES:
            self.parsed(node)
            return
        self.scope.classes.append(full_name)
        self.parsed(node)
        self.scope.classes.pop()


def _anchor(kind: str, signature: str) -> str:
    name = signature.split()[0]
    return f"{kind}-{name}" if kind in {"django-admin", "envvar"} else ""


class _Module(_Markup):
    def run(self) -> list[nodes.Node]:
        self.scope.module = "" if self.argument == "None" else self.argument
        return []


class _LeftOut(_Markup):
    def run(self) -> list[nodes.Node]:
        return []


class _Literal(_Markup):
    def run(self) -> list[nodes.Node]:
        code = "\n".join(self.content)
        known = re.fullmatch(r"[\w+.-]+", self.argument)
        return [nodes.literal_block(code, code, language=self.argument if known else "")]


class _Version(_Markup):
    def run(self) -> list[nodes.Node]:
        version, _, rest = self.argument.partition(" ")
        said = nodes.admonition("", nodes.title("", _VERSIONS[self.name].format(version)))
        if rest:
            said += self.inline(rest)
        return [self.parsed(said)]


class _SeeAlso(_Markup):
    def run(self) -> list[nodes.Node]:
        said = nodes.admonition("", nodes.title("", "See also"))
        if self.argument:
            said += self.inline(self.argument)
        return [self.parsed(said)]


class _Parsed(_Markup):
    """Content alone: the argument is a condition or a layout, not text."""

    def run(self) -> list[nodes.Node]:
        return list(self.parsed(nodes.container()).children)


class _Unknown(_Markup):
    def run(self) -> list[nodes.Node]:
        node = nodes.container()
        if self.argument:
            node += self.inline(self.argument)
        return [self.parsed(node)]


def shown_text(role: str, text: str) -> str:
    """Return what a reader sees of a role's text."""
    name = role.rpartition(":")[2].lower()
    text = " ".join(text.split())
    titled = _TITLED.match(text)
    if titled and titled[1]:
        return titled[1]
    shown = text.removeprefix("!")
    if shown.startswith("~"):
        shown = shown[1:].rpartition(".")[2]
    if name in {"meth", "func"}:
        shown = shown.removesuffix("()") + "()"
    prefix = {"ticket": "#", "rfc": "RFC ", "pep": "PEP ", "cve": "CVE-", "bpo": "bpo-"}
    return prefix.get(name, "") + shown


def _role(
    name: str,
    rawtext: str,
    text: str,
    lineno: int,
    inliner: Inliner,
    options: dict[str, Any] | None = None,  # Any: docutils' role interface
    content: Sequence[str] | None = None,
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    return [nodes.inline(rawtext, shown_text(name, unescape(text)))], []


@functools.cache
def register() -> None:
    """Make docutils know Sphinx' markup."""
    kinds: list[tuple[Iterable[str], type[_Markup]]] = [
        (_PYTHON | {f"py:{name}" for name in _PYTHON} | _OTHER_OBJECTS, _Described),
        (_LITERALS, _Literal),
        (_LEFT_OUT, _LeftOut),
        (frozenset({"module", "py:module", "currentmodule", "py:currentmodule"}), _Module),
        (_VERSIONS, _Version),
        (frozenset({"seealso"}), _SeeAlso),
        (frozenset({"glossary", "only", "ifconfig", "hlist"}), _Parsed),
    ]
    for names, directive in kinds:
        for name in names:
            directives.register_directive(name, directive)
    for name in _ROLES:
        roles.register_local_role(name, _role)  # type: ignore[arg-type]  # the stub is too narrow


def register_unknown(source: str) -> None:
    """Make every role and directive that a text uses keep its text, known or not."""
    for name in {found.lower() for found in _USED_ROLE.findall(source)}:
        if not _is_known(roles, "role", name):
            roles.register_local_role(name, _role)  # type: ignore[arg-type]  # the stub is too narrow
    for name in {found.lower() for found in _USED_DIRECTIVE.findall(source)}:
        if not _is_known(directives, "directive", name):
            directives.register_directive(name, _Unknown)


def _is_known(registry: ModuleType, kind: str, name: str) -> bool:
    # docutils can only be asked by using a name, which fails loudly for an unknown one.
    known: dict[str, Any] = getattr(registry, f"_{kind}s")
    built_in: dict[str, Any] = getattr(registry, f"_{kind}_registry")
    return name in known or name in built_in
