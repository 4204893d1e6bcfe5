"""`lightspeed profiles`: check profiles before a server starts with them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightspeed_providers.core.options import RunConfiguration

if TYPE_CHECKING:
    from lightspeed_providers.core.tables import Table
    from lightspeed_providers.responses.config import LightspeedResponsesConfig
    from lightspeed_providers.responses.profiles.choosing import Profiles

app = typer.Typer(
    name="profiles",
    help="What makes the assistant a product's: check it, and see what the model is told.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def check(
    profiles: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILES]",
            help="Files, directories or names of profiles; those of the configuration if left out.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Print what this profile tells the model today."),
    ] = None,
    config: RunConfiguration = "lightspeed",
) -> None:
    """Read profiles as a server does at its start, and list them or all that is wrong.

    Example: `lightspeed profiles check acme.yaml --show acme`

    Exit codes: 0 all is well, 1 something is wrong, 2 wrong usage.
    """
    from lightspeed_providers.core.host import prepare_host
    from lightspeed_providers.core.tables import open_console, print_tables
    from lightspeed_providers.responses.profiles.sources import BrokenProfilesError

    prepare_host()
    settings, shields = _configured(config)
    if profiles:
        settings = settings.model_copy(update={"profiles": profiles, "default_profile": None})
    try:
        opened = _opened(settings, shields)
    except BrokenProfilesError as broken:
        for fault in broken.faults:
            typer.echo(str(fault), err=True)
        raise typer.Exit(1) from None
    if show is None:
        print_tables([_table(opened, settings.default_model)], open_console())
        return
    typer.echo(opened.prompt(opened.named(show), None, datetime.now(UTC).date()).text)


def _configured(config: str) -> "tuple[LightspeedResponsesConfig, frozenset[str]]":
    from lightspeed_providers.responses.config import LightspeedResponsesConfig
    from lightspeed_providers.run_configuration import provider_settings, read_run_configuration
    from lightspeed_providers.safety.configured import shields_of

    run: dict[str, Any] = read_run_configuration(config)  # Any: all of the host's settings
    settings = provider_settings(run, "responses", "inline::lightspeed-responses")
    return LightspeedResponsesConfig.model_validate(settings), frozenset(shields_of(run).shields)


def _opened(settings: "LightspeedResponsesConfig", shields: frozenset[str]) -> "Profiles":
    from lightspeed_providers.responses.config import opened_profiles

    opened = opened_profiles(settings)
    opened.check_shields(shields)
    return opened


def _table(opened: "Profiles", default_model: str) -> "Table":
    from lightspeed_providers.core.tables import Table

    today = datetime.now(UTC).date()
    default = opened.chosen(None)
    rows = tuple(
        (
            f"{profile.name} (default)" if profile is default else profile.name,
            opened.prompt(profile, None, today).version,
            profile.model or default_model,
            profile.retrieval.mode,
            profile.client_prompt,
        )
        for profile in opened.all
    )
    return Table("Profiles", ("name", "version", "model", "retrieval", "client's prompt"), rows)
