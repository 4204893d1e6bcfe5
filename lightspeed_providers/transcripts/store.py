"""Turns and feedback in SQL, one row each with the whole record as JSON text.

The host's own store object can't do what a record needs (indexes, paging by two columns, ignoring
a row that is there already, creating its tables after a database was away at first), so only its
engine is used. Every read is bound to one user.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lightspeed_providers.core.errors import UnavailableError

from .writer import AwayError

ANSWER_WITHIN_S = 5.0
SQLITE_BUSY_MS = 1500  # below a strict turn's wait and the drain's deadline; the writer retries


class StoreAwayError(AwayError, UnavailableError):
    """The database of the transcripts doesn't answer."""

    def __init__(self, cause: BaseException) -> None:
        UnavailableError.__init__(
            self,
            f"The transcript store does not answer ({type(cause).__name__}): "
            "check its database and try again.",
        )


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn as a row."""

    turn_id: str
    received_us: int
    user_hash: str
    conversation_id: str | None
    response_id: str | None
    outcome: str
    model: str | None
    record: str


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """Feedback as a row."""

    feedback_id: str
    created_us: int
    user_hash: str
    conversation_id: str | None
    turn_id: str | None
    sentiment: int | None
    record: str


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list of turns, newest first."""

    received_us: int
    turn_id: str


def microseconds(moment: datetime) -> int:
    """The moment as an exact number that sorts; one without a time zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


class TranscriptStore:
    """The two tables, opened on first use in the loop that uses them."""

    def __init__(
        self, create_engine: Callable[[], AsyncEngine], table_name: str, *, sync_commits: bool
    ) -> None:
        self._create_engine = create_engine
        self._sync_commits = sync_commits
        self._metadata = sa.MetaData()
        self._turns = _turns_table(self._metadata, table_name)
        self._feedback = _feedback_table(self._metadata, f"{table_name}_feedback")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._engine: AsyncEngine | None = None

    async def insert_turns(self, rows: Sequence[TurnRow]) -> None:
        """Commit the rows; one that is there already is left as it is."""
        async with self._connection() as connection:
            insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            statement = insert(self._turns).on_conflict_do_nothing()
            await connection.execute(statement, [asdict(row) for row in rows])

    async def page(
        self,
        user_hash: str,
        *,
        limit: int,
        after: Position | None = None,
        conversation_id: str | None = None,
        response_id: str | None = None,
        outcome: str | None = None,
    ) -> list[tuple[Position, str]]:
        """Up to `limit` records of the user, newest first, each with its position."""
        turns = self._turns.c
        query = sa.select(turns.received_us, turns.turn_id, turns.record).where(
            turns.user_hash == user_hash
        )
        if after is not None:
            here = sa.tuple_(
                sa.literal(after.received_us, sa.BigInteger), sa.literal(after.turn_id, sa.String)
            )
            query = query.where(sa.tuple_(turns.received_us, turns.turn_id) < here)
        if conversation_id is not None:
            query = query.where(turns.conversation_id == conversation_id)
        if response_id is not None:
            query = query.where(turns.response_id == response_id)
        if outcome is not None:
            query = query.where(turns.outcome == outcome)
        query = query.order_by(turns.received_us.desc(), turns.turn_id.desc()).limit(limit)
        async with self._promptly() as connection:
            rows = (await connection.execute(query)).all()
        return [(Position(row.received_us, row.turn_id), row.record) for row in rows]

    async def record_of(self, user_hash: str, turn_id: str) -> str | None:
        """The user's turn, or None."""
        turns = self._turns.c
        query = sa.select(turns.record).where(
            turns.user_hash == user_hash, turns.turn_id == turn_id
        )
        async with self._promptly() as connection:
            record: str | None = (await connection.execute(query)).scalar_one_or_none()
        return record

    async def owns_conversation(self, user_hash: str, conversation_id: str) -> bool | None:
        """Whether the user has a turn in the conversation, or None where nobody has."""
        turns = self._turns.c
        in_conversation = sa.select(turns.turn_id).where(turns.conversation_id == conversation_id)
        query = sa.select(
            in_conversation.where(turns.user_hash == user_hash).exists(), in_conversation.exists()
        )
        async with self._promptly() as connection:
            own, known = (await connection.execute(query)).one()
        return bool(own) if known else None

    async def insert_feedback(self, row: FeedbackRow) -> None:
        """Commit one piece of feedback."""
        async with self._promptly() as connection:
            await connection.execute(sa.insert(self._feedback), asdict(row))

    async def feedback_on(self, user_hash: str, turn_id: str) -> list[str]:
        """The user's feedback on the turn, oldest first."""
        feedback = self._feedback.c
        query = (
            sa.select(feedback.record)
            .where(feedback.user_hash == user_hash, feedback.turn_id == turn_id)
            .order_by(feedback.created_us, feedback.feedback_id)
        )
        async with self._promptly() as connection:
            return list((await connection.execute(query)).scalars())

    async def close(self) -> None:
        """Give the connections back; the next use opens them again."""
        engine, self._engine = self._engine, None
        if engine is not None and self._loop is asyncio.get_running_loop():
            await engine.dispose()

    @asynccontextmanager
    async def _promptly(self) -> AsyncIterator[AsyncConnection]:
        """A connection for work that somebody waits for."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S), self._connection() as connection:
                yield connection
        except TimeoutError as error:
            raise StoreAwayError(error) from error

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose transaction is committed at the end."""
        engine = await self._open()
        try:
            async with engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            if _fault_of_the_row(error):
                raise
            raise StoreAwayError(error) from error

    async def _open(self) -> AsyncEngine:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # connections belong to the loop that opened them
            self._loop, self._engine, self._opening = loop, None, asyncio.Lock()
        async with self._opening:
            if self._engine is None:
                self._engine = await self._opened()
            return self._engine

    async def _opened(self) -> AsyncEngine:
        try:
            engine = self._create_engine()
            if engine.dialect.name == "sqlite":
                _tune_sqlite(engine, self._sync_commits)
            try:
                async with engine.begin() as connection:
                    await connection.run_sync(self._metadata.create_all)
            except BaseException:
                await engine.dispose()
                raise
        except (SQLAlchemyError, OSError) as error:
            raise StoreAwayError(error) from error
        return engine


def _turns_table(metadata: sa.MetaData, name: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("turn_id", sa.String, primary_key=True),
        sa.Column("received_us", sa.BigInteger, nullable=False),
        sa.Column("user_hash", sa.String, nullable=False),
        sa.Column("conversation_id", sa.String),
        sa.Column("response_id", sa.String, index=True),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("model", sa.String),
        sa.Column("record", sa.Text, nullable=False),
        sa.Index(f"ix_{name}_user", "user_hash", "received_us", "turn_id"),
        sa.Index(f"ix_{name}_conversation", "conversation_id", "user_hash", "received_us"),
    )


def _feedback_table(metadata: sa.MetaData, name: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("feedback_id", sa.String, primary_key=True),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("user_hash", sa.String, nullable=False),
        sa.Column("conversation_id", sa.String, index=True),
        sa.Column("turn_id", sa.String, index=True),
        sa.Column("sentiment", sa.Integer),
        sa.Column("record", sa.Text, nullable=False),
    )


def _tune_sqlite(engine: AsyncEngine, sync_commits: bool) -> None:
    """Wait briefly for locks, and where asked let a commit mean that it is on the disk."""

    @sa.event.listens_for(engine.sync_engine, "connect")
    def _pragmas(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MS}")
        if sync_commits:
            cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()


def _fault_of_the_row(error: Exception) -> bool:
    """Whether the database refuses what is written, so that trying again is of no use."""
    if isinstance(error, IntegrityError | DataError):
        return True
    # asyncpg's errors arrive as plain ones with their SQLSTATE: data, integrity, program limit.
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return isinstance(state, str) and state[:2] in ("22", "23", "54")
