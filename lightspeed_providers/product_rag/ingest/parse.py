"""Picks the parser for a file."""

from pathlib import Path

from lightspeed_providers.product_rag.ingest.markdown import parse_markdown, parse_plain_text
from lightspeed_providers.product_rag.ingest.page import Page

MAX_BYTES = 20_000_000
SUFFIXES = (".rst", ".md", ".markdown", ".txt")


class UnreadableError(Exception):
    """A file that gives no page, with the reason."""


def parse_file(path: Path, name: str, *, txt_is_rst: bool) -> Page:
    """Return the page of a file; `name` is its path without ending, inside the documentation."""
    text = _read(path)
    suffix = path.suffix.lower()
    try:
        if suffix == ".rst" or (suffix == ".txt" and txt_is_rst):
            from lightspeed_providers.product_rag.ingest.restructuredtext import (
                parse_restructuredtext,
            )

            return parse_restructuredtext(text, name)
        if suffix == ".txt":
            return parse_plain_text(text, name)
        return parse_markdown(text, name)
    except Exception as fault:  # parsers fail in many ways on damaged files; the others go on
        raise UnreadableError(
            f"too odd for its parser ({type(fault).__name__}: {fault})"
        ) from fault


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableError(f"larger than {MAX_BYTES // 1_000_000} MB")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise UnreadableError(f"not UTF-8 at byte {fault.start}") from fault
    except OSError as fault:
        raise UnreadableError(f"unreadable ({fault.strerror or type(fault).__name__})") from fault
    if "\x00" in text:
        raise UnreadableError("not text, it holds NUL characters")
    return text
