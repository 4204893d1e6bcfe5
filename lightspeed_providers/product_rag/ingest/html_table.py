"""Tables as rows of texts, and which of them only lay out a page."""

from collections.abc import Callable, Iterator

from lxml import etree

from lightspeed_providers.product_rag.ingest.html_kinds import (
    HEADINGS,
    admonition_kind,
    classes,
    is_silent,
)

_WIDEST_SPAN = 50
_WIDEST = 200
"""Columns beyond which no cell spans any more, so that a few can't make millions."""
_LONGEST_REPEATED = 200
"""Characters of a cell over several rows that are said in each of them again."""
_CODE_TABLES = frozenset(
    {"highlighttable", "rouge-table", "hljs-ln", "linenotable", "codehilitetable"}
)

Row = list[str]


def is_layout(table: etree._Element) -> bool:
    """Whether a table holds a page's parts, or the lines of code beside their numbers."""
    if table.get("role") in {"presentation", "none"} or _CODE_TABLES & {*classes(table)}:
        return True
    holder = table.getparent()
    if holder is not None and admonition_kind(holder):
        return True
    cells = 0
    for node in table.iterdescendants("td", "th", "table", "pre", "caption", *HEADINGS):
        if node.tag in {"th", "caption"}:
            return False
        if node.tag in HEADINGS or node.tag == "table" or _is_long_code(node):
            return True
        cells += node.tag == "td"
    return cells <= 1


def _is_long_code(node: etree._Element) -> bool:
    return node.tag == "pre" and "\n" in "".join(node.itertext()).strip()


def table_rows(
    table: etree._Element, text_of: Callable[[etree._Element], str]
) -> tuple[list[Row], bool]:
    """Return a table's rows, all as wide as the widest, and whether the first is its header.

    What spans rows is said in each of them, as rows are read one by one; a header of several rows
    becomes one.
    """
    header: list[Row] = []
    body: list[Row] = []
    hanging: dict[int, tuple[int, str]] = {}
    for row, in_head in _rows(table):
        cells = [c for c in row.iterchildren("td", "th") if not is_silent(c)]
        is_header = not body and bool(cells) and (in_head or all(c.tag == "th" for c in cells))
        texts = _row(cells, hanging, text_of, spread=is_header)
        if any(texts):
            (header if is_header else body).append(texts)
    width = max((len(row) for row in (*header, *body)), default=0)
    rows = [[*row, *[""] * (width - len(row))] for row in ([_one(header)] if header else []) + body]
    return _without_empty_columns(rows), bool(header)


def _rows(table: etree._Element) -> Iterator[tuple[etree._Element, bool]]:
    for child in table.iterchildren():
        if child.tag == "tr":
            yield child, False
        elif child.tag in {"thead", "tbody", "tfoot"}:
            for row in child.iterchildren("tr"):
                yield row, child.tag == "thead"


def _row(
    cells: list[etree._Element],
    hanging: dict[int, tuple[int, str]],
    text_of: Callable[[etree._Element], str],
    *,
    spread: bool,
) -> Row:
    texts: Row = []
    for cell in cells:
        _hang(texts, hanging)
        text = text_of(cell)
        columns, rows = _span(cell, "colspan"), _span(cell, "rowspan")
        room = max(_WIDEST - len(texts), 0)
        for column in range(min(columns, room) or 1):
            if rows > 1 and room:
                again = text if len(text) <= _LONGEST_REPEATED and not column else ""
                hanging[len(texts)] = (rows - 1, again)
            texts.append(text if spread or not column else "")
    _hang(texts, hanging)
    return texts


def _hang(texts: Row, hanging: dict[int, tuple[int, str]]) -> None:
    """Add what cells of rows above leave in this one."""
    while len(texts) in hanging:
        column = len(texts)
        left, text = hanging.pop(column)
        if left > 1:
            hanging[column] = (left - 1, text)
        texts.append(text)


def _span(cell: etree._Element, name: str) -> int:
    told = cell.get(name) or "1"
    if not told.isascii() or not told.isdecimal():
        return 1
    most = _WIDEST_SPAN if name == "colspan" else 10_000
    return min(max(int(told[:6]), 1), most)


def _one(header: list[Row]) -> Row:
    """Several rows of a header as one: `Memory used`, `Memory free`."""
    width = max(len(row) for row in header)
    columns = [[row[n] for row in header if n < len(row) and row[n]] for n in range(width)]
    return [" ".join(dict.fromkeys(texts)) for texts in columns]


def _without_empty_columns(rows: list[Row]) -> list[Row]:
    if not rows:
        return []
    used = [n for n in range(len(rows[0])) if any(row[n] for row in rows)]
    return [[row[n] for n in used] for row in rows]
