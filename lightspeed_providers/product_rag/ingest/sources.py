"""Which files of a directory are read."""

import hashlib
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.ingest.parse import SUFFIXES


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a documentation, and how many of which ending were left out."""

    root: Path
    files: tuple[Path, ...]
    left_out: dict[str, int]

    def name_of(self, file: Path) -> str:
        """Return a file's path inside the documentation, without ending."""
        return file.relative_to(self.root).with_suffix("").as_posix()

    def digest(self) -> str:
        """Return one hash over every file's path and content."""
        whole = hashlib.sha256()
        for file in self.files:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            whole.update(f"{file.relative_to(self.root).as_posix()}\0{content}\n".encode())
        return whole.hexdigest()


def find_sources(root: Path, exclude: Collection[str] = ()) -> Sources:
    """Return the readable files below a directory, in a fixed order.

    Hidden directories and those that start with an underscore hold no pages, and no link leads
    out of the directory.
    """
    if not root.is_dir():
        raise ConfigurationError(
            f"Source '{root}' is not a directory: name one with documentation."
        )
    root = root.resolve()
    files: list[Path] = []
    left_out: Counter[str] = Counter()
    for directory, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for file in (Path(directory, name) for name in names):
            inside = file.relative_to(root).as_posix()
            if inside in exclude or file.name.startswith("."):
                continue
            if file.suffix.lower() in SUFFIXES and file.resolve().is_relative_to(root):
                files.append(file)
            else:
                left_out[file.suffix.lower() or "no ending"] += 1
    return Sources(root, tuple(sorted(files)), dict(left_out.most_common()))
