"""The `lightspeed` command. Each command imports what it needs when it runs."""

from lightspeed_providers.cli.main import main

__all__ = ["main"]
