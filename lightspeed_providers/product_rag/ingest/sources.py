"""Which files of a directory are read, and what their pages are called."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.ingest.parse import SUFFIXES, is_html

_SERVED = frozenset({"", ".php", ".asp", ".aspx", ".jsp", ".cgi", ".shtml", ".do", ".jspx"})
"""Endings under which a mirrored site keeps pages."""
_VERSION = re.compile(r"\.\d+")
_MIRRORING = frozenset({"hts-cache"})
_NO_PAGES = frozenset({"robots.txt", "hts-log.txt", "hts-in_progress.lock", "cookies.txt"})
_SORTED_LISTING = re.compile(r"\?C=[NMSD];O=[AD]")
_SNIFFED = 2048


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a documentation, and how many of which ending were left out."""

    root: Path
    files: tuple[Path, ...]
    left_out: dict[str, int]
    names: dict[Path, str]

    def name_of(self, file: Path) -> str:
        """Return a file's path inside the documentation, without ending where that is enough."""
        return self.names[file]

    def digest(self) -> str:
        """Return one hash over every file's path and content."""
        whole = hashlib.sha256()
        for file in self.files:
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
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
        folders[:] = [name for name in folders if holds_pages(name)]
        for file in (Path(directory, name) for name in names):
            inside = file.relative_to(root).as_posix()
            if inside in exclude or not may_be_told(file.name):
                continue
            if _is_page(file, root):
                files.append(file)
            else:
                left_out[file.suffix.lower() or "no ending"] += 1
    return Sources(
        root, tuple(sorted(files)), dict(left_out.most_common()), _names(sorted(files), root)
    )


def holds_pages(folder: str) -> bool:
    """Whether a directory of that name is looked into."""
    return not folder.startswith((".", "_")) and folder not in _MIRRORING


def may_be_told(name: str) -> bool:
    """Whether a file of that name is the documentation's, not left by what copied it."""
    return not name.startswith(".") and name not in _NO_PAGES and not _SORTED_LISTING.search(name)


def may_be_page(name: str) -> bool:
    """Whether a file of that name is read: by its ending, or because its start may say HTML."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in SUFFIXES or _is_unsure(name)


def _is_unsure(name: str) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    return "?" in name or suffix in _SERVED or _VERSION.fullmatch(suffix) is not None


def _is_page(file: Path, root: Path) -> bool:
    if not may_be_page(file.name):
        return False
    try:
        if not file.is_file() or not file.resolve().is_relative_to(root):
            return False
        if file.suffix.lower() in SUFFIXES:
            return True
        with file.open("rb") as opened:
            return is_html(opened.read(_SNIFFED))
    except (OSError, RuntimeError):  # a loop of links, or a file that nobody may read
        return False


def _names(files: Iterable[Path], root: Path) -> dict[Path, str]:
    """Paths without ending, with it where two files would be called the same."""
    whole = {file: file.relative_to(root).as_posix() for file in files}
    names = {file: _without_ending(name) for file, name in whole.items()}
    while True:
        said = Counter(name.casefold() for name in names.values())
        clashing = [
            file
            for file, name in names.items()
            if said[name.casefold()] > 1 and name != whole[file]
        ]
        if not clashing:
            return names
        names.update((file, whole[file]) for file in clashing)


def _without_ending(name: str) -> str:
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in SUFFIXES else name
