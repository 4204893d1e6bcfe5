"""What every command that measures needs: its packages, and a directory for what it found."""

import importlib.util
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError


def need_packages(*modules: str) -> None:
    """Raise in one line where a package of the extra `evaluate` is missing."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"Measuring needs {', '.join(missing)}: pip install 'lightspeed-providers[evaluate]'."
        )


def make_results_directory(out: Path) -> None:
    """Make the directory that --out names."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise ConfigurationError(
            f"Directory '{out}' can't be made ({fault.strerror}): use another --out."
        ) from fault
