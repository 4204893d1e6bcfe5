"""`lightspeed demo` and `lightspeed ingest`: from documentation to an index, in one command."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.paths import state_dir

if TYPE_CHECKING:
    from lightspeed_providers.product_rag.ingest.build import BuildResult
    from lightspeed_providers.product_rag.ingest.reading import Documentation

_SHOWN = 10

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Device = Annotated[
    str | None,
    typer.Option(envvar="LIGHTSPEED_DEVICE", help="auto, cpu or cuda, for the embedding model."),
]
Model = Annotated[
    str, typer.Option(help="Embedding model; the server must use the same one for questions.")
]
Force = Annotated[bool, typer.Option(help="Build it again even if nothing has changed.")]


@app.command()
def demo(force: Force = False, device: Device = None) -> None:
    """Fetch the demo product's documentation and build its index. Safe to repeat.

    It is Django's documentation, fetched once with pip. The server finds the index by itself.
    """
    from lightspeed_providers.product_rag.ingest.demo import demo_documentation

    documentation = demo_documentation(state_dir() / "sources")
    directory = state_dir() / "indexes" / "demo"
    _build(documentation, directory, DEFAULT_EMBEDDING_MODEL, device, force)


@app.command()
def ingest(
    source: Annotated[
        Path,
        typer.Argument(
            help="Documentation: a directory, an archive (.zip, .tar.gz, …), a site mirror or one "
            "file; HTML, Markdown, MyST, reStructuredText, AsciiDoc, PDF and plain text.",
            show_default=False,
        ),
    ],
    product: Annotated[str, typer.Option(help="Name of the product.", show_default=False)],
    version: Annotated[
        str, typer.Option(help="Version that the documentation describes.", show_default=False)
    ],
    url_template: Annotated[
        str,
        typer.Option(
            help="Where readers find a page: {path} is the file's path without ending, {anchor} "
            "the heading; {version}, {product} and {suffix} work too. With a slash after it, "
            "{path} of an index or README file is its directory."
        ),
    ] = "{path}#{anchor}",
    title: Annotated[
        str | None,
        typer.Option(help="Name of the documentation.", show_default="PRODUCT documentation"),
    ] = None,
    language: Annotated[str, typer.Option(help="Its language, as a short code.")] = "en",
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE that searches can filter on; may be given several times."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Index directory.", show_default="<state directory>/indexes/PRODUCT"),
    ] = None,
    add: Annotated[
        bool,
        typer.Option(
            "--add", help="Keep the other products and versions that the index holds already."
        ),
    ] = False,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Write only the documents that differ into the index that is there: fast in a "
            "large one. `lightspeed index seal` makes it compact again.",
        ),
    ] = False,
    model: Model = DEFAULT_EMBEDDING_MODEL,
    device: Device = None,
    txt_is_rst: Annotated[
        bool, typer.Option("--txt-is-rst", help="Read .txt files as reStructuredText.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop if a file can't be read, and build nothing.")
    ] = False,
    force: Force = False,
) -> None:
    """Build an index from your own product's documentation. Safe to repeat.

    Unchanged documentation builds nothing, unchanged passages are not embedded again, and a build
    that was interrupted goes on where it was. While it runs, or after it fails, the old index
    stays as it is; a running server picks the new one up by itself.

    Example: lightspeed ingest docs --product Acme --version 2.1
    --url-template "https://docs.example.com/{version}/{path}/#{anchor}"

    Exit codes: 0 built or up to date, 1 failed, 2 wrong usage.
    """
    from lightspeed_providers.product_rag.ingest.archives import opened_source
    from lightspeed_providers.product_rag.ingest.reading import Documentation

    if in_place and (add or force):
        raise typer.BadParameter("--in-place keeps what is there: leave out --add and --force.")
    if not product.strip() or not version.strip():
        raise typer.BadParameter("--product and --version must not be empty.")
    directory = out or state_dir() / "indexes" / _directory_name(product)
    left_out: list[tuple[str, str]] = []
    with opened_source(source, told=lambda name, why: left_out.append((name, why))) as opened:
        documentation = Documentation(
            source=opened,
            product=product.strip(),
            version=version.strip(),
            title=title or f"{product.strip()} documentation",
            language=language,
            url_template=url_template,
            txt_is_rst=txt_is_rst,
            attributes=_attributes(attribute or []),
        )
        _build(
            documentation,
            directory,
            model,
            device,
            force,
            add=add,
            in_place=in_place,
            strict=strict,
            skipped=left_out,
        )


def _build(
    documentation: "Documentation",
    directory: Path,
    model: str,
    device: str | None,
    force: bool,
    *,
    add: bool = False,
    in_place: bool = False,
    strict: bool = False,
    skipped: Sequence[tuple[str, str]] = (),
) -> None:
    from lightspeed_providers.core.devices import requested_device
    from lightspeed_providers.core.embedder import shared_embedder
    from lightspeed_providers.core.progress import shown_progress
    from lightspeed_providers.product_rag.ingest.build import build_index
    from lightspeed_providers.product_rag.ingest.update import update_index

    chosen = requested_device(device)
    make = update_index if in_place else partial(build_index, force=force, add=add)
    with shown_progress() as report:
        result = make(
            documentation,
            directory,
            model=model,
            encoder=lambda: shared_embedder(model, chosen),
            report=report,
            strict=strict,
            skipped=skipped,
        )
    _tell(result)


def _tell(result: "BuildResult") -> None:
    for name, reason in (*result.skipped, *result.problems)[:_SHOWN]:
        typer.echo(f"{name}: {' '.join(reason.split())}", err=True)
    more = len(result.skipped) + len(result.problems) - _SHOWN
    if more > 0:
        typer.echo(f"... and {more} more like these", err=True)
    if result.left_out and not result.unchanged:
        endings = ", ".join(f"{count} {ending}" for ending, count in result.left_out)
        typer.echo(f"Files that are not read: {endings}", err=True)
    holds = f"{result.pages} pages, {result.passages} passages"
    if result.unchanged:
        did = f"Index is up to date: {holds}"
    else:
        done = "changed in place" if result.is_live else "built"
        did = (
            f"Index {done}: {holds}, {result.tokens} tokens, {result.embedded} texts embedded, "
            f"{len(result.skipped)} files skipped, {result.empty} without text of their own"
        )
    typer.echo(f"{did}, {result.seconds:.1f} s, in {result.directory}")


def _attributes(given: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = [one.partition("=") for one in given]
    wrong = [name + sign for name, sign, value in pairs if not (name.strip() and sign and value)]
    if wrong:
        raise typer.BadParameter(f"--attribute {wrong[0]}: write it as NAME=VALUE.")
    return tuple(sorted((name.strip(), value) for name, _, value in pairs))


def _directory_name(product: str) -> str:
    name = re.sub(r"[^\w.-]+", "-", product.strip().lower()).strip("-.")
    if not name:
        raise ConfigurationError(f"Product '{product}' makes no directory name: use --out.")
    return name
