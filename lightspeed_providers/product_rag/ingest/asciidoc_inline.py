"""AsciiDoc's inline markup as the text that a reader sees; code keeps its backticks."""

import html
import re
from collections.abc import Callable, Mapping

_LONGEST = 50_000
"""Characters of a paragraph over which it is data, not prose, and its markup is left as it is."""
_ARGUMENT = r"\[((?:\\\]|[^\]\\]|\\(?!\])){0,2000})\]"
_HELD = re.compile("\ue000(\\d+)\ue001")
_PASS = re.compile(
    r"pass:[a-z,]{0,20}" + _ARGUMENT + r"|\+\+\+(.{1,2000}?)\+\+\+|\+\+([^+]{1,2000})\+\+"
    r"|(?<![\w`+])\+([^\s+](?:[^+]*[^\s+])?)\+(?![\w`+])"
)
_CODE = re.compile(
    r"``([^`]{1,2000})``|(?<![\w\\\"'`])`([^\s`](?:[^`]*[^\s`])?)`(?![\w`])|(?<!\\)`\+([^`+]+)\+`"
)
_QUOTED = re.compile(r"\"`([^`]+)`\"|'`([^`]+)`'")
_PLACEHOLDER = re.compile(r"_(<[^<>]+>)_|\*(<[^<>]+>)\*|__(<[^<>]+>)__")
_CROSS_REFERENCE = re.compile(r"<<([^<>,]{1,500})(?:,([^<>]{0,1000}))?>>")
_MACRO = re.compile(r"(?<![\w\\])(xref|link|mailto|image|icon|kbd|btn|menu|footnote|footnoteref"
                    r"|indexterm2?|anchor|stem|latexmath|asciimath|linkgit|counter2?)"
                    r":(?!:)([^\s\[\]]{0,1000}?)" + _ARGUMENT)  # fmt: skip
_LINK = re.compile(r"(?<![\w\\])(?:https?|ftp|irc)://[^\s\[\]<>]{1,1000}" + _ARGUMENT)
_ANGLED = re.compile(r"<((?:https?|ftp|mailto)[:][^\s<>]{1,1000})>")
_INDEX_TERM = re.compile(r"\(\(\(([^()]*)\)\)\)|\(\(([^()]+)\)\)")
_INLINE_ANCHOR = re.compile(r"\[\[[^\[\]]{1,500}\]\]")
_ROLE = re.compile(r"\[[^\[\]]{0,200}\](?=[#*_`])")
_SPANS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\*\*([^*]+)\*\*",
        r"(?<![\w*\\])\*([^\s*](?:[^*]*[^\s*])?)\*(?![\w*])",
        r"__([^_]+)__",
        r"(?<![\w_\\])_([^\s_](?:[^_]*[^\s_])?)_(?![\w_])",
        r"##([^#]+)##",
        r"(?<![\w#\\&])#([^\s#](?:[^#]*[^\s#])?)#(?![\w#])",
        r"~([^\s~]+)~",
    )
)
_ESCAPED = re.compile(r"\\(?=[*_#`{<\[^~]|https?:|link:|xref:)")
_BREAK = re.compile(r"\s+\+$", re.MULTILINE)


def inline_text(text: str, titles: Mapping[str, str]) -> str:
    """Return a paragraph's words on one line; `titles` are what references without text show."""
    text = " ".join(_BREAK.sub("", text).split())
    if len(text) > _LONGEST:
        return text
    held: list[str] = []

    def hold(shown: str) -> str:
        held.append(shown)
        return f"\ue000{len(held) - 1}\ue001"

    text = text.replace("\ue000", "").replace("\ue001", "")
    text = _QUOTED.sub(lambda m: f"“{m[1]}”" if m[1] else f"‘{m[2]}’", text)
    text = _CODE.sub(lambda m: hold(_code(m[1] or m[2] or m[3], titles)), text)
    text = _PASS.sub(lambda m: hold(m[1] or m[2] or m[3] or m[4] or ""), text)
    text = _CROSS_REFERENCE.sub(lambda m: (m[2] or "").strip() or _referred(m[1], titles), text)
    text = _MACRO.sub(lambda m: _macro(m[1], m[2], m[3], titles), text)
    text = _LINK.sub(lambda m: _label(m[1]) or m[0].partition("[")[0], text)
    text = _ANGLED.sub(r"\1", text)
    text = _INDEX_TERM.sub(lambda m: m[2] or "", text)
    text = _ROLE.sub("", _INLINE_ANCHOR.sub("", text))
    # A link's or a span's text may hold what was set aside before.
    for span in _SPANS:
        text = span.sub(r"\1", text)
    text = html.unescape(_ESCAPED.sub("", text))
    for _ in range(3):
        if "\ue000" not in text:
            break
        text = _HELD.sub(lambda m: held[int(m[1])] if int(m[1]) < len(held) else "", text)
    return " ".join(text.split())


def _code(code: str, titles: Mapping[str, str]) -> str:
    code = code.removeprefix("+").removesuffix("+") if code[:1] == code[-1:] == "+" else code
    code = _PLACEHOLDER.sub(lambda m: m[1] or m[2] or m[3], code)
    if ":" in code and _MACRO.search(code):
        code = _MACRO.sub(lambda m: _macro(m[1], m[2], m[3], titles), code)
    return f"`{html.unescape(code)}`"


def _macro(name: str, target: str, text: str, titles: Mapping[str, str]) -> str:
    text = text.replace("\\]", "]").strip()
    match name:
        case "xref":
            return _label(text) or _referred(target, titles)
        case "link" | "mailto":
            return _label(text) or target
        case "linkgit":
            return f"{target}({text})"
        case "image":
            return _label(text.partition(",")[0])
        case "menu":
            return " > ".join(p.strip() for p in [target, *text.split(">")] if p.strip())
        case "footnote" | "footnoteref":
            return f" ({text})" if text else ""
        case "kbd" | "btn" | "stem" | "latexmath" | "asciimath" | "indexterm2":
            return text
    return ""


def _label(text: str) -> str:
    """Return a link's text without what follows it about windows and roles."""
    text = text.strip()
    if text.startswith('"') and (end := text.find('"', 1)) > 0:
        return text[1:end]
    if "=" in text and "," in text:
        text = text.partition(",")[0]
    return "" if re.fullmatch(r"\w+=\S*", text) else text.removesuffix("^").strip()


def _referred(target: str, titles: Mapping[str, str]) -> str:
    """Return the title of what is referred to, or else its name."""
    name = target.strip().lstrip("#")
    file, _, fragment = name.rpartition("#")
    shown = titles.get(fragment) or fragment or file.rpartition("/")[2]
    return shown.removesuffix(".adoc") if shown else name


Inline = Callable[[str], str]
"""How a reader's text is made of a paragraph's source."""
