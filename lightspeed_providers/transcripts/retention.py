"""What is kept too long or too much is removed, in pieces, in the background."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Literal, Protocol, overload

from .forgetting import PIECE, Forgetting, ForgettingStore, audit_line
from .rows import Kind, TurnKey, microseconds

logger = logging.getLogger(__name__)

ACTOR = "retention"
LOOK_FOR_S = 2.0
"""How long one look may go on; what is left then waits for the next."""


class Keep(Protocol):
    """How long one kind of data is kept."""

    max_age_days: int | None
    max_count: int | None


class RetentionStore(ForgettingStore, Protocol):
    """What retention asks of the record."""

    @overload
    async def expired(
        self,
        kind: Literal[Kind.TURN],
        *,
        older_than_us: int | None,
        keep: int | None,
        limit: int,
    ) -> Sequence[TurnKey]: ...

    @overload
    async def expired(
        self,
        kind: Literal[Kind.FEEDBACK],
        *,
        older_than_us: int | None,
        keep: int | None,
        limit: int,
    ) -> Sequence[str]: ...

    async def expired(
        self, kind: Kind, *, older_than_us: int | None, keep: int | None, limit: int
    ) -> Sequence[TurnKey] | Sequence[str]:
        """The oldest that are older than that, or beyond as many."""
        ...


@dataclass(frozen=True, slots=True)
class Bound:
    """What of one kind is too much now."""

    older_than_us: int | None
    keep: int | None

    @property
    def holds_all(self) -> bool:
        """Whether nothing ever is."""
        return self.older_than_us is None and self.keep is None


def bound_of(keep: Keep, now: datetime) -> Bound:
    """Return what the configuration means at a moment."""
    if keep.max_age_days is None:
        return Bound(None, keep.max_count)
    return Bound(microseconds(now - timedelta(days=keep.max_age_days)), keep.max_count)


def said(keep: Keep) -> str:
    """Return the limits as an audit line names them."""
    limits = {"max_age_days": keep.max_age_days, "max_count": keep.max_count}
    return " ".join(f"{name}={value}" for name, value in limits.items() if value is not None)


class Retention:
    """Removes what expired, oldest first, with its copies; an audit line a piece says so.

    Several processes may look at once: what another one removed first is not counted twice.
    """

    def __init__(
        self,
        store: RetentionStore,
        forgetting: Forgetting,
        *,
        turns: Keep,
        feedback: Keep,
        look_for_s: float = LOOK_FOR_S,
    ) -> None:
        self._store = store
        self._forgetting = forgetting
        self._keep = {Kind.TURN: turns, Kind.FEEDBACK: feedback}
        self._look_for_s = look_for_s

    @property
    def is_needed(self) -> bool:
        """Whether anything ever expires."""
        return any(said(keep) for keep in self._keep.values())

    async def look(self) -> None:
        """Remove what has expired by now, as far as the time for one look goes."""
        until = monotonic() + self._look_for_s
        now = datetime.now(UTC)
        for kind, remove in (
            (Kind.TURN, self._remove_turns),
            (Kind.FEEDBACK, self._remove_feedback),
        ):
            bound = bound_of(self._keep[kind], now)
            removed = 0
            more = not bound.holds_all
            while more and monotonic() < until:
                count, more = await remove(bound, said(self._keep[kind]))
                removed += count
            if removed:
                logger.info("Retention removed %d of kind %s", removed, kind.value)

    async def _remove_turns(self, bound: Bound, subject: str) -> tuple[int, bool]:
        """Remove up to `PIECE`; return how many, and whether there may be more."""
        keys = await self._store.expired(
            Kind.TURN, older_than_us=bound.older_than_us, keep=bound.keep, limit=PIECE
        )
        forgotten = await self._forgetting.forget_copies(keys, conversations=True)
        if forgotten.fault is not None:
            logger.warning(
                "Failed to remove copies of %d expired turns, they stay until the next look: %s",
                len(keys) - len(forgotten.gone),
                type(forgotten.fault).__name__,
            )
        if not forgotten.gone:
            return 0, False
        line = audit_line(ACTOR, "expire_turns", subject)
        turns, _ = await self._store.remove(forgotten.gone, audit=line)
        return turns, len(keys) == PIECE

    async def _remove_feedback(self, bound: Bound, subject: str) -> tuple[int, bool]:
        """Remove up to `PIECE`; return how many, and whether there may be more."""
        ids = await self._store.expired(
            Kind.FEEDBACK, older_than_us=bound.older_than_us, keep=bound.keep, limit=PIECE
        )
        if not ids:
            return 0, False
        line = audit_line(ACTOR, "expire_feedback", subject)
        return await self._store.remove_feedback(ids, line), len(ids) == PIECE
