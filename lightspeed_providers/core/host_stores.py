"""Llama Stack's SQLite stores, made to hold under load.

The host runs a transaction in about twenty steps of its event loop. One that has begun to write
keeps SQLite's lock until the loop comes back to it; up to fifteen connections of the same process
wait for that lock, in no order, and whoever has waited for five seconds fails. Writes of chat
completions are tasks that nobody waits for, so that fails are logged as stack traces, which hold
the loop for seconds each, and with it the lock: the next five seconds are over for all others.

Here a transaction is one step of one thread that does nothing else, first come, first served:
the lock is never held while the loop does something else, and nobody waits for it in vain.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool, StaticPool

BUSY_MS = 5000
"""How long other programs may hold the lock; the host's own value."""
_READERS = 4

type Change[Given] = Callable[[sa.Connection], Given]


class SqliteFile:
    """One SQLite file: a thread that writes, and some that read."""

    def __init__(self, url: sa.URL) -> None:
        url = url.set(drivername="sqlite")
        self._writing = _engine(url, StaticPool)
        self._reading = _engine(url, QueuePool, pool_size=_READERS, max_overflow=0)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="sqlite-reader")

    async def write[Given](self, change: Change[Given]) -> Given:
        """Return what a change gives, once it is committed."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._written, change)

    def _written[Given](self, change: Change[Given]) -> Given:
        with self._writing.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return change(connection)

    async def read(self, query: sa.Executable) -> sa.Result[Any]:
        """Return what a query gives, all of it."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, query)

    def _read(self, query: sa.Executable) -> sa.Result[Any]:
        with self._reading.connect() as connection:
            return connection.execute(query).freeze()()

    async def close(self) -> None:
        """Close the connections, after what is being written; the next use opens them again."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._writing.dispose)
        self._reading.dispose()


def steady(store: Any) -> SqliteFile | None:  # Any: the host's SqlAlchemySqlStoreImpl
    """Let a store of the host write and read in threads of its own; None where it is no SQLite.

    Beside that, whoever comes while the tables are being made waits for them: the host lets others
    pass, who then fail. And texts survive neither in free pages nor in the errors that are logged.
    """
    if not getattr(store, "_is_sqlite_backend", False):
        return None
    known: SqliteFile | None = getattr(store, "steady_file", None)
    if known is not None:
        return known
    file = SqliteFile(sa.make_url(store.config.engine_str))
    opening = _Opening(store, file)
    store.steady_file = file
    store._ensure_engine = opening.opened
    store.shutdown = opening.closed
    return file


def steady_completions(inference: Any) -> None:  # Any: the host's inference router
    """Let the store in which a router keeps chat completions hold under load, if it has one."""
    kept = getattr(getattr(inference, "store", None), "sql_store", None)
    if kept is not None:
        steady(kept.sql_store)


class _Opening:
    """Opens a store for the first who comes; all others wait until it is open."""

    def __init__(self, store: Any, file: SqliteFile) -> None:  # Any: see `steady`
        self._store = store
        self._file = file
        self._open: Callable[[], Awaitable[None]] = store._ensure_engine
        self._close: Callable[[], Awaitable[None]] = store.shutdown
        self._opening = asyncio.Lock()
        self._is_open = False

    async def opened(self) -> None:
        """Return when there are tables."""
        if self._is_open:
            return
        async with self._opening:
            if not self._is_open:
                await self._open()
                self._store.async_session = lambda: _Session(self._file)
                self._is_open = True

    async def closed(self) -> None:
        """Close all connections."""
        self._is_open = False
        await self._file.close()
        await self._close()


class _Session:
    """As much of a session as the host's store uses: changes run when they are committed."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._changes: list[tuple[sa.Executable, Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None
    ) -> None:
        self._changes.clear()

    async def execute(self, statement: sa.Executable, parameters: Any = None) -> Any:
        """Return what a query gives, or keep a change until it is committed."""
        if statement.is_select:
            return await self._file.read(statement)
        self._changes.append((statement, parameters))
        return None

    async def commit(self) -> None:
        """Make all changes, or none."""
        changes, self._changes = self._changes, []

        def make(connection: sa.Connection) -> None:
            for statement, parameters in changes:
                connection.execute(statement, parameters)

        await self._file.write(make)


def _engine(url: sa.URL, pool: type[sa.Pool], **options: int) -> sa.Engine:
    engine = sa.create_engine(
        url,
        poolclass=pool,
        hide_parameters=True,  # errors are logged
        connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000},
        **options,
    )
    sa.event.listen(engine, "connect", _tune)
    return engine


def _tune(connection: Any, _: object) -> None:  # Any: a driver's connection
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()
