"""Which turns: every filter walks an index newest first, so a page costs what it shows."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .rows import Stored, TurnFilter
from .schema import Tables
from .search import fts5_match, tsquery

CROWDED_US = 1_000_000
"""How far turns of one moment may stand behind it: a position is a moment or just after it."""

LOOKED_THROUGH = 200
"""Turns whose words PostgreSQL compares one by one before it asks the index of words."""


async def list_turns(
    connection: AsyncConnection,
    tables: Tables,
    which: TurnFilter,
    *,
    limit: int,
    before: int | None = None,
    after: int | None = None,
    oldest_first: bool = False,
) -> list[Stored]:
    """Up to `limit` records in order."""
    place = _place(tables, which, connection.dialect.name)
    query = sa.select(place.label("place")).where(*_conditions(tables, which, place, before, after))
    query = query.order_by(place.asc() if oldest_first else place.desc())
    places: sa.Select[int] | Sequence[int] = query.limit(limit)
    if which.text is not None and connection.dialect.name == "sqlite":
        match = fts5_match(tables, which.text, which.user_hash)
        places = query.where(match).limit(limit)
    elif which.text is not None:
        words = tsquery(which.text, which.user_hash)
        places = await _with_words(
            connection, tables, words, query, place, limit=limit, oldest_first=oldest_first
        )
    turns = tables.turns.c
    records = (
        sa.select(turns.position, turns.record)
        .where(turns.position.in_(places))
        .order_by(turns.position.asc() if oldest_first else turns.position.desc())
    )
    return [Stored(row.position, row.record) for row in await connection.execute(records)]


def _place(tables: Tables, which: TurnFilter, dialect: str) -> sa.ColumnElement[int]:
    """The column whose index gives the turns in order: that of the rarest filter."""
    if which.text is not None and dialect == "sqlite":
        return tables.search.c.rowid
    if which.shield is not None:
        return tables.shields.c.position
    return tables.turns.c.position


def _conditions(
    tables: Tables,
    which: TurnFilter,
    place: sa.ColumnElement[int],
    before: int | None,
    after: int | None,
) -> list[sa.ColumnElement[bool]]:
    turns, shields = tables.turns.c, tables.shields.c
    of_turn = [
        column == value
        for column, value in (
            (turns.conversation_id, which.conversation_id),
            (turns.response_id, which.response_id),
            (turns.outcome, which.outcome),
            (turns.profile, which.profile),
            (turns.model, which.model),
            (turns.has_feedback, which.has_feedback),
        )
        if value is not None
    ]
    of_place: list[sa.ColumnElement[bool]] = []
    if which.since_us is not None:
        of_place.append(place >= which.since_us)
        of_turn.append(turns.received_us >= which.since_us)
    if which.until_us is not None:
        of_place.append(place < which.until_us + CROWDED_US)
        of_turn.append(turns.received_us < which.until_us)
    if before is not None:
        of_place.append(place < before)
    if after is not None:
        of_place.append(place > after)
    if which.shield is not None:
        of_shield = shields.shield == which.shield
        if place is shields.position:
            of_place.append(of_shield)
        else:
            of_turn.append(turns.position.in_(sa.select(shields.position).where(of_shield)))
    if which.user_hash is not None:
        if place is shields.position:
            of_place.append(shields.user_hash == which.user_hash)
        elif place is turns.position:
            of_turn.append(turns.user_hash == which.user_hash)
        # Among words the user is one of them.
    if of_turn and place is not turns.position:
        of_turn.append(turns.position == place)
    return of_place + of_turn


async def _with_words(
    connection: AsyncConnection,
    tables: Tables,
    words: sa.ColumnElement[object] | None,
    query: sa.Select[int],
    place: sa.ColumnElement[int],
    *,
    limit: int,
    oldest_first: bool,
) -> Sequence[int]:
    """The first of the query's turns that have the words, on PostgreSQL.

    Its index of words keeps no order: for a common word it would sort all turns to show some. So
    the first turns are compared one by one, and the index is asked where they don't fill a page.
    """
    if words is None:
        return []
    search = tables.search.c
    first = query.limit(LOOKED_THROUGH).cte("first_turns").prefix_with("MATERIALIZED")
    compared = sa.select(first.c.place, search.words.op("@@")(words).label("has_words")).join(
        tables.search, search.position == first.c.place
    )
    rows = sorted(
        (await connection.execute(compared)).all(),
        key=lambda row: int(row.place),
        reverse=not oldest_first,
    )
    found = [row.place for row in rows if row.has_words][:limit]
    if len(found) == limit or len(rows) < LOOKED_THROUGH:
        return found
    matches = sa.select(search.position).where(search.words.op("@@")(words))
    all_matches = matches.cte("matches").prefix_with("MATERIALIZED")
    ordered = query.where(place.in_(sa.select(all_matches.c.position))).limit(limit)
    return list((await connection.execute(ordered)).scalars())
