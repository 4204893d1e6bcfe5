"""A plot as SVG that takes its colours, its font and its dark mode from the page around it."""

import io
import re
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lxml import etree
from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONT_PX = 12
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_COLOR = re.compile(r"#0000([0-9a-f]{2})\b")
_FONT_FAMILY = re.compile(r"font-family:[^;]*;?\s*")
_REFERENCE = re.compile(r"url\(#")
_STYLE: dict[Any, Any] = {  # Any: matplotlib types every one of its names
    "svg.fonttype": "none",  # words stay words: they can be searched, and read aloud
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": FONT_PX,
}


class Paint(StrEnum):
    """The page's colours; matplotlib is told a number for each, the page says what it is."""

    INK = "ink"
    MUTED = "muted"
    GRID = "grid"
    TRACK = "track"
    ANSWERED = "answered"
    REFUSED = "refused"
    TRUNCATED = "truncated"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    LIKED = "liked"
    DISLIKED = "disliked"
    ACCENT = "accent"
    ACCENT_2 = "accent-2"

    @property
    def rgb(self) -> str:
        """The stand-in for the colour while it is drawn."""
        return f"#0000{list(Paint).index(self) + 1:02x}"


_PAINTS = {f"{place + 1:02x}": paint for place, paint in enumerate(Paint)}


def svg(
    draw: Callable[["Figure"], None], *, width: int, height: int, name: str, label: str
) -> Markup:
    """Draw on a canvas of so many pixels; `name` keeps its ids apart from those of other plots."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        draw(figure)
        written = io.BytesIO()
        unnamed = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=unnamed)
    return Markup(_inlined(written.getvalue(), name, label))  # noqa: S704  # lxml wrote it


def _inlined(document: bytes, name: str, label: str) -> str:
    # What is parsed is what matplotlib wrote.
    root = etree.fromstring(document, etree.XMLParser(resolve_entities=False, no_network=True))
    for element in list(root.iter(etree.Element)):
        tag = str(element.tag).removeprefix(_SVG)
        if tag in ("style", "metadata"):
            parent = element.getparent()
            if parent is not None:
                parent.remove(element)
            continue
        element.tag = tag
        _mend(element, name)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", label)
    etree.cleanup_namespaces(root)
    text = etree.tostring(root, encoding="unicode", with_tail=False)
    return text.replace(' xmlns:svg="http://www.w3.org/2000/svg"', "")


def _mend(element: "etree._Element", name: str) -> None:
    if (own := element.get("id")) is not None:
        element.set("id", f"{name}-{own}")
    if (target := element.attrib.pop(_HREF, None)) is not None:
        element.set("href", f"#{name}-{str(target).removeprefix('#')}")
    if (clip := element.get("clip-path")) is not None:
        element.set("clip-path", _REFERENCE.sub(f"url(#{name}-", clip))
    if (style := element.get("style")) is not None:
        painted = _COLOR.sub(lambda found: f"var(--{_PAINTS[found[1]]})", style)
        element.set("style", _FONT_FAMILY.sub("", painted))
