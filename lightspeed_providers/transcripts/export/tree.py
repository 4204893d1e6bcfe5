"""One JSON file a record, in the directories that Lightspeed's exporters read.

`<user hash>/<conversation>/<uuid>.json` for turns, `<uuid>.json` for feedback.
"""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from lightspeed_providers.transcripts.rows import Change, Kind

from .contract import feedback_file, read_feedback, read_turn, turn_file
from .durable import draft_of, sync_all, write_new
from .names import directory_name, file_stem

MAX_FILES = 500
MAX_BYTES = 16_000_000

_TRIES = 100


class Tree:
    """A directory of files; a batch gets its names only when the disk has all of it."""

    def __init__(self, directory: Path, *, max_files: int) -> None:
        self._directory = directory
        self._max_files = max_files
        self._waiting: dict[Path, bytes | None] = {}
        self._ids: set[tuple[Kind, str]] = set()
        self._bytes = 0

    def recover(self, kinds: Iterable[Kind]) -> Mapping[Kind, int]:
        """Nothing: the same files are written again."""
        return dict.fromkeys(kinds, 0)

    def take(self, change: Change) -> bool:
        """Keep the change for the next batch; False where the batch must be settled first."""
        if len(self._ids) >= self._max_files or self._bytes >= MAX_BYTES:
            return False
        if (change.kind, change.id) in self._ids:
            return False
        data = _content(change)
        self._ids.add((change.kind, change.id))
        self._waiting[self._path(change)] = data
        self._bytes += len(data or b"")
        return True

    def settle(self, seq: int) -> int:
        """Write and remove what was taken; how many files are gone."""
        del seq  # the files carry ids
        new = {path: data for path, data in self._waiting.items() if data is not None}
        removed = sum(self._remove(path) for path, data in self._waiting.items() if data is None)
        try:
            for path, data in new.items():
                self._stage(path, data)
            if new:
                sync_all(self._directory)
            for path, data in new.items():
                self._show(path, data)
        except BaseException:
            for path in new:
                draft_of(path).unlink(missing_ok=True)
            raise
        if self._waiting:
            sync_all(self._directory)
        self.close()
        return removed

    def close(self) -> None:
        """Give up what was taken and not settled."""
        self._waiting, self._ids, self._bytes = {}, set(), 0

    def _path(self, change: Change) -> Path:
        name = f"{file_stem(change.id)}.json"
        if change.kind is Kind.FEEDBACK:
            return self._directory / name
        user, conversation = map(directory_name, (change.user_hash, change.conversation_id))
        return self._directory / user / conversation / name

    def _stage(self, path: Path, data: bytes) -> None:
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                write_new(draft_of(path), data)
            except FileNotFoundError:
                if last:
                    raise
                self._make(path.parent)
            else:
                return

    def _show(self, path: Path, data: bytes) -> None:
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                draft_of(path).replace(path)
            except FileNotFoundError:
                if last:
                    raise
                self._stage(path, data)
            else:
                return

    def _make(self, directory: Path) -> None:
        # Whoever ships the files removes empty directories, at any moment.
        for each in (directory.parent, directory):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                each.mkdir(mode=0o700)

    def _remove(self, path: Path) -> bool:
        try:
            draft_of(path).unlink(missing_ok=True)
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        for each in (path.parent, path.parent.parent):
            if each in (self._directory, self._directory.parent):
                break
            try:
                each.rmdir()
            except OSError:
                break  # something else is in it, or it is gone
        return True


def _content(change: Change) -> bytes | None:
    if change.record is None:
        return None
    file = (
        turn_file(read_turn(change.record))
        if change.kind is Kind.TURN
        else feedback_file(read_feedback(change.record))
    )
    return file.model_dump_json().encode()
