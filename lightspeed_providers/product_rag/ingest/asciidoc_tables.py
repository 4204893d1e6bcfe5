"""AsciiDoc's tables as rows of texts."""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass

_SPEC = r"(?:(?:(\d{1,6})?(?:\.(\d{1,6}))?)([*+]))?(?:[<^>])?(?:\.[<^>])?([adehlmsv])?"
_CELL = re.compile(r"(?:(?:^|(?<=[\s]))" + _SPEC + r")?(?<!\\)\|", re.MULTILINE)
_COLUMN = re.compile(r"(?:(\d{1,4})\*)?[^,;]*?([adehlmsv])?$")
_MOST = 100
"""Columns, and how many times a cell may be repeated."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's source, how it is read, and over how many columns and rows it goes."""

    text: str
    style: str = ""
    columns: int = 1
    rows: int = 1


def rows_of(
    lines: list[str],
    attributes: dict[str, str],
    separator: str,
    shown: Callable[[str, str], str],
) -> tuple[list[list[str]], bool]:
    """Return a table's rows and whether the first is its head; `shown` reads a cell's source."""
    has_header = "header" in attributes.get("options", "") or _looks_headed(lines, separator)
    styles = _column_styles(attributes.get("cols", ""))
    form = {",": "csv", ":": "dsv"}.get(separator, attributes.get("format", "psv"))
    if form in {"csv", "tsv", "dsv"}:
        given = {"csv": ",", "tsv": "\t", "dsv": ":"}[form]
        mark = attributes.get("separator", given)[:1] or given
        parts = csv.reader([line for line in lines if line.strip()], delimiter=mark)
        return [[shown(text, "") for text in row] for row in parts], has_header
    mark = attributes.get("separator", separator)
    text = "\n".join(lines)
    if mark != "|":
        text = text.replace("|", "\\|").replace(mark, "|")
    cells = _cells(text)
    width = len(styles) or len(_cells(next((n for n in text.split("\n") if n.strip()), "")))
    return _laid_out(cells, styles, max(1, min(width, _MOST)), shown), has_header


def _looks_headed(lines: list[str], separator: str) -> bool:
    """The first line has all the cells of a row and stands alone."""
    return len(lines) > 1 and lines[0].startswith(separator[0]) and not lines[1].strip()


def _column_styles(columns: str) -> list[str]:
    styles: list[str] = []
    for part in re.split("[,;]", columns.strip()) if columns.strip() else []:
        found = _COLUMN.match(part.strip()[:50])
        times, style = (found[1], found[2]) if found else (None, None)
        styles += [style or ""] * min(int(times or 1), _MOST)
    return styles[:_MOST]


def _cells(text: str) -> list[Cell]:
    marks = list(_CELL.finditer(text))
    cells: list[Cell] = []
    for mark, following in zip(marks, [*marks[1:], None], strict=False):
        content = text[mark.end() : following.start() if following else len(text)]
        columns, rows, operator, style = mark.groups()
        content = content.strip("\n").replace("\\|", "|")
        across, down = min(int(columns or 1), _MOST), min(int(rows or 1), _MOST)
        if operator == "*":
            cells += [Cell(content, style or "")] * max(1, across)
        else:
            cells.append(Cell(content, style or "", max(1, across), max(1, down)))
    return cells


def _laid_out(
    cells: list[Cell], styles: list[str], width: int, shown: Callable[[str, str], str]
) -> list[list[str]]:
    """Fill rows; a cell over several rows is said in each, so that each can be read alone."""
    rows: list[list[str]] = []
    row: list[str] = []
    pending: dict[int, tuple[int, str]] = {}
    for cell in cells:
        _take_pending(row, pending, width)
        if len(row) >= width:
            rows.append(row)
            row = []
            _take_pending(row, pending, width)
        column = len(row)
        style = cell.style or (styles[column] if column < len(styles) else "")
        text = shown(cell.text, style)
        if cell.rows > 1:
            pending.update(
                {column + n: (cell.rows - 1, text if not n else "") for n in range(cell.columns)}
            )
        row += [text, *[""] * (min(cell.columns, width - column) - 1)]
    _take_pending(row, pending, width)
    return [*rows, row] if row else rows


def _take_pending(row: list[str], pending: dict[int, tuple[int, str]], width: int) -> None:
    while len(row) < width and len(row) in pending:
        left, text = pending.pop(len(row))
        if left > 1:
            pending[len(row)] = (left - 1, text)
        row.append(text)
