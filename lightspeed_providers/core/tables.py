"""Tables of text, for a terminal, a pipe and as Markdown."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a title; a line break in a cell parts a number from its interval."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def open_console() -> "Console":
    """Return a console of standard output, wide enough where nobody looks."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)


def print_tables(told: Iterable[Table], console: "Console") -> None:
    """Write tables to a terminal or a pipe."""
    from rich import box
    from rich.table import Table as RichTable

    for table in told:
        shown = RichTable(
            title=table.title,
            title_justify="left",
            title_style="bold",
            caption=table.note or None,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
        )
        for n, column in enumerate(table.columns):
            shown.add_column(column, no_wrap=n == 0, overflow="fold")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown, markup=False, highlight=False)


def as_markdown(heading: str, told: Iterable[Table]) -> str:
    """Return tables as a Markdown page."""
    parts = [f"# {heading}"]
    for table in told:
        lines = [_line(table.columns), _line("---" for _ in table.columns)]
        lines += [_line(row) for row in table.rows]
        parts += [f"## {table.title}", "\n".join(lines)]
        if table.note:
            parts.append(table.note)
    return "\n\n".join(parts) + "\n"


def _line(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    told = (f"{a} ({b})" if b else a for a, _, b in (cell.partition("\n") for cell in escaped))
    return f"| {' | '.join(told)} |"
