"""`lightspeed shields evaluate`."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed_providers.core.errors import InvalidRequestError
from lightspeed_providers.core.measuring import make_results_directory, need_packages
from lightspeed_providers.core.options import RunConfiguration
from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.safety import audit

if TYPE_CHECKING:
    from lightspeed_providers.safety.evaluate.gate import Gate
    from lightspeed_providers.safety.evaluate.results import Results

_BELOW = 3
"""Exit code where the quality is below what was asked for."""


def evaluate(
    data: Annotated[
        list[Path],
        typer.Argument(
            help='JSONL files of texts with known answers: {"text": …, "block": true} or, for '
            'personal data, {"text": …, "spans": [{"start": 0, "end": 9, "label": "EMAIL"}]}.',
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    shield: Annotated[
        list[str] | None,
        typer.Option(
            help="Id of a shield to measure. Repeatable.",
            show_default="all that watch the direction",
        ),
    ] = None,
    direction: Annotated[
        Direction | None,
        typer.Option(
            help="Which way the texts travel.", show_default="the first shield's, or input"
        ),
    ] = None,
    config: RunConfiguration = "lightspeed",
    split: Annotated[
        str, typer.Option(help="Only texts with this `split`, e.g. held_out; or all.")
    ] = "all",
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for results.json, table.md and roc.png."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=LEAST",
            help="Exit with 3 where this is lower: recall=0.9, precision=0.95, EMAIL:recall=0.98. "
            "Repeatable.",
        ),
    ] = None,
    fail_over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=MOST",
            help="Exit with 3 where this is higher: false_positives=0.02. Repeatable.",
        ),
    ] = None,
) -> None:
    """Tell how much shields catch, how often they are wrong, and how long they take.

    Every text has a `text` and what should become of it; `history` (earlier questions), `label`,
    `family` and `split` may stand beside. All shields see all texts, also those that another one
    blocks. No server is needed: the embedding model runs in this process.

    Example: lightspeed shields evaluate questions.jsonl --shield input_topic --out quality
    --fail-under recall=0.9 --fail-over false_positives=0.02

    Exit codes: 0 all is well, 1 it failed, 2 it was called wrongly, 3 a --fail-under or --fail-over
    is missed.
    """
    from lightspeed_providers.safety.evaluate.gate import missed
    from lightspeed_providers.safety.evaluate.report import print_run, write_run

    gates = _gates(fail_under or [], fail_over or [])
    need_packages("scipy", "sklearn", *(("matplotlib",) if out else ()))
    if out is not None:
        make_results_directory(out)
    with audit.unwritten():
        results = asyncio.run(_run(data, shield or [], direction, config, split))
    print_run(results, as_json=as_json)
    if out is not None:
        write_run(out, results)
    lines = [line for gate in gates if (line := missed(gate, results))]
    for line in lines:
        typer.echo(line, err=True)
    if lines:
        raise typer.Exit(_BELOW)


def _gates(fail_under: list[str], fail_over: list[str]) -> "list[Gate]":
    from lightspeed_providers.safety.evaluate.gate import read_gate

    gates = []
    for texts, is_least, hint in (
        (fail_under, True, "--fail-under"),
        (fail_over, False, "--fail-over"),
    ):
        try:
            gates += [read_gate(text, is_least=is_least) for text in texts]
        except InvalidRequestError as fault:
            raise typer.BadParameter(str(fault), param_hint=hint) from fault
    return gates


async def _run(
    data: list[Path], names: list[str], asked: Direction | None, config: str, split: str
) -> "Results":
    from lightspeed_providers.core.host import prepare_host
    from lightspeed_providers.core.progress import shown_progress
    from lightspeed_providers.run_configuration import read_run_configuration
    from lightspeed_providers.safety.configured import shields_of
    from lightspeed_providers.safety.evaluate.chosen import awake, chosen_shields, direction_for
    from lightspeed_providers.safety.evaluate.judging import judge
    from lightspeed_providers.safety.evaluate.results import Settings, results_of
    from lightspeed_providers.safety.evaluate.texts import is_marked, read_texts
    from lightspeed_providers.safety.in_process import models_in_process

    prepare_host()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    texts = read_texts(data, split)
    run = read_run_configuration(config)
    shields = shields_of(run).shields
    models = models_in_process(run)
    direction = asked or direction_for(names)
    chosen = chosen_shields(shields, names, direction, models, replaces=is_marked(texts))
    try:
        able = await awake(chosen, direction, named=bool(names))
        with shown_progress() as report:
            judged = await judge(able, texts, direction, report)
    finally:
        for configured in chosen:
            await configured.shield.aclose()
    settings = Settings(
        files=tuple(str(file) for file in data),
        split=split,
        direction=direction,
        shields=tuple(configured.shield_id for configured in able),
    )
    return results_of(judged, settings)
