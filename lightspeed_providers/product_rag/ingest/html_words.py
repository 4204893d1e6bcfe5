"""Running text: white space, signs nobody sees, formulas, pictures."""

import re
from collections.abc import Iterable

from lxml import etree

LINE_BREAK = "\u2028"
CODE_START = "`\ue000"
CODE_END = "\ue001`"
_UNSEEN = str.maketrans("", "", "\u00ad\u200b\u2060\ufeff")
_NO_ALTERNATIVE = re.compile(
    r"\S+\.(?:png|jpe?g|gif|svg|webp)|\[(?:note|tip|warning|caution|important)\]", re.IGNORECASE
)
_ENDS_SENTENCE = (".", ":", ";", ",", "!", "?")


def without_unseen(text: str) -> str:
    """Return a text without soft hyphens and other signs of no width."""
    return text if text.isascii() else text.translate(_UNSEEN)


def one_line(text: str, *, keep_breaks: bool = False) -> str:
    """Return running text with single spaces; its own line breaks stay where they are wanted."""
    text = without_unseen(text)
    if LINE_BREAK not in text or not keep_breaks:
        return _single_spaced(text)
    lines = (_single_spaced(line) for line in text.split(LINE_BREAK))
    return "\n".join(line for line in lines if line)


def _single_spaced(text: str) -> str:
    text = " ".join(text.split())
    if "\ue000" not in text and "\ue001" not in text:
        return text
    # Space at the edge of code belongs outside of its backticks.
    text = text.replace(f"{CODE_START} ", f" {CODE_START}").replace(f" {CODE_END}", f"{CODE_END} ")
    return " ".join(text.replace("\ue000", "").replace("\ue001", "").split())


def folded(texts: Iterable[str]) -> str:
    """Return paragraphs on one line, told apart."""
    line = ""
    for text in texts:
        glue = " " if line.endswith(_ENDS_SENTENCE) else "; "
        line += (glue if line else "") + " ".join(text.split())
    return line


def alternative(image: etree._Element) -> str:
    """Return a picture's text, unless that is only a file name."""
    text = image.get("alt") or ""
    return "" if _NO_ALTERNATIVE.fullmatch(text.strip()) else text


def raised(node: etree._Element) -> str:
    """Return `2^32`, `x_i` and ` [1]` for what stands above or below the line."""
    text = one_line("".join(node.itertext()))
    if not text:
        return ""
    if text.startswith(("[", "(")) or not any(sign.isalnum() for sign in text):
        return f" {text}" if text.startswith("[") else text
    if node.tag == "sup" and next(node.iter("a"), None) is not None:
        return f" [{text}]"
    if text in {"st", "nd", "rd", "th", "TM"}:
        return text
    sign = "^" if node.tag == "sup" else "_"
    return f"{sign}{text}" if text.isalnum() else f"{sign}({text})"


def math_text(node: etree._Element) -> str:
    """Return a formula's TeX where the page has it, else its signs."""
    for note in node.iter("annotation"):
        if "tex" in (note.get("encoding") or ""):
            return note.text or ""
    return "".join(node.itertext())
