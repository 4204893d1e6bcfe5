"""Picks the parser for a file."""

import re
from dataclasses import replace
from pathlib import Path

from lightspeed_providers.product_rag.ingest.decode import UndecodableError, decoded
from lightspeed_providers.product_rag.ingest.page import Page

MAX_BYTES = 20_000_000
MAX_PDF_BYTES = 200_000_000
HTML_SUFFIXES = (".html", ".htm", ".xhtml")
SUFFIXES = (
    ".rst",
    ".md",
    ".markdown",
    ".myst",
    ".adoc",
    ".asciidoc",
    ".asc",
    ".txt",
    *HTML_SUFFIXES,
    ".pdf",
)
_SNIFFED = 2048
_STARTS_HTML = re.compile(rb"(?:<!doctype\s+html|<html|<head|<body)[\s>]", re.IGNORECASE)
_ARMORED = "-----BEGIN PGP"


class UnreadableError(Exception):
    """A file that gives no page, with the reason."""


class NothingToCiteError(UnreadableError):
    """A file that is well but has no text of its own: a redirect, an index, an empty page."""


def most_bytes(suffix: str) -> int:
    """Return how large a file may be that ends in `suffix`."""
    return MAX_PDF_BYTES if suffix.lower() == ".pdf" else MAX_BYTES


def is_html(start: bytes) -> bool:
    """Whether a file that starts so is HTML, whatever its name says."""
    head = start[:_SNIFFED].replace(b"\0", b"")  # UTF-16 has one in every sign
    return (
        bool(_STARTS_HTML.search(head)) and head.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")[:1] == b"<"
    )


def parse_file(path: Path, name: str, *, txt_is_rst: bool) -> Page:
    """Return the page of a file; `name` is its path without ending, inside the documentation."""
    try:
        return _parsed(path, name, txt_is_rst=txt_is_rst)
    except UnreadableError:
        raise
    except OSError as fault:
        raise UnreadableError(f"unreadable ({fault.strerror or type(fault).__name__})") from fault
    except Exception as fault:  # parsers fail in many ways on damaged files; the others go on
        raise UnreadableError(
            f"too odd for its parser ({type(fault).__name__}: {fault})"
        ) from fault


def _parsed(path: Path, name: str, *, txt_is_rst: bool) -> Page:
    suffix = path.suffix.lower()
    _refuse_large(path, suffix)
    if suffix == ".pdf":
        from lightspeed_providers.product_rag.ingest.pdf import parse_pdf

        return parse_pdf(path, name)
    data = path.read_bytes()
    as_html = suffix in HTML_SUFFIXES or (suffix not in SUFFIXES and is_html(data))
    text, guessed = _text(data, may_declare=as_html)
    if suffix == ".asc" and text.lstrip().startswith(_ARMORED):
        raise NothingToCiteError("a PGP signature or key")
    page = _of_text(text, ".html" if as_html else suffix, name, txt_is_rst=txt_is_rst)
    return replace(page, problems=(*page.problems, f"read as {guessed}")) if guessed else page


def _of_text(text: str, suffix: str, name: str, *, txt_is_rst: bool) -> Page:
    """Call the parser for an ending; each is imported when its first file comes."""
    if suffix in HTML_SUFFIXES:
        from lightspeed_providers.product_rag.ingest.html import parse_html

        return parse_html(text, name)
    if suffix == ".rst" or (suffix == ".txt" and txt_is_rst):
        from lightspeed_providers.product_rag.ingest.restructuredtext import (
            parse_restructuredtext,
        )

        return parse_restructuredtext(text, name)
    if suffix in {".adoc", ".asciidoc", ".asc"}:
        from lightspeed_providers.product_rag.ingest.asciidoc import parse_asciidoc

        return parse_asciidoc(text, name)
    from lightspeed_providers.product_rag.ingest.markdown import (
        parse_markdown,
        parse_plain_text,
    )

    return parse_plain_text(text, name) if suffix == ".txt" else parse_markdown(text, name)


def _refuse_large(path: Path, suffix: str) -> None:
    most = most_bytes(suffix)
    if path.stat().st_size > most:
        raise UnreadableError(f"larger than {most // 1_000_000} MB")


def _text(data: bytes, *, may_declare: bool) -> tuple[str, str]:
    try:
        return decoded(data, may_declare=may_declare)
    except UndecodableError as fault:
        raise UnreadableError(str(fault)) from fault
