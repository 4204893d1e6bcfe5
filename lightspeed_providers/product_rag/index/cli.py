"""`lightspeed index`: looks at indexes, checks them, and changes what they hold.

Exit codes: 0 all is well, 1 a problem was found or it failed, 2 it was called wrongly.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightspeed_providers.product_rag.index.prefer import Prefer

if TYPE_CHECKING:
    from rich.table import Table

    from lightspeed_providers.product_rag.index.inspect import Difference, Facts
    from lightspeed_providers.product_rag.index.manifest import Manifest

app = typer.Typer(
    name="index",
    help="Look at documentation indexes, check them, and change what they hold.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


Directory = Annotated[
    str, typer.Argument(metavar="DIR", help="Name or directory of an index.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@app.command()
def info(directory: Directory, as_json: AsJson = False) -> None:
    """Tell what an index holds, how large it is and how it is searched."""
    from lightspeed_providers.product_rag.index.inspect import facts_of

    facts = facts_of(_path(directory))
    if as_json:
        _print_json(_facts(facts))
        return
    _print(_releases_table(facts), _facts_table(facts))


@app.command()
def verify(directory: Directory, as_json: AsJson = False) -> None:
    """Check an index whole: hashes, counts, vectors, words. Exits with 1 where one is wrong."""
    from lightspeed_providers.product_rag.index.inspect import problems_of

    problems = list(problems_of(_path(directory)))
    if as_json:
        _print_json({"directory": str(_path(directory)), "problems": problems})
    for line in () if as_json else problems:
        typer.echo(line, err=True)
    if problems:
        raise typer.Exit(1)
    if not as_json:
        typer.echo(f"Index '{_path(directory)}' is sound.")


@app.command()
def diff(
    before: Directory,
    after: Directory,
    limit: Annotated[int, typer.Option(min=0, help="Ids shown of each kind.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Tell which documents and passages one index holds and another does not."""
    from lightspeed_providers.product_rag.index.inspect import differences

    found = list(differences(_path(before), _path(after)))
    if as_json:
        _print_json([_difference(one, limit) for one in found])
    elif not found:
        typer.echo("Both hold the same.")
    else:
        _print(*(_difference_table(one, limit) for one in found))


@app.command()
def merge(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="DIR...", help="Names or directories.", show_default=False),
    ],
    out: Annotated[
        str, typer.Option(help="Name or directory of the new index.", show_default=False)
    ],
    prefer: Annotated[
        Prefer | None, typer.Option(help="Which to take where two hold a release differently.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make one index of several that were built with the same embedding model."""
    from lightspeed_providers.product_rag.index.merge import merge as merged

    paths = [_path(source) for source in sources]
    manifest = merged(paths, _path(out), prefer=prefer, report=_quiet)
    _tell(_path(out), manifest, as_json)


@app.command("remove-release")
def remove_release(
    directory: Directory,
    product: Annotated[str, typer.Argument(show_default=False)],
    version: Annotated[str, typer.Argument(show_default=False)],
    language: Annotated[str, typer.Option(help="Its language.")] = "en",
    as_json: AsJson = False,
) -> None:
    """Write an index again without one of the releases that it holds."""
    from lightspeed_providers.product_rag.index.merge import without_release

    path = _path(directory)
    manifest = without_release(path, product, version, language, report=_quiet)
    _tell(path, manifest, as_json)


@app.command()
def seal(directory: Directory, as_json: AsJson = False) -> None:
    """Make an index that was changed in place compact and verifiable again."""
    from lightspeed_providers.product_rag.index.live import LiveWriter

    with LiveWriter(_path(directory)) as writer:
        _tell(_path(directory), writer.seal(), as_json)


@app.command()
def remove(
    directory: Directory,
    document_id: Annotated[str, typer.Argument(show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Remove one document from an index, in place; running servers see it within a second."""
    from lightspeed_providers.product_rag.index.live import LiveWriter

    with LiveWriter(_path(directory)) as writer:
        removed = writer.remove(document_id)
    if as_json:
        _print_json({"document_id": document_id, "removed": removed})
    elif removed:
        typer.echo(f"Removed '{document_id}'.")
    else:
        typer.echo(f"Index '{_path(directory)}' has no document '{document_id}'.", err=True)
    if not removed:
        raise typer.Exit(1)


def _path(name: str) -> Path:
    from lightspeed_providers.product_rag.index.open import index_directory

    return index_directory(name)


def _quiet(stage: str, done: int, total: int) -> None:
    """Nothing is embedded, so nothing takes long enough to be shown."""


def _tell(directory: Path, manifest: "Manifest", as_json: bool) -> None:
    if as_json:
        _print_json({"directory": str(directory), **manifest.model_dump(mode="json")})
        return
    typer.echo(
        f"Index of {manifest.name}: {manifest.pages} pages, {manifest.passages} passages, "
        f"in {directory}"
    )


def _facts(facts: "Facts") -> dict[str, Any]:  # Any: JSON
    manifest = facts.manifest
    return {
        "directory": str(facts.directory),
        "live": manifest.live,
        "embedding_model": manifest.embedding_model,
        "dimension": manifest.dimension,
        "vectors": manifest.vector_facts.model_dump(),
        "texts": facts.texts,
        "added_rows": facts.added_rows,
        "dead_rows": facts.dead_rows,
        "releases": [
            {
                "product": held.product,
                "version": held.version,
                "language": held.language,
                "pages": held.pages,
                "passages": held.passages,
            }
            for held in facts.releases
        ],
        "files": dict(facts.files),
    }


def _releases_table(facts: "Facts") -> "Table":
    table = _table("Product", "Version", "Language", "Pages", "Passages")
    for held in facts.releases:
        counts = f"{held.pages:,}", f"{held.passages:,}"
        table.add_row(held.product, held.version, held.language, *counts)
    return table


def _facts_table(facts: "Facts") -> "Table":
    manifest, vectors = facts.manifest, facts.manifest.vector_facts
    searched = (
        "all compared"
        if vectors.kind == "flat"
        else f"{vectors.probes} of {vectors.lists} lists, recall@10 {vectors.recall_at_10:.3f}"
    )
    state = (
        f"live: {facts.added_rows:,} texts added in place, {facts.dead_rows:,} removed"
        if manifest.live
        else "sealed"
    )
    table = _table("", "")
    table.show_header = False
    table.add_row("Texts", f"{facts.texts:,}")
    table.add_row("Model", f"{manifest.embedding_model}, {manifest.dimension} dimensions")
    table.add_row("Vectors", searched)
    table.add_row("State", state)
    for name, size in facts.files:
        table.add_row(name, f"{size / 1e6:,.1f} MB")
    return table


def _difference(one: "Difference", limit: int) -> dict[str, Any]:  # Any: JSON
    told = {"added": one.added, "removed": one.removed, "changed": one.changed}
    counts = {kind: {"count": len(ids), "ids": list(ids[:limit])} for kind, ids in told.items()}
    return {"release": one.release, "of": one.kind, **counts}


def _difference_table(one: "Difference", limit: int) -> "Table":
    table = _table("", "Count", "Ids")
    table.title = f"{one.release}: {one.kind}"
    told = {"added": one.added, "removed": one.removed, "changed": one.changed}
    for kind, ids in told.items():
        more = [f"and {len(ids) - limit} more"] if len(ids) > limit else []
        if ids:
            table.add_row(kind, f"{len(ids):,}", "\n".join([*ids[:limit], *more]))
    return table


def _table(*columns: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, title_justify="left")
    for column in columns:
        is_number = column in {"Pages", "Passages", "Count"}
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    return table


def _print(*tables: "Table") -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for table in tables:
        console.print(table)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
