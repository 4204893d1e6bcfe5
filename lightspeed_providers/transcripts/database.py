"""The database of the transcripts: opened on first use in the loop that uses it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lightspeed_providers.core.errors import UnavailableError

from .writer import AwayError

ANSWER_WITHIN_S = 5.0
ABANDONED_AFTER_S = 30  # PostgreSQL itself ends what nobody waits for any more
SQLITE_BUSY_MS = 1500  # below a strict turn's wait and the drain's deadline; the writer retries


class StoreAwayError(AwayError, UnavailableError):
    """The database of the transcripts doesn't answer."""

    def __init__(self, cause: BaseException) -> None:
        UnavailableError.__init__(
            self,
            f"The transcript store does not answer ({type(cause).__name__}): "
            "check its database and try again.",
        )


class Database:
    """Hands out connections; what goes wrong with them is StoreAwayError."""

    def __init__(
        self,
        create_engine: Callable[[], AsyncEngine],
        prepare: Callable[[AsyncEngine], Awaitable[None]],
        *,
        sync_commits: bool,
    ) -> None:
        self._create_engine = create_engine
        self._prepare = prepare
        self._sync_commits = sync_commits
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._engine: AsyncEngine | None = None
        self._writer: _SqliteWriter | None = None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for a question that somebody waits for."""
        async with (
            _within(ANSWER_WITHIN_S),
            self._transaction() as connection,
            _interrupted_after(connection, ANSWER_WITHIN_S),
        ):
            yield connection

    async def write[Given](
        self, change: Callable[[sa.Connection], Given], *, within_s: float | None
    ) -> Given:
        """What a change gives, once it is committed; None leaves the time to the caller.

        SQLite's changes run whole in a thread of their own: with a step of the event loop for
        each statement, writing a turn costs the requests beside it several times as much.
        """
        async with _within(within_s):
            await self._open()
            if self._writer is None:
                async with self._transaction() as connection:
                    return await connection.run_sync(change)
            # A thread can't be stopped: who writes next waits for it, even if nobody else does.
            committed = asyncio.create_task(self._in_turn(self._writer, change))
            committed.add_done_callback(_forget_outcome)
            return await asyncio.shield(committed)

    async def _in_turn[Given](
        self, writer: "_SqliteWriter", change: Callable[[sa.Connection], Given]
    ) -> Given:
        # SQLite lets one write at a time and wakes those that wait in no order.
        async with self._writing:
            with _away_errors():
                return await writer.commit(change)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        engine = await self._open()
        with _away_errors():
            async with engine.begin() as connection:
                yield connection

    async def empty_log(self) -> None:
        """Bring what SQLite's write-ahead log holds into the file, and leave nothing in the log."""
        engine = await self._open()
        if engine.dialect.name == "sqlite":
            with _away_errors():
                async with engine.connect() as connection:
                    await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    async def open_once(self) -> None:
        """Open and prepare the database, and close it again."""
        with _away_errors():
            await (await self._opened()).dispose()

    async def close(self) -> None:
        """Give the connections back; the next use opens them again."""
        engine, self._engine = self._engine, None
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()
        if engine is not None and self._loop is asyncio.get_running_loop():
            await engine.dispose()

    async def _open(self) -> AsyncEngine:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # connections belong to the loop that opened them
            self._loop, self._engine = loop, None
            self._opening, self._writing = asyncio.Lock(), asyncio.Lock()
        async with self._opening:
            if self._engine is None:
                with _away_errors():
                    self._engine = await self._opened()
                if self._engine.dialect.name == "sqlite":
                    self._writer = _SqliteWriter(self._engine.url, self._sync_commits)
            return self._engine

    async def _opened(self) -> AsyncEngine:
        engine = self._create_engine()
        if engine.dialect.name == "sqlite":
            _tune_sqlite(engine.sync_engine, self._sync_commits)
        else:
            _tune_postgres(engine)
        try:
            await self._prepare(engine)
        except BaseException:
            await engine.dispose()
            raise
        return engine


@asynccontextmanager
async def _within(seconds: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        if seconds is None:  # the caller's
            raise
        raise StoreAwayError(error) from error


@contextmanager
def _away_errors() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        if _fault_of_the_row(error):
            raise
        raise StoreAwayError(error) from error


@asynccontextmanager
async def _interrupted_after(connection: AsyncConnection, seconds: float) -> AsyncIterator[None]:
    """End SQLite's work after that time: its thread hears of no cancellation, and whoever is
    cancelled waits for it.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    raw = (await connection.get_raw_connection()).driver_connection
    interrupt = cast(sqlite3.Connection, raw._conn).interrupt  # type: ignore[union-attr] # aiosqlite's
    timer = asyncio.get_running_loop().call_later(seconds, interrupt)
    try:
        yield
    finally:
        timer.cancel()


class _SqliteWriter:
    """One thread and its connection, for changes."""

    def __init__(self, url: sa.URL, sync_commits: bool) -> None:
        self._engine = sa.create_engine(
            url.set(drivername="sqlite"), poolclass=sa.StaticPool, hide_parameters=True
        )
        _tune_sqlite(self._engine, sync_commits)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transcripts")

    async def commit[Given](self, change: Callable[[sa.Connection], Given]) -> Given:
        """What the change gives, once it is committed."""

        def committed() -> Given:
            with self._engine.begin() as connection:
                return change(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, committed)

    async def close(self) -> None:
        """Close the connection, after the change that is being made."""
        closed = self._thread.submit(self._engine.dispose)
        self._thread.shutdown(wait=False)
        await asyncio.wrap_future(closed)


def _forget_outcome[Given](committed: asyncio.Task[Given]) -> None:
    if not committed.cancelled():
        committed.exception()


def _tune_sqlite(engine: sa.Engine, sync_commits: bool) -> None:
    """Wait briefly for locks, leave nothing of what is removed, and where asked let a commit mean
    that it is on the disk.
    """

    @sa.event.listens_for(engine, "connect")
    def _pragmas(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if sync_commits else 'NORMAL'}")
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()


def _tune_postgres(engine: AsyncEngine) -> None:
    @sa.event.listens_for(engine.sync_engine, "connect")
    def _settings(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET statement_timeout = '{ABANDONED_AFTER_S}s'")
        cursor.close()
        connection.commit()


def _fault_of_the_row(error: Exception) -> bool:
    """Whether the database refuses what is written, so that trying again is of no use."""
    if isinstance(error, IntegrityError | DataError):
        return True
    # asyncpg's errors arrive as plain ones with their SQLSTATE: data, integrity, program limit.
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return isinstance(state, str) and state[:2] in ("22", "23", "54")
