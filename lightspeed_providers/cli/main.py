"""The commands of `lightspeed`, and how their errors look."""

import sys
from typing import Annotated

import typer

from lightspeed_providers.cli.profiles import app as profiles
from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.product_rag.cli import demo, ingest
from lightspeed_providers.product_rag.evaluate.cli import app as rag
from lightspeed_providers.product_rag.index.cli import app as index
from lightspeed_providers.safety.cli import app as shields
from lightspeed_providers.transcripts.cli import app as transcripts
from lightspeed_providers.transcripts.collect.cli import collect

DEFAULT_URL = "http://127.0.0.1:8321"

app = typer.Typer(
    name="lightspeed",
    help="A product assistant from a product's documentation, as Llama Stack providers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@app.command()
def init() -> None:
    """Write what Llama Stack must find under your home directory. Safe to repeat.

    Files that you edited are kept.
    """
    from lightspeed_providers.cli.init import write_user_files

    for line in write_user_files():
        typer.echo(line)


@app.command()
def up(
    port: Annotated[
        int, typer.Option(envvar="LLAMA_STACK_PORT", min=1, max=65535, help="Port to listen on.")
    ] = 8321,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the server's log instead of filing it.")
    ] = False,
) -> None:
    """Set everything up that is missing, then run the server until Ctrl-C.

    Builds the demo product's index on the first start; a second start rebuilds nothing. The
    server itself is `llama stack run lightspeed`.
    """
    from lightspeed_providers.cli.up import run

    raise typer.Exit(run(port, verbose=verbose))


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    url: Annotated[
        str, typer.Option(envvar="LIGHTSPEED_URL", help="Address of the server.")
    ] = DEFAULT_URL,
    model: Annotated[
        str, typer.Option(help="`lightspeed` is the model that the operator chose.")
    ] = "lightspeed",
    after: Annotated[
        str | None,
        typer.Option(metavar="RESPONSE_ID", help="Ask on, after the response with this id."),
    ] = None,
) -> None:
    """Ask the assistant: the answer streams to the terminal, then come its sources.

    Example: `lightspeed ask "How do I create a superuser?"`
    """
    from lightspeed_providers.cli.ask import ask as run

    raise typer.Exit(run(question, url=url, model=model, after=after))


app.command()(demo)
app.command()(ingest)
app.add_typer(index)
app.add_typer(profiles)
app.add_typer(rag)
app.add_typer(shields)
app.add_typer(transcripts)
app.command()(collect)


def main() -> None:
    """Run the command line; a fault of ours is one line and exit code 1, never a stack trace."""
    try:
        app()
    except LightspeedError as fault:
        typer.echo(f"lightspeed: {fault}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
