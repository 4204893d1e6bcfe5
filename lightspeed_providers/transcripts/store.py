"""Turns and feedback in SQL, on SQLite or PostgreSQL.

The host's own store object can't do what a record needs (indexes, order, search, removal with a
trace, creating its tables after a database was away at first), so only its engine is used.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal, overload

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from . import changes, feedback_queries, removal
from .adding import add_feedback, add_turns
from .database import ANSWER_WITHIN_S, Database, StoreAwayError
from .migrations import bring_up_to_date
from .rows import (
    AuditRow,
    Change,
    FeedbackCount,
    FeedbackFilter,
    FeedbackRow,
    Kind,
    Stored,
    TurnFacts,
    TurnFilter,
    TurnKey,
    TurnRow,
)
from .schema import tables
from .search import forget_words
from .turn_queries import list_turns

__all__ = ["StoreAwayError", "TranscriptStore"]

FACTS_AT_ONCE = 5000
REMOVE_WITHIN_S = 30.0
TIDY_WITHIN_S = 0.5


class TranscriptStore:
    """The tables whose names begin with one name, opened on first use in the loop that uses them.

    Every method raises StoreAwayError where the database does not answer.
    """

    def __init__(
        self, create_engine: Callable[[], AsyncEngine], table_name: str, *, sync_commits: bool
    ) -> None:
        self._tables = tables(table_name)
        self._database = Database(
            create_engine,
            lambda engine: bring_up_to_date(engine, self._tables),
            sync_commits=sync_commits,
        )

    async def check_version(self) -> None:
        """Bring the tables to this release's layout, refuse those of a newer one, and close again.

        A database that is away is no error: it is looked at again on first use.
        """
        try:
            await self._database.open_once()
        except StoreAwayError:
            return

    async def insert_turns(self, rows: Sequence[TurnRow]) -> None:
        """Commit the turns; one that is there already is left, one that was removed stays away."""
        if rows:
            await self._database.write(
                lambda connection: add_turns(connection, self._tables, rows), within_s=None
            )

    async def insert_feedback(self, row: FeedbackRow) -> None:
        """Commit one piece of feedback, once."""
        await self._database.write(
            lambda connection: add_feedback(connection, self._tables, row),
            within_s=ANSWER_WITHIN_S,
        )

    async def turns(
        self, which: TurnFilter, *, limit: int, before: int | None = None
    ) -> list[Stored]:
        """Up to `limit` turns, newest first, of those before a position."""
        async with self._database.reading() as connection:
            return await list_turns(connection, self._tables, which, limit=limit, before=before)

    async def conversation(
        self, which: TurnFilter, *, limit: int, after: int | None = None
    ) -> list[Stored]:
        """Up to `limit` turns, oldest first, of those after a position."""
        async with self._database.reading() as connection:
            return await list_turns(
                connection, self._tables, which, limit=limit, after=after, oldest_first=True
            )

    async def record_of(self, turn_id: str, user_hash: str | None) -> str | None:
        """The turn, where it is the user's; None for the user takes anybody's."""
        turns = self._tables.turns.c
        query = sa.select(turns.record).where(turns.turn_id == turn_id)
        if user_hash is not None:
            query = query.where(turns.user_hash == user_hash)
        async with self._database.reading() as connection:
            record: str | None = (await connection.execute(query)).scalar_one_or_none()
        return record

    async def feedback_record_of(self, feedback_id: str, user_hash: str | None) -> str | None:
        """The feedback, where it is the user's; None for the user takes anybody's."""
        feedback = self._tables.feedback.c
        query = sa.select(feedback.record).where(feedback.feedback_id == feedback_id)
        if user_hash is not None:
            query = query.where(feedback.user_hash == user_hash)
        async with self._database.reading() as connection:
            record: str | None = (await connection.execute(query)).scalar_one_or_none()
        return record

    async def owns_conversation(self, user_hash: str, conversation_id: str) -> bool | None:
        """Whether the user has a turn in the conversation, or None where nobody has."""
        turns = self._tables.turns.c
        in_conversation = sa.select(turns.position).where(turns.conversation_id == conversation_id)
        query = sa.select(
            in_conversation.where(turns.user_hash == user_hash).exists(), in_conversation.exists()
        )
        async with self._database.reading() as connection:
            own, known = (await connection.execute(query)).one()
        return bool(own) if known else None

    async def prompt_of(
        self, turn_id: str | None, conversation_id: str | None, user_hash: str
    ) -> tuple[str, str] | None:
        """Profile and prompt version of the user's turn, or of the conversation's newest one."""
        turns = self._tables.turns.c
        of_turn = (
            turns.turn_id == turn_id
            if turn_id is not None
            else turns.conversation_id == conversation_id
        )
        query = (
            sa.select(turns.profile, turns.prompt_version)
            .where(of_turn, turns.user_hash == user_hash)
            .order_by(turns.position.desc())
            .limit(1)
        )
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else (row.profile, row.prompt_version)

    async def feedback(
        self, which: FeedbackFilter, *, limit: int, before: int | None = None
    ) -> list[Stored]:
        """Up to `limit` pieces of feedback, newest first, of those before a position."""
        async with self._database.reading() as connection:
            return await feedback_queries.list_feedback(
                connection, self._tables, which, limit=limit, before=before
            )

    async def feedback_counts(self, which: FeedbackFilter) -> list[FeedbackCount]:
        """How much feedback there is, by day, profile, prompt version and sentiment."""
        async with self._database.reading() as connection:
            return await feedback_queries.count_feedback(connection, self._tables, which)

    async def category_counts(self, which: FeedbackFilter) -> dict[str, int]:
        """How much feedback names each category."""
        async with self._database.reading() as connection:
            return await feedback_queries.count_categories(connection, self._tables, which)

    async def keys(
        self,
        *,
        turn_id: str | None = None,
        conversation_id: str | None = None,
        user_hash: str | None = None,
        limit: int,
    ) -> list[TurnKey]:
        """Up to `limit` turns that all given ids fit, oldest first; at least one id is given."""
        async with self._database.reading() as connection:
            return await removal.turn_keys(
                connection,
                self._tables,
                turn_id=turn_id,
                conversation_id=conversation_id,
                user_hash=user_hash,
                limit=limit,
            )

    async def later_in_chain(self, key: TurnKey) -> list[str]:
        """Responses of the conversation's later turns and of all that follow, in any number of
        steps.
        """
        async with self._database.reading() as connection:
            return await removal.later_responses(connection, self._tables, key)

    async def remove(
        self,
        turn_ids: Sequence[str],
        *,
        feedback_of_user: str | None = None,
        feedback_of_conversation: str | None = None,
        audit: AuditRow | None,
    ) -> tuple[int, int]:
        """Remove turns, feedback on them, and feedback of a user or conversation, at once.

        Returns how many turns and how much feedback; the audit line gets these numbers.
        """
        removed = await self._database.write(
            lambda connection: removal.remove_turns(
                connection,
                self._tables,
                turn_ids,
                feedback_of_user=feedback_of_user,
                feedback_of_conversation=feedback_of_conversation,
                audit=audit,
            ),
            within_s=REMOVE_WITHIN_S,
        )
        await self.tidy(within_s=TIDY_WITHIN_S)
        return removed

    async def remove_feedback(self, feedback_ids: Sequence[str], audit: AuditRow | None) -> int:
        """Remove feedback; how much there was, which the audit line says too."""
        removed = await self._database.write(
            lambda connection: removal.remove_feedback(
                connection, self._tables, feedback_ids, audit=audit
            ),
            within_s=REMOVE_WITHIN_S,
        )
        await self.tidy(within_s=TIDY_WITHIN_S)
        return removed

    async def tidy(self, *, within_s: float) -> bool:
        """Take what was removed out of SQLite's files too; False where the time was too short.

        It goes on where it stopped, so a large store is tidied by calling again, in peace.
        """
        deadline = time.monotonic() + within_s
        try:
            while True:
                more = await self._database.write(
                    lambda connection: forget_words(connection, self._tables),
                    within_s=ANSWER_WITHIN_S,
                )
                if not more:
                    await self._database.empty_log()
                    return True
                if time.monotonic() > deadline:
                    return False
        except StoreAwayError:  # locked: what was removed is removed, tidying can wait
            return False

    @overload
    async def expired(
        self,
        kind: Literal[Kind.TURN],
        *,
        older_than_us: int | None,
        keep: int | None,
        limit: int,
    ) -> list[TurnKey]: ...

    @overload
    async def expired(
        self,
        kind: Literal[Kind.FEEDBACK],
        *,
        older_than_us: int | None,
        keep: int | None,
        limit: int,
    ) -> list[str]: ...

    async def expired(
        self, kind: Kind, *, older_than_us: int | None, keep: int | None, limit: int
    ) -> list[TurnKey] | list[str]:
        """Up to `limit` that are too old or beyond the newest `keep`, oldest first."""
        look = removal.expired_turns if kind is Kind.TURN else removal.expired_feedback
        async with self._database.reading() as connection:
            return await look(
                connection, self._tables, older_than_us=older_than_us, keep=keep, limit=limit
            )

    async def audit(self, *, limit: int, before: int | None = None) -> list[tuple[int, AuditRow]]:
        """Up to `limit` numbered audit lines, newest first, of those before a number."""
        audit = self._tables.audit.c
        query = sa.select(*audit).order_by(audit.number.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.number < before)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [(row.number, AuditRow(*row[1:])) for row in rows]

    async def changes(self, after_seq: int, *, limit: int) -> list[Change]:
        """Up to `limit` changes in the order of their commits, of those after a number."""
        async with self._database.reading() as connection:
            return await changes.list_changes(connection, self._tables, after_seq, limit)

    async def newest_seq(self) -> int:
        """The number of the newest change, 0 where there was none."""
        async with self._database.reading() as connection:
            return await changes.newest_seq(connection, self._tables)

    async def facts(self, since_us: int, until_us: int) -> AsyncIterator[list[TurnFacts]]:
        """The facts of the turns of that time in pieces, oldest first."""
        after = since_us - 1
        while after < until_us - 1:
            async with self._database.reading() as connection:
                piece, after = await changes.facts_between(
                    connection, self._tables, after, until_us, FACTS_AT_ONCE
                )
            if piece:
                yield piece

    async def close(self) -> None:
        """Give the connections back; the next use opens them again."""
        await self._database.close()
