"""`lightspeed transcripts report`."""

import asyncio
import importlib.util
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.options import RunConfiguration

if TYPE_CHECKING:
    from lightspeed_providers.transcripts.report.likeness import Encode
    from lightspeed_providers.transcripts.report.making import Asked
    from lightspeed_providers.transcripts.report.page import Report

_DAYS = 30
_MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]


class GroupBy(StrEnum):
    """What makes two questions one."""

    MEANING = "meaning"
    WORDING = "wording"


def report(
    out: Annotated[
        Path, typer.Option(dir_okay=False, help="The page; one that is there is replaced.")
    ] = Path("report.html"),
    config: RunConfiguration = "lightspeed",
    days: Annotated[
        int | None,
        typer.Option(min=1, max=3660, help="The last so many days.", show_default=str(_DAYS)),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=_MOMENTS, help="Turns received at or after; UTC if not said."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=_MOMENTS, help="Turns received before.", show_default="now"),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Of this profile alone.")] = None,
    group_by: Annotated[
        GroupBy,
        typer.Option(help="Questions that mean the same are one, or those in like words."),
    ] = GroupBy.MEANING,
    low_score: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="An answer whose best passage scores less counts as unanswered."
        ),
    ] = 0.3,
    device: Annotated[
        str | None,
        typer.Option(envvar="LIGHTSPEED_DEVICE", help="auto, cpu or cuda, for the model."),
    ] = None,
) -> None:
    """Write one HTML page on what was asked and how it was answered, with plots.

    It needs no network and no other file. Texts in it are as redacted by the shields.

    Example: `lightspeed transcripts report --days 7 --out week.html`
    """
    now = datetime.now(UTC)
    asked = _asked(days, since, until, profile, low_score, now)
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigurationError(
            "The report needs matplotlib: pip install 'lightspeed-providers[transcripts]'."
        )
    if not out.parent.is_dir():
        raise ConfigurationError(f"Directory '{out.parent}' does not exist: use another --out.")
    from lightspeed_providers.transcripts.report.making import write_page

    made = asyncio.run(_made(config, asked, group_by, device, now))
    write_page(made, out)
    typer.echo(out)
    typer.echo(_summary(made))


def _asked(
    days: int | None,
    since: datetime | None,
    until: datetime | None,
    profile: str | None,
    low_score: float,
    now: datetime,
) -> "Asked":
    from lightspeed_providers.transcripts.report.making import Asked
    from lightspeed_providers.transcripts.report.period import last_days
    from lightspeed_providers.transcripts.rows import microseconds

    if days is not None and since is not None:
        raise typer.BadParameter("--days and --since both say when it begins: leave one out.")
    until_us = microseconds(until or now)
    since_us = microseconds(since) if since else last_days(until_us, days or _DAYS)
    if since_us >= until_us:
        raise typer.BadParameter("--since is not before --until: turn them round.")
    return Asked(since_us, until_us, profile, low_score)


async def _made(
    config: str, asked: "Asked", group_by: GroupBy, device: str | None, now: datetime
) -> "Report":
    from lightspeed_providers.core.progress import shown_progress
    from lightspeed_providers.transcripts.opening import opened_store
    from lightspeed_providers.transcripts.report.making import make_report

    def encode() -> "Encode":
        from lightspeed_providers.core.devices import requested_device
        from lightspeed_providers.core.embedder import shared_embedder
        from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL

        return shared_embedder(DEFAULT_EMBEDDING_MODEL, requested_device(device)).encode

    async with opened_store(config) as (_, store):
        with shown_progress() as progress:
            return await make_report(
                store,
                asked,
                encode=encode if group_by is GroupBy.MEANING else None,
                made_at=now,
                progress=progress,
            )


def _summary(made: "Report") -> str:
    from lightspeed_providers.transcripts.report.texts import number

    turns = made.turns
    return (
        f"{number(turns.turns)} turns, {number(turns.unanswered)} unanswered, "
        f"{number(made.feedback.count)} feedback, {number(len(made.groups))} different questions."
    )
