"""Says what came out: to the terminal, and into a directory."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.tables import as_markdown, open_console, print_tables
from lightspeed_providers.product_rag.evaluate.compare import Comparison
from lightspeed_providers.product_rag.evaluate.picture import draw
from lightspeed_providers.product_rag.evaluate.results import Results
from lightspeed_providers.product_rag.evaluate.table import (
    comparison_tables,
    headline,
    tables,
)

_NAMED = 5


def print_run(results: Results, comparison: Comparison | None, *, as_json: bool) -> None:
    """Print a run to standard output, and what is odd about it to standard error."""
    if results.unknown_places:
        some = ", ".join(results.unknown_places[:_NAMED])
        more = ", ..." if len(results.unknown_places) > _NAMED else ""
        sys.stderr.write(
            f"{len(results.unknown_places)} expected places are not in the index, so that no "
            f"search can find them: {some}{more}\n"
        )
    if as_json:
        sys.stdout.write(results.model_dump_json(indent=2) + "\n")
        return
    console = open_console()
    console.print(headline(results), markup=False, highlight=False)
    print_tables(tables(results), console)
    if comparison is not None:
        print_comparison(comparison)


def print_comparison(comparison: Comparison) -> None:
    """Print what changed between two runs, the losers first."""
    console = open_console()
    for line in (f"Before: {comparison.before}", f"After:  {comparison.after}"):
        console.print(line, markup=False, highlight=False)
    print_tables(comparison_tables(comparison), console)


def write_run(out: Path, runs: Sequence[Results], comparison: Comparison | None) -> None:
    """Write a run's files; a second run is the one that it is compared with."""
    told = list(tables(runs[0]))
    texts = {"results.json": runs[0].model_dump_json(indent=2) + "\n"}
    if comparison is not None:
        told += comparison_tables(comparison)
        texts["before.json"] = runs[1].model_dump_json(indent=2) + "\n"
        texts["comparison.json"] = comparison.model_dump_json(indent=2) + "\n"
    texts["table.md"] = as_markdown(headline(runs[0]), told)
    try:
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8")
        draw(runs[0], out / "quality.png")
    except OSError as fault:
        raise ConfigurationError(
            f"Results can't be written to '{out}' ({fault.strerror}): free space, or use another "
            "--out."
        ) from fault
    sys.stderr.write(f"Written to {out}: {', '.join((*texts, 'quality.png'))}\n")
