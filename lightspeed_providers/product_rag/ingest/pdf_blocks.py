"""A PDF's lines as paragraphs, code and headings."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from lightspeed_providers.product_rag.ingest.layout import code_block, text_block
from lightspeed_providers.product_rag.ingest.page import Block
from lightspeed_providers.product_rag.ingest.pdf_lines import Line

_EDGE = 2  # lines at the top and the bottom of a page that may repeat on others
_REPEATED = 3
_NUMBERS = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(r"\W*(?:page\s+)?(?:\d{1,5}|[ivxlcIVXLC]{1,7})(?:\s*(?:of|/)\s*\d+)?\W*",
                          re.IGNORECASE)  # fmt: skip
_OUTER_NUMBER = re.compile(r"^\d{1,5}(?=\s)|(?<=\s)\d{1,5}$|^\d{1,5}$")
_LEADER = re.compile(r"(?:\. ?){4,}\s*(?:\d+|[ivxlc]+)?\s*$")
# Symbol fonts have their bullets in the private use area or among the control characters.
_BULLET = re.compile(r"[\ue000-\uf8ff\x0f\x88]\s*|[•◦▪‣●○■∙·–*]\s+|-\s+(?=\w)")
_NUMBERED = re.compile(r"(?:\d{1,3}|[a-zA-Z])[.)]\s+\S")
_HYPHENS = ("\x02", "\u00ad")
_ENDS = (".", ":", "!", "?")
_MOST_HEADING = 120


def without_furniture(pages: Sequence[list[Line]]) -> list[list[Line]]:
    """Return pages without what repeats at their edges, page numbers and tables of contents."""
    repeated = Counter(name for lines in pages for name in {_name(line) for line in _edges(lines)})
    offset = _number_offset(pages)
    return [
        [
            line
            for line in lines
            if not _is_furniture(line, _edges(lines), repeated)
            and not (offset is not None and _is_numbered(line, lines, offset + number))
        ]
        for number, lines in enumerate(pages)
    ]


def _number_offset(pages: Sequence[list[Line]]) -> int | None:
    """Return what printed page numbers differ by from the file's, if lines at edges have any."""
    offsets = Counter(
        int(found) - number
        for number, lines in enumerate(pages)
        for line in _outermost(lines)
        for found in _OUTER_NUMBER.findall(line.text)
    )
    common = offsets.most_common(1)
    return common[0][0] if common and common[0][1] >= max(_REPEATED, len(pages) // 4) else None


def _is_numbered(line: Line, lines: list[Line], expected: int) -> bool:
    """Whether a line at the edge holds the page's number, as `4.4 Backups 21` does."""
    is_outermost = any(line is outer for outer in _outermost(lines))
    return is_outermost and str(expected) in _OUTER_NUMBER.findall(line.text)


def _outermost(lines: list[Line]) -> list[Line]:
    if not lines:
        return []
    return [max(lines, key=lambda line: line.y), min(lines, key=lambda line: line.y)]


def _edges(lines: list[Line]) -> list[Line]:
    ordered = sorted(lines, key=lambda line: -line.y)
    return [*ordered[:_EDGE], *ordered[_EDGE:][-_EDGE:]]


def _name(line: Line) -> str:
    return _NUMBERS.sub("#", line.text)


def _is_furniture(line: Line, edges: list[Line], repeated: Counter[str]) -> bool:
    if _LEADER.search(line.text):
        return True
    if not any(line is edge for edge in edges):
        return False
    is_number = _PAGE_NUMBER.fullmatch(line.text) is not None
    return is_number or repeated[_name(line)] >= _REPEATED


def body_size(pages: Sequence[list[Line]]) -> float:
    """Return the font size that most of the text has."""
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def is_heading(line: Line, size: float) -> bool:
    """Whether a line is clearly larger than the text around it, and short."""
    return (
        line.size >= size * 1.15
        and len(line.text) <= _MOST_HEADING
        and not line.is_mono
        and any(c.isalpha() for c in line.text)
    )


def blocks_of(lines: Sequence[Line]) -> Iterator[Block]:
    """Yield paragraphs, and runs of monospaced lines as code."""
    if not lines:
        return
    step = _line_step(lines)
    run: list[Line] = []
    for line in lines:
        if run and _begins(run, line, step):
            yield from _block(run)
            run = []
        run.append(line)
    yield from _block(run)


def _line_step(lines: Sequence[Line]) -> float:
    """Return how far the lines of a paragraph stand from each other."""
    steps = [a.y - b.y for a, b in pairwise(lines) if 0 < a.y - b.y < 3 * max(a.size, 1)]
    return median(steps) if steps else 0.0


def _begins(run: list[Line], line: Line, step: float) -> bool:
    """Whether a line begins a block of its own after a run of lines."""
    last = run[-1]
    if last.is_mono and line.is_mono:
        return last.y - line.y > 3 * step > 0
    if last.is_mono != line.is_mono:
        return True
    gap = last.y - line.y
    if gap < -step:  # the next column
        return last.text.endswith(_ENDS)
    # Lines are spread to fill a page, so that a sentence that goes on tells more than its place.
    ends = last.text.endswith(_ENDS)
    if step and gap > (1.3 if ends else 1.7) * step:
        return True
    if abs(line.size - last.size) > 1 or _BULLET.match(line.text) or _NUMBERED.match(line.text):
        return abs(gap) > 1
    is_short = last.width < 0.7 * max(member.width for member in run)
    return is_short and ends and abs(gap) > 1


def _block(run: list[Line]) -> Iterator[Block]:
    if run and all(line.is_mono for line in run) and _looks_like_code(run):
        yield from code_block("\n".join(_placed(run)))
        return
    text = ""
    for line in run:
        text = joined(text, line.text)
    yield from text_block(_BULLET.sub("- ", text, count=1) if _BULLET.match(text) else text)


def _looks_like_code(run: list[Line]) -> bool:
    return len(run) > 1 or len(run[0].text.split()) > 1


def _placed(run: list[Line]) -> Iterator[str]:
    """Yield lines of code with their indentation, and the lines that were empty."""
    margin = min(line.x for line in run)
    widths = [line.width / (len(line.text) - 1) for line in run if len(line.text) > 3]
    width = median(widths) if widths else 0.0
    step = _line_step(run)
    for last, line in zip([None, *run], run, strict=False):
        gap = last.y - line.y if last else 0.0
        if last and abs(gap) < 1:
            yield f"  {line.text}"
            continue
        if step and gap > 1.6 * step:
            yield ""
        indent = round((line.x - margin) / width) if width > 0 else 0
        yield " " * min(indent, 80) + line.text.replace("\x02", "-")


def joined(text: str, line: str) -> str:
    """Join a line to a text, closing a word that was cut at the line's end."""
    if text.endswith(_HYPHENS):
        return text[:-1] + line
    is_cut = len(text) > 2 and text.endswith("-") and text[-2].islower() and line[:1].islower()
    if is_cut and not text.rpartition(" ")[2].count("-") > 1 and "/" not in text[-20:]:
        return text[:-1] + line
    return f"{text} {line}" if text else line
