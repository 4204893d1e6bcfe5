"""What an index says about itself, in `manifest.json`."""

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.index.versions import version_key

FORMAT_VERSION = 2
MANIFEST = "manifest.json"


class IndexFile(BaseModel):
    """A file of the index as it must be found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w.-]+$", description="File name inside the index directory.")
    sha256: str
    size: int


class Release(BaseModel):
    """The documentation of one version of a product in one language."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    version: str
    language: str = "en"
    title: str = Field(description="How the documentation is called where it is cited.")
    url_template: str
    pages: int = 0
    passages: int = 0
    fingerprint: str = Field(
        default="", description="sha256 over everything that its content depends on."
    )

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.product} {self.version}" + (
            "" if self.language == "en" else f" ({self.language})"
        )

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from other releases."""
        return self.product.casefold(), self.version, self.language


class VectorFacts(BaseModel):
    """How vectors are searched, and how much of an exact search's result that finds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(description="`flat` searches all; `ivf` the nearest `probes` of its `lists`.")
    lists: int = 0
    probes: int = 0
    recall_at_10: float = Field(
        default=1.0, description="Share of the ten truly nearest that a search finds."
    )


class Manifest(BaseModel):
    """The facts about an index that a reader must know before it opens the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    embedding_model: str
    dimension: int
    releases: tuple[Release, ...]
    pages: int
    passages: int = Field(description="Places in the documentation that can be cited.")
    texts: int = Field(description="Distinct texts; one may stand in several places.")
    vector_facts: VectorFacts
    vectors: IndexFile
    words: IndexFile
    passages_file: IndexFile
    live: bool = Field(
        default=False,
        description="Documents may be added and removed in place; whole files have no hash then.",
    )
    built_with: dict[str, str] = Field(description="Software of the build.")

    @property
    def sealed(self) -> tuple[IndexFile, ...]:
        """The files that never change and have a hash."""
        always = (self.vectors, self.words)
        return always if self.live else (*always, self.passages_file)

    @property
    def name(self) -> str:
        """What the index holds, for people."""
        ordered = sorted(self.releases, key=lambda one: (one.product, version_key(one.version)))
        return ", ".join(release.name for release in ordered)


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of an index, or say in one line why there is none to use."""
    path = directory / MANIFEST
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as fault:
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
