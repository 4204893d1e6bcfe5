"""One run over the changes: which are wanted, and when they count as done."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from lightspeed_providers.transcripts.rows import Change, Kind

from .contract import UnreadableRecordError
from .state import State, save_state

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exported:
    """What a run did."""

    turns: int = 0
    feedback: int = 0
    removed: int = 0
    """Records that are no longer in the directory."""
    unreadable: int = 0
    """Records that this version can't write in this format; the log has their ids."""
    seq: int = 0
    """The last change that the directory has."""


class Target(Protocol):
    """What changes are written into."""

    def recover(self, kinds: Iterable[Kind]) -> Mapping[Kind, int]:
        """Clear up after a killed run; the last change of each kind that is surely there."""
        ...

    def take(self, change: Change) -> bool:
        """Take a change, or False where what was taken before must be settled first."""
        ...

    def settle(self, seq: int) -> int:
        """Make all that was taken, up to this change, last; how many records are gone."""
        ...

    def close(self) -> None:
        """Give up what was taken and not settled."""
        ...


class Run:
    """Hands changes to a target and notes in the directory's state what is done."""

    def __init__(
        self, directory: Path, state: State, target: Target, kinds: Sequence[Kind]
    ) -> None:
        self._directory = directory
        self._target = target
        self._kinds = kinds
        there = target.recover(kinds)
        self._state = state.with_seq({kind: max(state.of(kind), there[kind]) for kind in kinds})
        self.seq = min(map(self._state.of, kinds))
        self._counts = {Kind.TURN: 0, Kind.FEEDBACK: 0}
        self._removed = self._unreadable = 0

    @property
    def furthest(self) -> int:
        """The last change that any kind has."""
        return max(map(self._state.of, self._kinds))

    @property
    def done(self) -> Exported:
        """What is done so far."""
        return Exported(
            turns=self._counts[Kind.TURN],
            feedback=self._counts[Kind.FEEDBACK],
            removed=self._removed,
            unreadable=self._unreadable,
            seq=self.seq,
        )

    def take(self, changes: Sequence[Change]) -> None:
        """Take the next changes, in their order."""
        for change in changes:
            if self._is_wanted(change):
                self._take(change)
            self.seq = change.seq

    def settle(self) -> None:
        """Make all that was taken last."""
        self._removed += self._target.settle(self.seq)
        seq = {kind: max(self._state.of(kind), self.seq) for kind in self._kinds}
        state = self._state.with_seq(seq)
        if state != self._state:
            save_state(self._directory, state)
            self._state = state

    def close(self) -> None:
        """Give up what was taken and not settled."""
        self._target.close()

    def _take(self, change: Change) -> None:
        try:
            if not self._target.take(change):
                self.settle()
                self._target.take(change)
        except UnreadableRecordError as error:
            self._unreadable += 1
            logger.error("Record %s can't be exported: it is no %s", change.id, error)
        else:
            self._counts[change.kind] += change.record is not None

    def _is_wanted(self, change: Change) -> bool:
        if change.kind not in self._kinds or change.seq <= self._state.of(change.kind):
            return False
        holds = self._state.holds
        if change.record is None or (holds.since is None and holds.until is None):
            return True
        moment = _moment_of(change.record)
        return (
            moment is not None
            and (holds.since is None or moment >= holds.since)
            and (holds.until is None or moment < holds.until)
        )


class _Moment(BaseModel):
    at: datetime = Field(validation_alias=AliasChoices("received_at", "created_at"))


def _moment_of(record: str) -> datetime | None:
    try:
        return _Moment.model_validate_json(record).at
    except ValidationError:
        return None
