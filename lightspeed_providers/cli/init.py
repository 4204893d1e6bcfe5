"""What `lightspeed init` writes: the files that must lie at an absolute path."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.host import prepare_host

EXTERNAL_APIS_DIR = "~/.llama/distributions/lightspeed/apis.d"
"""Where `run.yaml` says the external APIs are described; it can't follow a variable."""


def write_user_files() -> Iterator[str]:
    """Write each missing file and yield a line on what was done; an edited file is kept."""
    prepare_host()
    target = Path(EXTERNAL_APIS_DIR).expanduser()
    try:
        target.mkdir(parents=True, exist_ok=True)
        for packaged in _packaged_apis():
            yield _write(target / packaged.name, packaged.read_text())
    except OSError as fault:
        raise ConfigurationError(
            f"'{target}' can't be written ({fault.strerror}): make it writable."
        ) from fault


def _packaged_apis() -> list[Traversable]:
    folder = files("llama_stack") / "distributions" / "lightspeed" / "apis.d"
    if not folder.is_dir():
        raise ConfigurationError(
            "This installation lacks the lightspeed distribution: install the "
            "lightspeed-providers package again."
        )
    return sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)


def _write(path: Path, text: str) -> str:
    if not path.exists():
        path.write_text(text)
        return f"written  {path}"
    return f"{'present ' if path.read_text() == text else 'kept    '} {path}"
