"""`lightspeed shields train`.

Exit codes: 0 the head is written, 1 it failed, 2 it was called wrongly.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL

if TYPE_CHECKING:
    from lightspeed_providers.safety.training.data import Example
    from lightspeed_providers.safety.training.learning import Trained


def train(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="JSONL files: an object a line with `text` and `block` (true or false), and "
            "where known `family` and `split`.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="File to write the head to.", dir_okay=False, show_default=False)
    ],
    embedding_model: Annotated[
        str, typer.Option(help="Embedding model that the shield will ask: a name or directory.")
    ] = DEFAULT_EMBEDDING_MODEL,
    false_alarms: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="Share of harmless texts that may be blocked."),
    ] = 0.01,
    families: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help="Key of the texts' families: ideas of which each text is one wording.",
        ),
    ] = "family",
    folds: Annotated[
        int, typer.Option(min=2, max=50, help="Parts that the families are divided into.")
    ] = 5,
) -> None:
    """Train a head for a shield of kind `examples`, and tell how good it is.

    Write what to block and, just as important, harmless texts that look like it: a few hundred of
    each, in families of one idea. Every family is judged once by a head that never saw it, which
    is what the table shows and what the threshold is chosen from: what new ideas will meet. Texts
    of split `held_out` are left out, so that they can tell later how good the head really is.

    No server is needed: the embedding model runs in this process. The same texts give the same
    file.

    Example: lightspeed shields train attacks.jsonl harmless.jsonl --out injection.json

    Then, in the configuration of inline::lightspeed-shields: `input_injection: {kind: examples,
    file: /path/of/injection.json, embedding_model: …}`.

    Exit codes: 0 the head is written, 1 it failed, 2 it was called wrongly.
    """
    from lightspeed_providers.core.measuring import need_packages
    from lightspeed_providers.core.tables import open_console, print_tables
    from lightspeed_providers.safety.training.data import read_examples
    from lightspeed_providers.safety.training.table import tables

    need_packages("scipy", "sklearn")
    examples, held_out = read_examples(data, families)
    if not out.parent.is_dir():
        raise ConfigurationError(
            f"Failed to write '{out}': '{out.parent}' is no directory; make it, or use another "
            "--out."
        )
    if held_out:
        typer.echo(f"{held_out} texts of split held_out are left out.", err=True)
    trained = _trained(examples, embedding_model, false_alarms, folds)
    _write(out, trained.head.to_json())
    print_tables(tables(trained), open_console())
    typer.echo(f"Written to {out}.")


def _trained(
    examples: "list[Example]", embedding_model: str, false_alarms: float, folds: int
) -> "Trained":
    from lightspeed_providers.core.embedder import shared_embedder
    from lightspeed_providers.core.host import prepare_host
    from lightspeed_providers.core.progress import shown_progress
    from lightspeed_providers.safety.training.learning import train as trained

    prepare_host()
    with shown_progress() as report:
        return trained(
            examples,
            shared_embedder(embedding_model).encode,
            embedding_model,
            false_alarms=false_alarms,
            folds=folds,
            report=report,
        )


def _write(out: Path, text: str) -> None:
    """Put the file in its place whole or not at all."""
    being_written = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        being_written.write_text(text, encoding="utf-8")
        being_written.replace(out)
    except OSError as fault:
        raise ConfigurationError(
            f"Failed to write '{out}' ({fault.strerror}): use another --out."
        ) from fault
    finally:
        being_written.unlink(missing_ok=True)
