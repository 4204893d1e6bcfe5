"""`lightspeed transcripts`: gets recorded turns and feedback out.

Exit codes: 0 all is well, 1 it failed, 2 it was called wrongly, 3 some records were left out.
"""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .export.state import Format
from .report.cli import report
from .rows import Kind

if TYPE_CHECKING:
    from .export.run import Exported

LEFT_OUT = 3
"""Exit code where records were left out."""

_KINDS = {"turns": Kind.TURN, "feedback": Kind.FEEDBACK}

app = typer.Typer(
    name="transcripts",
    help="Get recorded turns and feedback out: as files, or as a report to look at.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _transcripts() -> None:
    """Get recorded turns and feedback out: as files, or as a report to look at."""


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"'{text}' is no time: write it as 2026-01-31 or 2026-01-31T14:30+01:00."
        ) from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _kinds(text: str) -> list[Kind]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in _KINDS]
    if unknown or not names:
        raise typer.BadParameter(
            f"'{','.join(unknown)}' is unknown: name turns, feedback or both with a comma.",
            param_hint="--kind",
        )
    return [_KINDS[name] for name in names]


@app.command()
def export(
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Directory; made where there is none.",
            file_okay=False,
            show_default=False,
        ),
    ],
    format: Annotated[
        Format,
        typer.Option(
            help="tree: a JSON file each, OUT/USER/CONVERSATION/UUID.json for turns and "
            "OUT/UUID.json for feedback, as Lightspeed's exporters read them. jsonl: a whole "
            "record a line. parquet: typed columns, for pandas. csv: flat rows, for spreadsheets."
        ),
    ] = Format.TREE,
    config: Annotated[
        str,
        typer.Option(
            envvar="LLAMA_STACK_CONFIG",
            help="The server's run configuration: its file, or a distribution's name.",
        ),
    ] = "lightspeed",
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=_moment,
            metavar="TIME",
            help="Only those received then or later: 2026-01-31 or 2026-01-31T14:30+01:00. "
            "A time without an offset is UTC.",
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=_moment, metavar="TIME", help="Only those received before."),
    ] = None,
    kind: Annotated[
        str, typer.Option(metavar="KINDS", help="turns, feedback, or both with a comma.")
    ] = "turns,feedback",
) -> None:
    """Write turns and feedback into a directory. Run it again to add what is new since.

    What was deleted from the store meanwhile is taken out of the directory too. A run that is
    interrupted, even killed, leaves no half-written file, and the next one goes on where it was:
    how far a directory is stands in its .lightspeed-export.json. So a directory keeps the format
    and the times it was begun with; another one needs another directory. The server may run
    meanwhile.

    jsonl, parquet and csv come in parts of at most 10,000 records or 64 MB:
    turns-1-10000.jsonl, feedback-1-10000.jsonl and so on; the numbers count the store's changes.

    csv is for eyes. A text that begins with = + - @, a tab or a line break gets an apostrophe
    before it, or a spreadsheet would run it as a formula. jsonl and parquet keep texts exactly.

    Examples:

    lightspeed transcripts export turns --kind turns

    lightspeed transcripts export evaluation --format parquet --since 2026-01-01

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some records could not be written in this
    format and were left out.
    """
    if since is not None and until is not None and since >= until:
        raise typer.BadParameter("it is not after --since.", param_hint="--until")
    kinds = _kinds(kind)
    started = time.monotonic()
    done = asyncio.run(_export(out, format, config, since, until, kinds))
    typer.echo(
        f"Exported {done.turns} turns and {done.feedback} feedback, removed {done.removed}, "
        f"{time.monotonic() - started:.1f} s, in {out}"
    )
    if done.unreadable:
        typer.echo(f"{done.unreadable} records are not in it: the log names them.", err=True)
        raise typer.Exit(LEFT_OUT)


app.command()(report)


async def _export(
    out: Path,
    format: Format,
    config: str,
    since: datetime | None,
    until: datetime | None,
    kinds: list[Kind],
) -> "Exported":
    from lightspeed_providers.core.progress import shown_progress

    from .export.exporter import Exporter
    from .opening import opened_store

    async with opened_store(config) as (_, store):
        exporter = Exporter(store, out, format, kinds, since=since, until=until)
        with shown_progress() as report:
            return await exporter.run_once(report)
