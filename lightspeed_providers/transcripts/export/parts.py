"""Many records a file: `turns-<first change>-<last change>.<ending>`, each there whole or not.

A part says by its name which changes it covers, so a run that was killed between naming a part
and noting it down is found out, and nothing is written twice.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol

from lightspeed_providers.core.durable import sync
from lightspeed_providers.transcripts.rows import Change, Kind

from .durable import draft_of

MAX_ROWS = 10_000
MAX_BYTES = 64_000_000

Write = Callable[[str], None]

_STEMS = {Kind.TURN: "turns", Kind.FEEDBACK: "feedback"}


class PartFormat(Protocol):
    """How the records of one kind are written into a file and found in it again."""

    @property
    def ending(self) -> str:
        """The file name's ending, with its dot."""
        ...

    def open(self, kind: Kind, path: Path) -> AbstractContextManager[Write]:
        """A new file that takes records; it is whole when the context ends."""
        ...

    def held(self, kind: Kind, ids: set[str], path: Path) -> set[str]:
        """Those of the ids that the file holds."""
        ...

    def copy_without(self, kind: Kind, ids: set[str], path: Path, to: Path) -> int:
        """Write the other records of a file into a new one; how many those are."""
        ...


class Parts:
    """A directory of parts; a part gets its name when it is full, or when a run ends."""

    def __init__(
        self, directory: Path, part_format: PartFormat, *, max_rows: int, max_bytes: int
    ) -> None:
        self._directory = directory
        self._format = part_format
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._begin()

    def recover(self, kinds: Iterable[Kind]) -> Mapping[Kind, int]:
        """Remove what a killed run began; the last change that the parts of each kind cover."""
        for draft in self._directory.glob(f".*-*{self._format.ending}.part"):
            draft.unlink(missing_ok=True)
        return {kind: max((last for _, last in self._parts(kind)), default=0) for kind in kinds}

    def take(self, change: Change) -> bool:
        """Write or note the change; False where what was taken before must be settled first."""
        part, removed = self._open[change.kind], self._removed[change.kind]
        if self._is_full() or change.id in part.ids or change.id in removed:
            return False
        if change.record is None:
            removed.add(change.id)
            return True
        if part.write is None:
            part.write = part.files.enter_context(self._format.open(change.kind, part.draft))
        part.write(change.record)
        part.first = part.first or change.seq
        part.ids.add(change.id)
        part.bytes += len(change.record)
        return True

    def settle(self, seq: int) -> int:
        """Take removed records out of the parts, then name the new ones; how many are gone."""
        gone = sum(self._remove(kind, ids) for kind, ids in self._removed.items() if ids)
        written = {kind: part for kind, part in self._open.items() if part.ids}
        for part in self._open.values():
            part.files.close()
            if part.ids:
                sync(part.draft)
            else:
                part.draft.unlink(missing_ok=True)  # none of its records could be read
        if gone:
            sync(self._directory)  # a named part says that removals before its end are done
        for kind, part in written.items():
            part.draft.replace(self._path(kind, part.first, seq))
        if written:
            sync(self._directory)
        self._begin()
        return gone

    def close(self) -> None:
        """Give up what was taken and not settled."""
        for part in self._open.values():
            part.files.close()
            part.draft.unlink(missing_ok=True)

    def _begin(self) -> None:
        self._open = {
            kind: _OpenPart(self._directory / f".{stem}-open{self._format.ending}.part")
            for kind, stem in _STEMS.items()
        }
        self._removed: dict[Kind, set[str]] = {kind: set() for kind in Kind}

    def _is_full(self) -> bool:
        return (
            sum(len(part.ids) for part in self._open.values()) >= self._max_rows
            or sum(len(ids) for ids in self._removed.values()) >= self._max_rows
            or sum(part.bytes for part in self._open.values()) >= self._max_bytes
        )

    def _remove(self, kind: Kind, ids: set[str]) -> int:
        gone = 0
        for path, _ in list(self._parts(kind)):
            found = self._format.held(kind, ids, path)
            if not found:
                continue
            draft = draft_of(path)
            if self._format.copy_without(kind, found, path, draft):
                sync(draft)
                draft.replace(path)
            else:
                draft.unlink()
                path.unlink()
            gone += len(found)
        return gone

    def _path(self, kind: Kind, first: int, last: int) -> Path:
        return self._directory / f"{_STEMS[kind]}-{first}-{last}{self._format.ending}"

    def _parts(self, kind: Kind) -> Iterator[tuple[Path, int]]:
        name = re.compile(rf"{_STEMS[kind]}-\d+-(\d+){re.escape(self._format.ending)}")
        for path in self._directory.iterdir():
            match = name.fullmatch(path.name)
            if match is not None:
                yield path, int(match[1])


class _OpenPart:
    def __init__(self, draft: Path) -> None:
        self.draft = draft
        self.first = 0
        self.bytes = 0
        self.ids: set[str] = set()
        self.files = ExitStack()
        self.write: Write | None = None
