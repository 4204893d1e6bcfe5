"""What an index says about itself, in `manifest.json`."""

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lightspeed_providers.core.errors import ConfigurationError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


class IndexFile(BaseModel):
    """A file of the index as it must be found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w.-]+$", description="File name inside the index directory.")
    sha256: str
    size: int


class Manifest(BaseModel):
    """The facts about an index that a reader must know before it opens the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    product: str
    version: str
    title: str = Field(description="How the documentation is called where it is cited.")
    url_template: str
    embedding_model: str
    dimension: int
    pages: int
    passages: int
    fingerprint: str = Field(description="sha256 over everything that the content depends on.")
    vectors: IndexFile
    texts: IndexFile
    built_seconds: float
    built_with: dict[str, str] = Field(description="Software and device of the build.")


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of an index, or say in one line why there is none to use."""
    path = directory / MANIFEST
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as fault:
        raise ConfigurationError(
            f"No documentation index in '{directory}': build one with `lightspeed demo` or "
            "`lightspeed ingest`, or name another in LIGHTSPEED_INDEX."
        ) from fault
    except (OSError, ValueError) as fault:
        raise ConfigurationError(
            f"Index manifest '{path}' can't be read ({type(fault).__name__}): build it again."
        ) from fault
    found = facts.get("format_version") if isinstance(facts, dict) else None
    if found != FORMAT_VERSION:
        raise ConfigurationError(
            f"Index '{directory}' has format version {found}, this release reads "
            f"{FORMAT_VERSION}: build the index again."
        )
    try:
        return Manifest.model_validate(facts)
    except ValidationError as fault:
        place = ".".join(str(part) for part in fault.errors()[0]["loc"])
        raise ConfigurationError(
            f"Index manifest '{path}' is wrong at '{place}': build the index again."
        ) from fault


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_file(directory: Path, expected: IndexFile) -> Path:
    """Return the path of an index file whose size and hash are right."""
    path = directory / expected.name
    again = "copy the index again, or build it again"
    try:
        size = path.stat().st_size
        if size != expected.size:
            raise ConfigurationError(
                f"Index file '{path}' has {size} bytes instead of {expected.size}: {again}."
            )
        if sha256_of(path) != expected.sha256:
            raise ConfigurationError(
                f"Index file '{path}' does not have the hash that its manifest names: {again}."
            )
    except OSError as fault:
        raise ConfigurationError(
            f"Index file '{path}' can't be read ({fault.strerror}): {again}."
        ) from fault
    return path
