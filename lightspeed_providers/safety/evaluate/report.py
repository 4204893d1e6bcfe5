"""Says what came out: to the terminal, and into a directory."""

import sys
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.tables import as_markdown, open_console, print_tables
from lightspeed_providers.safety.evaluate.picture import can_draw, draw
from lightspeed_providers.safety.evaluate.results import Results
from lightspeed_providers.safety.evaluate.table import headline, tables

_PICTURE = "roc.png"


def print_run(results: Results, *, as_json: bool) -> None:
    """Print a run to standard output."""
    if as_json:
        sys.stdout.write(results.model_dump_json(indent=2) + "\n")
        return
    console = open_console()
    console.print(headline(results), markup=False, highlight=False)
    print_tables(tables(results), console)


def write_run(out: Path, results: Results) -> None:
    """Write a run's files; the picture only where there is a choice to be drawn."""
    texts = {
        "results.json": results.model_dump_json(indent=2) + "\n",
        "table.md": as_markdown(headline(results), tables(results)),
    }
    names = [*texts, *([_PICTURE] if can_draw(results) else [])]
    try:
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8")
        if _PICTURE in names:
            draw(results, out / _PICTURE)
    except OSError as fault:
        raise ConfigurationError(
            f"Results can't be written to '{out}' ({fault.strerror}): free space, or use another "
            "--out."
        ) from fault
    sys.stderr.write(f"Written to {out}: {', '.join(names)}\n")
