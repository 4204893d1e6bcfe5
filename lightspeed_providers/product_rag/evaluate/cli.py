"""`lightspeed rag evaluate` and `lightspeed rag compare`.

Exit codes: 0 all is well, 1 it failed, 2 it was called wrongly, 3 the quality is below what
--fail-under or --max-loss asks for.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed_providers.core.errors import InvalidRequestError
from lightspeed_providers.core.measuring import make_results_directory, need_packages

if TYPE_CHECKING:
    from lightspeed_providers.product_rag.evaluate.compare import Comparison
    from lightspeed_providers.product_rag.evaluate.results import Results

BELOW = 3
"""Exit code where the quality is below what was asked for."""

app = typer.Typer(
    name="rag",
    help="Measure how well the documentation search finds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Split(StrEnum):
    """Which questions are asked."""

    HELD_OUT = "held-out"
    TUNING = "tuning"
    ALL = "all"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
MaxLoss = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Exit with 3 where nDCG is worse by more than this."),
]


@app.command()
def evaluate(
    questions: Annotated[
        list[Path],
        typer.Argument(
            help="JSONL files of questions with known answers.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    index: Annotated[
        str, typer.Option(envvar="LIGHTSPEED_INDEX", help="Name or directory of the index.")
    ] = "demo",
    against: Annotated[
        str | None, typer.Option(help="Name or directory of the index to compare with.")
    ] = None,
    split: Annotated[Split, typer.Option(help="Which questions.")] = Split.HELD_OUT,
    k: Annotated[int, typer.Option(min=1, max=100, help="How many ranks count.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for results.json, table.md and quality.png."),
    ] = None,
    as_json: AsJson = False,
    reranker: Annotated[
        str | None, typer.Option(help="Cross-encoder to measure too: a name or directory.")
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Find nothing below this similarity.")
    ] = 0.0,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=LEAST",
            help="Exit with 3 where the product's search is below this: ndcg=0.7, recall@5=0.8, "
            "passages:mrr=0.5. Repeatable.",
        ),
    ] = None,
    max_loss: MaxLoss = None,
    device: Annotated[
        str | None,
        typer.Option(envvar="LIGHTSPEED_DEVICE", help="auto, cpu or cuda, for the models."),
    ] = None,
) -> None:
    """Ask questions with known answers and tell how well each search finds them.

    Dense, keyword (bm25) and hybrid search are measured on the same questions, and the hybrid
    with a reranker where one is named. The last of them is the product's own.

    Example: lightspeed rag evaluate questions.jsonl --index demo --out quality
    """
    from lightspeed_providers.product_rag.evaluate.gate import missed, read_gate
    from lightspeed_providers.product_rag.evaluate.report import print_run, write_run

    try:
        gates = [read_gate(text, k) for text in fail_under or ()]
    except InvalidRequestError as fault:
        raise typer.BadParameter(str(fault), param_hint="--fail-under") from fault
    if max_loss is not None and against is None:
        raise typer.BadParameter("it needs --against.", param_hint="--max-loss")
    need_packages("scipy", "sklearn", *(("matplotlib",) if out else ()))
    if out is not None:
        make_results_directory(out)
    runs = _run(questions, (index, against), split, k, reranker, min_score, device)
    comparison = _compared(runs[1], runs[0], None) if len(runs) > 1 else None
    print_run(runs[0], comparison, as_json=as_json)
    if out is not None:
        write_run(out, runs, comparison)
    lines = [line for gate in gates if (line := missed(gate, runs[0]))]
    lines += _lost(comparison, max_loss)
    _end(lines)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="The results.json of the run before.")],
    after: Annotated[Path, typer.Argument(help="The results.json of the run after.")],
    searcher: Annotated[
        str | None,
        typer.Option(help="Which search.", show_default="the product's own"),
    ] = None,
    as_json: AsJson = False,
    max_loss: MaxLoss = None,
) -> None:
    """Tell which questions got worse and which better between two runs, the losers first."""
    from lightspeed_providers.product_rag.evaluate.report import print_comparison
    from lightspeed_providers.product_rag.evaluate.results import read_results

    need_packages("scipy", "sklearn")
    comparison = _compared(read_results(before), read_results(after), searcher)
    if as_json:
        typer.echo(comparison.model_dump_json(indent=2))
    else:
        print_comparison(comparison)
    _end(_lost(comparison, max_loss))


def _run(
    files: list[Path],
    indexes: tuple[str, str | None],
    split: str,
    k: int,
    reranker: str | None,
    min_score: float,
    device: str | None,
) -> "list[Results]":
    from lightspeed_providers.core.devices import requested_device
    from lightspeed_providers.core.progress import shown_progress
    from lightspeed_providers.product_rag.evaluate.questions import of_split, read_questions
    from lightspeed_providers.product_rag.evaluate.run import evaluate as run
    from lightspeed_providers.product_rag.evaluate.run import settings_of
    from lightspeed_providers.product_rag.evaluate.searchers import open_searchers

    asked = of_split(read_questions(files), split)
    settings = settings_of(files, split=split, k=k, reranker=reranker, min_score=min_score)
    chosen = requested_device(device)
    results = []
    for name in filter(None, indexes):
        with (
            open_searchers(name, device=chosen, reranker=reranker, min_score=min_score) as opened,
            shown_progress() as report,
        ):
            results.append(
                run(
                    opened.searchers,
                    asked,
                    settings=settings,
                    index=opened.facts,
                    places=opened.places,
                    report=report,
                )
            )
    return results


def _compared(before: "Results", after: "Results", searcher: str | None) -> "Comparison":
    from lightspeed_providers.product_rag.evaluate.compare import compare as compared

    return compared(before, after, searcher)


def _lost(comparison: "Comparison | None", max_loss: float | None) -> list[str]:
    if comparison is None or max_loss is None or not comparison.shifts:
        return []
    lost = -comparison.shifts[0].difference.mean
    if lost <= max_loss:
        return []
    return [
        f"{comparison.searcher}: {comparison.metric} is worse by {lost:.4f}, more than the "
        f"{max_loss:g} that is allowed."
    ]


def _end(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line, err=True)
    if lines:
        raise typer.Exit(BELOW)
