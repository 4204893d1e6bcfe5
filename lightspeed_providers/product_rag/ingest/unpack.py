"""Writes an archive's pages below a directory, never outside, and never without end."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.ingest.parse import most_bytes
from lightspeed_providers.product_rag.ingest.sources import holds_pages, may_be_page, may_be_told

MOST_TOTAL_BYTES = 4_000_000_000
MOST_MEMBERS = 200_000
MOST_RATIO = 200
_RATIO_FROM = 50_000_000
"""Bytes below which much may come of little: a page of spaces harms nobody."""
_PIECE = 1 << 20
_DRIVE = re.compile(r"^[A-Za-z]:")

Told = Callable[[str, str], None]
"""Called with a member's name and why it was left out."""


@dataclass(slots=True)
class Unpacking:
    """An archive being unpacked: what came out of it so far, and how much may."""

    archive: Path
    target: Path
    told: Told
    most_bytes: int = MOST_TOTAL_BYTES
    most_members: int = MOST_MEMBERS
    tops: set[str] = field(default_factory=set)
    loose: bool = False
    _bytes: int = 0
    _members: int = 0
    _written: set[PurePosixPath] = field(default_factory=set)

    def count_member(self) -> None:
        """Refuse an archive of more members than any documentation has."""
        self._members += 1
        if self._members > self.most_members:
            raise self.refusal(f"it has more than {self.most_members:,} members")

    def count_bytes(self, number: int) -> None:
        """Refuse an archive that holds far more than it seems to."""
        self._bytes += number
        if self._bytes > self.most_bytes:
            raise self.refusal(f"it holds more than {self.most_bytes:,} bytes")
        packed = max(self.archive.stat().st_size, 1) if self._bytes > _RATIO_FROM else 0
        if packed and self._bytes > packed * MOST_RATIO:
            raise self.refusal(f"it unpacks to more than {MOST_RATIO} times its size")

    def refusal(self, reason: str) -> ConfigurationError:
        """Return the error that says why nothing of the archive is read."""
        return ConfigurationError(
            f"Archive '{self.archive}' can't be read, {reason}: "
            "unpack it yourself and name the directory."
        )

    def place_of(self, name: str, size: int) -> PurePosixPath | None:
        """Return where a file belongs, or None, told, where it is none that is read."""
        path = self._safe(name)
        if path is None:
            self.told(name, "leads out of the archive")
            return None
        if path.parts[0] != "__MACOSX":
            self.tops.add(path.parts[0])
            self.loose = self.loose or len(path.parts) == 1
        *folders, last = path.parts
        wanted = all(holds_pages(folder) for folder in folders) and may_be_told(last)
        if not wanted or not may_be_page(last):
            return None
        if size > most_bytes(path.suffix):
            self.told(name, f"larger than {most_bytes(path.suffix) // 1_000_000} MB")
            return None
        return path

    def write(self, path: PurePosixPath, content: IO[bytes], *, counted: bool) -> None:
        """Write a file; of one that is there twice, the last counts, as for any unpacker."""
        if path in self._written:
            self.told(str(path), "twice in the archive, the last one is read")
        file = self.target / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            opened = file.open("wb")
        except OSError as fault:
            self.told(str(path), f"can't be unpacked ({fault.strerror})")
            return
        self._written.add(path)
        with opened:
            while piece := content.read(_PIECE):
                if counted:
                    self.count_bytes(len(piece))
                opened.write(piece)

    def root(self) -> Path:
        """Return the directory with the pages: the archive's only folder, if that is all."""
        only = next(iter(self.tops)) if len(self.tops) == 1 and not self.loose else ""
        inside = self.target / only
        return inside if only and inside.is_dir() else self.target

    @staticmethod
    def _safe(name: str) -> PurePosixPath | None:
        name = name.replace("\\", "/")
        path = PurePosixPath(name)
        is_outside = path.is_absolute() or ".." in path.parts or "\0" in name
        return None if is_outside or _DRIVE.match(name) or not path.parts else path
