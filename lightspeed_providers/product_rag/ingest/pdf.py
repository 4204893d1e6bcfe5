"""PDF as pages, by PDFium: ten times as fast as pypdf, and it tells fonts and places.

PDFium is not safe to use from several threads; documents are read in processes of their own.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lightspeed_providers.product_rag.ingest.page import Page, Section
from lightspeed_providers.product_rag.ingest.pdf_blocks import (
    blocks_of,
    body_size,
    is_heading,
    joined,
    without_furniture,
)
from lightspeed_providers.product_rag.ingest.pdf_lines import Line, PageReader

if TYPE_CHECKING:
    import pypdfium2

MAX_PAGES = 5_000
MAX_SECONDS = 300.0
_TOLD = 3
_MOST_BOOKMARKS = 20_000
_NOT_WORDS = re.compile(r"[\W\d_]+")
_NO_TITLE = re.compile(r"(?i)untitled.*|.*\.(?:docx?|pdf|tex|dvi|fm|indd|odt|xml|html?|pptx?)|\W*")
_KEPT_METADATA = {"Author": "author", "Subject": "description", "Keywords": "keywords"}


class UnreadablePdfError(ValueError):
    """A PDF that gives no text, with the reason."""


@dataclass(frozen=True, slots=True)
class _Heading:
    depth: int
    text: str
    page: int
    line: int
    """The first line under it."""
    begin: int
    """Its own first line; what a heading takes up is no text of a section."""


def parse_pdf(file: Path, path: str) -> Page:
    """Return a page whose sections are the bookmarks', each with the PDF's page as its anchor."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as fault:
        raise UnreadablePdfError(_reason(fault)) from fault
    try:
        return _page(document, path)
    finally:
        document.close()


def _reason(fault: "pypdfium2.PdfiumError") -> str:
    import pypdfium2.raw as raw

    if fault.err_code == raw.FPDF_ERR_PASSWORD:
        return "is encrypted: save it without a password"
    return "is damaged or no PDF: open it and save it again"


def _page(document: "pypdfium2.PdfDocument", path: str) -> Page:
    read, problems = _read(document)
    pages = without_furniture(read)
    if not any(pages):
        raise UnreadablePdfError("has no text (scanned?): run OCR first")
    headings = list(_outlined(document, pages)) or list(_by_size(pages))
    metadata = document.get_metadata_dict(skip_empty=True)
    said = metadata.get("Title", "").strip()
    title = said if not _NO_TITLE.fullmatch(said) else _first_large(read)
    attributes = tuple((n, metadata[k]) for k, n in _KEPT_METADATA.items() if metadata.get(k))
    sections = tuple(section for section in _sections(pages, headings) if section.blocks)
    return Page(path, title or PurePosixPath(path).name, sections, problems, "", attributes)


def _read(document: "pypdfium2.PdfDocument") -> tuple[list[list[Line]], tuple[str, ...]]:
    import pypdfium2

    reader = PageReader(document)
    begin = time.monotonic()
    pages: list[list[Line]] = []
    damaged: list[str] = []
    total = len(document)
    for number in range(min(total, MAX_PAGES)):
        if time.monotonic() - begin > MAX_SECONDS:
            break
        try:
            pages.append(reader.lines_of(number))
        except pypdfium2.PdfiumError:
            pages.append([])
            damaged.append(f"page {number + 1} is damaged and was not read")
    if len(pages) < total:
        damaged.insert(0, f"only the first {len(pages):,} of {total:,} pages were read")
    return pages, tuple(damaged[:_TOLD])


def _outlined(document: "pypdfium2.PdfDocument", pages: list[list[Line]]) -> Iterator[_Heading]:
    """Yield the bookmarks in the order of their pages, each where its text stands."""
    last = (0, 0)
    for count, bookmark in enumerate(document.get_toc(max_depth=8)):
        target = bookmark.get_dest()
        number = target.get_index() if target else None
        title = " ".join(bookmark.get_title().split())
        if count >= _MOST_BOOKMARKS or number is None or not title or number >= len(pages):
            continue
        _, view = target.get_view()
        begin, end = _found(pages[number], title, view[1] if len(view) > 1 else None)
        place = (number, begin)
        if place < last:  # bookmarks that jump back would tear the text apart
            continue
        last = (number, end)
        yield _Heading(bookmark.level, title, number, end, begin)


def _found(lines: list[Line], title: str, y: float | None) -> tuple[int, int]:
    """Return the lines that a bookmark's title takes up on its page, or the line below its place.

    The title is often cut into lines, and numbered there but not in the bookmark.
    """
    wanted = _NOT_WORDS.sub("", title).casefold()
    for at in range(len(lines)):
        said = ""
        for end in range(at, min(at + 4, len(lines))):
            said += _NOT_WORDS.sub("", lines[end].text).casefold()
            if wanted and said in {wanted, f"chapter{wanted}", f"appendix{wanted}"}:
                return at, end + 1
            if not wanted.startswith(said):
                break
    place = y if y is not None else float("inf")
    below = next((n for n, line in enumerate(lines) if line.y <= place), len(lines))
    return below, below


def _by_size(pages: list[list[Line]]) -> Iterator[_Heading]:
    """Yield the lines that their font makes headings, larger ones above smaller ones."""
    size = body_size(pages)
    places = [
        (number, at)
        for number, lines in enumerate(pages)
        for at, line in enumerate(lines)
        if is_heading(line, size)
    ]
    if len(places) > max(8, sum(len(lines) for lines in pages) // 3):  # slides: no line stands out
        return
    sizes = sorted({pages[number][at].size for number, at in places}, reverse=True)
    depths = {s: min(depth, 5) for depth, s in enumerate(sizes)}
    last: _Heading | None = None
    for number, at in places:
        line = pages[number][at]
        depth = depths[line.size]
        if last and (last.page, last.line, last.depth) == (number, at, depth):
            last = replace(last, text=joined(last.text, line.text), line=at + 1)
            continue
        if last:
            yield last
        last = _Heading(depth, line.text, number, at + 1, at)
    if last:
        yield last


def _first_large(pages: list[list[Line]]) -> str:
    size = body_size(pages)
    for lines in pages[:2]:
        large = [line for line in lines if is_heading(line, size)]
        if large:
            largest = max(line.size for line in large)
            text = ""
            for line in [line for line in large if line.size == largest][:3]:
                text = joined(text, line.text)
            return text
    return ""


def _sections(pages: list[list[Line]], headings: list[_Heading]) -> Iterator[Section]:
    """Yield a section for each heading, and a new one where its text goes on on another page."""
    path: list[tuple[int, str]] = []
    pending = iter(headings)
    heading = next(pending, None)
    for number, lines in enumerate(pages):
        at, anchor = 0, f"page={number + 1}"
        while heading and heading.page == number:
            yield _section(path, anchor, lines[at : heading.begin])
            path = [*(entry for entry in path if entry[0] < heading.depth),
                    (heading.depth, heading.text)]  # fmt: skip
            at = heading.line
            heading = next(pending, None)
        yield _section(path, anchor, lines[at:])


def _section(path: list[tuple[int, str]], anchor: str, lines: list[Line]) -> Section:
    return Section(tuple(text for _, text in path), anchor, tuple(blocks_of(lines)))
