"""Options that command lines share."""

from typing import Annotated

import typer

RunConfiguration = Annotated[
    str,
    typer.Option(
        envvar="LLAMA_STACK_CONFIG", help="A run configuration's path, or a distribution's name."
    ),
]
"""Which server's settings a command goes by."""
