"""Rows of the host's SQL stores (responses, conversations, chat completions, files) by user.

Without a configured `access_policy` a row is for the user that wrote it: not for others of the same
role or team, as the host has it, and what nobody in particular wrote is for nobody in particular.
With one, the policy says who may read, and, other than in the host, who may change and delete.
Whoever changes a row never becomes its owner.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from llama_stack.core.access_control.access_control import AccessDeniedError
from llama_stack.core.access_control.datatypes import Action
from llama_stack.core.datatypes import User
from llama_stack.core.request_headers import get_authenticated_user
from llama_stack.core.storage.sqlstore.authorized_sqlstore import (
    AuthorizedSqlStore,
    SqlRecord,
)
from llama_stack_api import PaginatedResponse

from lightspeed_providers.core.errors import NotFoundError

_ITEMS = "conversation_items"
_OWNER = "owner_principal"

type Row = Mapping[str, Any]  # Any: a JSON column is whatever the host writes

_where_of_policy = AuthorizedSqlStore._build_access_control_where_clause
_fetch_all = AuthorizedSqlStore.fetch_all
_insert = AuthorizedSqlStore.insert
_upsert = AuthorizedSqlStore.upsert


def keep_rows_apart() -> None:
    """Replace the host's rules on its one class for such rows, whoever has built a store of it."""
    rules = {
        "_build_access_control_where_clause": where_visible,
        "fetch_all": fetch_all,
        "insert": insert,
        "upsert": upsert,
        "update": update,
        "delete": delete,
    }
    for name, rule in rules.items():
        setattr(AuthorizedSqlStore, name, rule)


def where_visible(
    store: AuthorizedSqlStore,
    policy: list[Any],  # Any: the host's access rules
) -> tuple[str, dict[str, Any]]:
    """Return the SQL condition, with its values, of rows that the request's user may see."""
    if policy:
        return _where_of_policy(store, policy)
    return f"{_OWNER} = :visible_to", {"visible_to": _owner()}


async def fetch_all(
    store: AuthorizedSqlStore,
    table: str,
    where: Row | None = None,
    limit: int | None = None,
    order_by: list[tuple[str, Any]] | None = None,  # Any: "asc" or "desc"
    cursor: tuple[str, str] | None = None,
    action: Action = Action.READ,
) -> PaginatedResponse:
    """Return a page of rows; somebody else's row is no place to begin after."""
    if cursor is not None:
        key, value = cursor
        begin = await _fetch_all(store, table, {key: value}, 1)
        if not begin.data:
            raise ValueError(f"Record with {key}='{value}' not found in table '{table}'")
    page = await _fetch_all(store, table, where, limit, order_by, cursor, action)
    if page.data or not _names_item(table, where):
        return page
    return await _fetch_all(store, table, _renamed(where or {}), limit, order_by, cursor, action)


async def insert(store: AuthorizedSqlStore, table: str, data: Row | Sequence[Row]) -> None:
    """Insert rows as the request's user's; clients choose the ids of conversations' items."""
    if table != _ITEMS:
        await _insert(store, table, data)
        return
    for row in [data] if isinstance(data, Mapping) else data:
        await upsert(store, table, row, ["id"])


async def upsert(
    store: AuthorizedSqlStore,
    table: str,
    data: Row,
    conflict_columns: list[str],
    update_columns: list[str] | None = None,
) -> None:
    """Insert a row, or change the one that is there if the request's user may.

    An item of a conversation whose id is somebody else's is kept beside theirs: who sends it
    can't tell that there is another.
    """
    key = {column: data[column] for column in conflict_columns}
    if store.policy:
        if await store.sql_store.fetch_one(table, key) is None:
            await _upsert(store, table, data, conflict_columns, update_columns)
            return
        names = update_columns or [name for name in data if name not in key]
        await update(store, table, {name: data[name] for name in names}, key)
        return
    if await _put(store, table, data, conflict_columns, update_columns):
        return
    if table == _ITEMS and await _put(store, table, _renamed(data), ["id"], update_columns):
        return
    raise NotFoundError(f"There is no {key} of yours in '{table}' that could be changed.")


async def update(store: AuthorizedSqlStore, table: str, data: Row, where: Row) -> None:
    """Change rows that the request's user may change; their owner stays."""
    await _check(store, table, where, Action.UPDATE)
    await store.sql_store.update(table, dict(data), _own(store, where))


async def delete(store: AuthorizedSqlStore, table: str, where: Row) -> None:
    """Delete rows that the request's user may delete."""
    await _check(store, table, where, Action.DELETE)
    await store.sql_store.delete(table, _own(store, where))
    if _names_item(table, where):
        await store.sql_store.delete(table, _own(store, _renamed(where)))


def _user() -> User | None:
    user = get_authenticated_user()
    return user if isinstance(user, User) else None


def _owner() -> str:
    user = _user()
    return user.principal if user else ""


def _own(store: AuthorizedSqlStore, where: Row) -> Row:
    return where if store.policy else {**where, _OWNER: _owner()}


async def _check(store: AuthorizedSqlStore, table: str, where: Row, action: Action) -> None:
    """Refuse what the configured policy doesn't permit; without one, `_own` says what is whose."""
    if not store.policy or (await _fetch_all(store, table, where, action=action)).data:
        return
    row = await store.sql_store.fetch_one(table, where)
    if row is not None:
        owner = User(row[_OWNER], row.get("access_attributes")) if row.get(_OWNER) else None
        record = SqlRecord(str(row.get("id", "unknown")), table, owner)
        raise AccessDeniedError(action, record, _user())


async def _put(
    store: AuthorizedSqlStore,
    table: str,
    data: Row,
    conflict_columns: list[str],
    update_columns: list[str] | None,
) -> bool:
    """Insert a row or change the user's own; False where there is one that is not theirs."""
    user = _user()
    attributes = user.attributes if user else None
    row = {**data, _OWNER: _owner(), "access_attributes": attributes}
    # Any: the host types the store by a protocol that offers neither tables nor sessions.
    base: Any = store.sql_store
    await base._ensure_engine()
    target = base.metadata.tables[table]
    statement = base._get_dialect_insert(target).values(**row)
    names = update_columns or [name for name in row if name not in conflict_columns]
    statement = statement.on_conflict_do_update(
        index_elements=[target.c[column] for column in conflict_columns],
        set_={name: statement.excluded[name] for name in names},
        where=target.c[_OWNER] == statement.excluded[_OWNER],
    )
    async with base.async_session() as session:
        await session.execute(statement)
        await session.commit()
    key = {column: data[column] for column in conflict_columns}
    return await base.fetch_one(table, _own(store, key)) is not None


def _names_item(table: str, where: Row | None) -> bool:
    return table == _ITEMS and bool(where) and {"id", "conversation_id"} <= (where or {}).keys()


def _renamed(item: Row) -> dict[str, Any]:  # Any: see Row
    """Return an item, or what names it, under the id it has beside somebody else's."""
    name = f"{item['conversation_id']} {item['id']}".encode(errors="surrogatepass")
    return {**item, "id": f"item_{hashlib.sha256(name).hexdigest()}"}
