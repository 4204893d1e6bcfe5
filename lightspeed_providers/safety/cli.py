"""`lightspeed shields`: check shields, measure how good they are, train new ones.

Exit codes: 0 all is well, 1 it failed, 2 it was called wrongly, 3 the quality is below what
--fail-under or --fail-over asks for.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import typer

from lightspeed_providers.core.options import RunConfiguration
from lightspeed_providers.safety.evaluate.cli import evaluate
from lightspeed_providers.safety.training.cli import train

if TYPE_CHECKING:
    from lightspeed_providers.safety.config import LightspeedShieldsConfig
    from lightspeed_providers.safety.self_test import Outcome

_PATIENCE_S = 600.0
"""Seconds for a model to load: nobody waits but who sees the progress."""

app = typer.Typer(
    name="shields",
    help="Check shields against their own examples, measure how good they are, train new ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def check(
    config: RunConfiguration = "lightspeed",
) -> None:
    """Run every shield's own examples and tell which it gets wrong.

    The examples are `must_block`, `must_allow` and `must_replace` of each shield, the same that a
    server runs at its start. No server is needed: the embedding model runs in this process.
    Shields that ask a language model or a service are not run, and said to be so.

    Example: lightspeed shields check --config run.yaml

    Exit codes: 0 every example that was run passed, 1 one failed or the configuration is wrong,
    2 wrong usage.
    """
    from lightspeed_providers.core.tables import open_console, print_tables
    from lightspeed_providers.safety.check_report import tables_of
    from lightspeed_providers.safety.self_test import Result

    settings, run = _configured(config)
    outcomes = asyncio.run(_outcomes(settings, run))
    print_tables(tables_of(settings.shields, outcomes), open_console())
    if any(outcome.result is Result.FAILED for outcome in outcomes):
        raise typer.Exit(1)


app.command()(evaluate)
app.command()(train)


def _configured(config: str) -> "tuple[LightspeedShieldsConfig, dict[str, Any]]":
    from lightspeed_providers.core.host import prepare_host
    from lightspeed_providers.run_configuration import read_run_configuration
    from lightspeed_providers.safety.configured import shields_of

    prepare_host()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    run = read_run_configuration(config)
    return shields_of(run), run


async def _outcomes(
    settings: "LightspeedShieldsConfig",
    run: dict[str, Any],  # Any: all of the host's settings
) -> "list[Outcome]":
    from lightspeed_providers.core.progress import shown_progress
    from lightspeed_providers.safety.checking import ConfiguredShield
    from lightspeed_providers.safety.in_process import models_in_process
    from lightspeed_providers.safety.self_test import needs_models, self_test

    models = models_in_process(run)
    outcomes: list[Outcome] = []
    with shown_progress() as report:
        for done, (name, options) in enumerate(settings.shields.items(), start=1):
            configured = ConfiguredShield(name, options, options.build(models))
            if needs_models(options):  # loading is no part of a check's time
                await self_test([configured], patience_s=_PATIENCE_S)
            outcomes += await self_test([configured])
            await configured.shield.aclose()
            report("Checking shields", done, len(settings.shields))
    return outcomes
