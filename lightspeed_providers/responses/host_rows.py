"""Rows of the stores that Llama Stack keeps itself, whoever they belong to, in one transaction.

The host's own access layer shows a row only to its owner, gives it to whoever updates it, and
opens one transaction a call. Deleting is asked by operators and timers too, and must not lie
between another's reading and writing, so this works on the store below that layer. The callers
have checked who may.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from llama_stack.core.datatypes import User
from llama_stack.core.request_headers import get_authenticated_user
from llama_stack.core.storage.sqlstore.authorized_sqlstore import AuthorizedSqlStore
from sqlalchemy import Connection, Executable, Select, Table, event, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from lightspeed_providers.core.errors import UnavailableError
from lightspeed_providers.core.host_stores import steady

Row = dict[str, Any]  # Any: a JSON column is whatever the host wrote


class HostRows:
    """One of the host's databases."""

    def __init__(self, authorized: AuthorizedSqlStore) -> None:
        # Any: the host types the store by a protocol that offers no transaction.
        self._store: Any = authorized.sql_store
        _keep_texts_in(self._store)
        self._file = steady(self._store)
        self._statements = _Statements(self._store)

    async def changed[Given](self, change: Callable[["RowsAtOnce"], Given]) -> Given:
        """Return what a change gives, once it is committed; nobody else writes meanwhile.

        Raises an `UnavailableError` where the database doesn't answer or doesn't take it.
        """
        with _told():
            await self._store._ensure_engine()
            user = get_authenticated_user()  # a thread would not know

            def made(connection: Connection) -> Given:
                return change(RowsAtOnce(connection, self._statements, user))

            if self._file is not None:
                return await self._file.write(made)
            async with self._store._engine.begin() as connection:
                given: Given = await connection.run_sync(made)
                return given

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Rows"]:
        """Give rows that nobody else writes until the end, where all changes hold or none.

        Raises an `UnavailableError` where the database doesn't answer or doesn't take a change.
        """
        with _told():
            await self._store._ensure_engine()
            async with AsyncSession(self._store._engine) as session:
                if self._store._is_sqlite_backend:
                    await session.execute(text("BEGIN IMMEDIATE"))
                yield Rows(session, self._statements)
                await session.commit()

    async def empty_log(self) -> bool:
        """Remove old contents of pages from SQLite's log; False where others were reading it."""
        if not self._store._is_sqlite_backend:
            return True
        with _told():
            await self._store._ensure_engine()
            async with AsyncSession(self._store._engine) as session:
                result = await session.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
                return not result.one()[0]


@contextmanager
def _told() -> Iterator[None]:
    """Tell a database's fault in one line; its own text may hold what was to be written."""
    try:
        yield
    except (SQLAlchemyError, OSError) as fault:
        raise UnavailableError(
            "Llama Stack's database of responses and conversations did not do what it was asked "
            f"({type(fault).__name__}): see that it is up, then try again."
        ) from None


class _Statements:
    """What is asked of a store's tables."""

    def __init__(self, store: Any) -> None:  # Any: see HostRows
        self._store = store
        self._puts: dict[tuple[str, str, str | None], Executable] = {}

    def of(self, table: str, where: dict[str, str]) -> Select[Any]:
        """Select the rows with these values."""
        return select(self._table(table)).filter_by(**where).with_for_update()

    def put(self, table: str, key: str, updating: str | None) -> Executable:
        """Insert a row, or update one column of it; made once, because making it takes longest."""
        known = self._puts.get((table, key, updating))
        if known is None:
            insert = self._store._get_dialect_insert(self._table(table))
            known = self._puts[table, key, updating] = (
                insert.on_conflict_do_nothing(index_elements=[key])
                if updating is None
                else insert.on_conflict_do_update(
                    index_elements=[key], set_={updating: insert.excluded[updating]}
                )
            )
        return known

    def update(self, table: str, values: Row, where: dict[str, str]) -> Executable:
        """Change these columns."""
        return self._table(table).update().filter_by(**where).values(**values)

    def delete(self, table: str, where: dict[str, str]) -> Executable:
        """Delete the rows with these values."""
        return self._table(table).delete().filter_by(**where)

    def _table(self, name: str) -> Table:
        table: Table = self._store.metadata.tables[name]
        return table


class RowsAtOnce:
    """The rows of a database within one transaction, for a change in one step."""

    def __init__(self, connection: Connection, statements: _Statements, owner: User | None) -> None:
        self._connection = connection
        self._statements = statements
        self._owner = owner

    def one(self, table: str, **where: str) -> Row | None:
        """Return the row with these values."""
        rows = self._connection.execute(self._statements.of(table, where)).mappings()
        return next((dict(row) for row in rows), None)

    def put(self, table: str, row: Row, *, key: str, updating: str | None) -> None:
        """Insert a row as the request's user's, or update one column of it; None: leave it."""
        owned = {
            **row,
            # As the host's access layer writes them.
            "owner_principal": self._owner.principal if self._owner else "",
            "access_attributes": self._owner.attributes if self._owner else None,
        }
        self._connection.execute(self._statements.put(table, key, updating), owned)

    def update(self, table: str, values: Row, **where: str) -> None:
        """Change these columns; the row's owner stays."""
        self._connection.execute(self._statements.update(table, values, where))


class Rows:
    """The rows of a database within one transaction."""

    def __init__(self, session: AsyncSession, statements: _Statements) -> None:
        self._session = session
        self._statements = statements

    async def one(self, table: str, **where: str) -> Row | None:
        """Return the row with these values."""
        return next(iter(await self.all(table, **where)), None)

    async def all(self, table: str, **where: str) -> list[Row]:
        """Return the rows with these values."""
        found = await self._session.execute(self._statements.of(table, where))
        return [dict(row) for row in found.mappings()]

    async def update(self, table: str, values: Row, **where: str) -> None:
        """Change these columns; the row's owner stays."""
        await self._session.execute(self._statements.update(table, values, where))

    async def delete(self, table: str, **where: str) -> None:
        """Delete the rows with these values."""
        await self._session.execute(self._statements.delete(table, where))


def _keep_texts_in(store: Any) -> None:  # Any: see HostRows
    """Let texts survive neither in SQLite's free pages nor in the errors that the host logs.

    A response is written several times while its turn goes on, so the host's own connections leave
    old texts behind as well. Some builds of SQLite overwrite by default, others don't.
    """
    if getattr(store, "keeps_texts_in", False):
        return
    create_engine = store.create_engine

    def create_discreet_engine() -> Any:  # Any: the host's engine, passed on
        engine = create_engine()
        engine.sync_engine.hide_parameters = True
        if store._is_sqlite_backend:
            event.listen(engine.sync_engine, "connect", _set_secure_delete)
        return engine

    store.create_engine = create_discreet_engine
    store.keeps_texts_in = True


def _set_secure_delete(connection: Any, _: object) -> None:  # Any: a driver's connection
    cursor = connection.cursor()
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()
