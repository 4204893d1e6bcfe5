"""What goes into the tables: turns and feedback, each once, numbered in the order of commits."""

from collections.abc import Sequence
from dataclasses import asdict, fields

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from lightspeed_providers.core.errors import NotFoundError

from .rows import FeedbackRow, Kind, TurnRow
from .schema import Tables
from .search import add_words
from .words import user_word, words_of

LOOKED_AHEAD = 1000

_TURN_COLUMNS = tuple(field.name for field in fields(TurnRow) if field.name != "shields")


async def next_seq(connection: AsyncConnection, tables: Tables, count: int) -> int:
    """The first of that many change numbers.

    As the first statement of a transaction it also makes every other writer wait for its end.
    """
    meta = tables.meta
    statement = (
        sa.update(meta)
        .where(meta.c.name == "seq")
        .values(value=meta.c.value + count)
        .returning(meta.c.value)
    )
    return int((await connection.execute(statement)).scalar_one()) - count + 1


async def add_turns(connection: AsyncConnection, tables: Tables, rows: Sequence[TurnRow]) -> None:
    """Insert the turns that are neither there already nor were removed."""
    seq = await next_seq(connection, tables, len(rows))
    ids = [row.turn_id for row in rows]
    known = await _known(connection, tables, tables.turns.c.turn_id, Kind.TURN, ids)
    new = []
    for row in rows:
        if row.turn_id not in known:
            known.add(row.turn_id)
            new.append(row)
    if not new:
        return
    positions = await _positions(connection, tables.turns, [row.received_us for row in new])
    feedback = tables.feedback.c
    with_feedback = set(
        (
            await connection.execute(
                sa.select(feedback.turn_id).where(feedback.turn_id.in_(ids)).distinct()
            )
        ).scalars()
    )
    values, shields, searched = [], [], []
    for number, (row, position) in enumerate(zip(new, positions, strict=True), seq):
        marked = row.turn_id in with_feedback
        values.append(
            {name: getattr(row, name) for name in _TURN_COLUMNS}
            | {"position": position, "seq": number, "has_feedback": marked}
        )
        shields += [
            {"shield": shield, "position": position, "user_hash": row.user_hash}
            for shield in dict.fromkeys(row.shields)
        ]
        searched.append((position, search_words(row.user_hash, row.question, row.answer)))
    await connection.execute(sa.insert(tables.turns), values)
    if shields:
        await connection.execute(sa.insert(tables.shields), shields)
    await add_words(connection, tables, searched)


def search_words(user_hash: str, question: str, answer: str) -> list[str]:
    """What a turn is found by."""
    return [user_word(user_hash), *words_of(question, answer)]


async def add_feedback(connection: AsyncConnection, tables: Tables, row: FeedbackRow) -> None:
    """Insert the feedback, unless it is there or was removed, and mark the turn it names."""
    seq = await next_seq(connection, tables, 1)
    feedback = tables.feedback
    if await _known(connection, tables, feedback.c.feedback_id, Kind.FEEDBACK, [row.feedback_id]):
        return
    if row.turn_id is not None:
        removed = tables.removed.c
        gone = sa.select(removed.id).where(removed.id == row.turn_id, removed.kind == Kind.TURN)
        if (await connection.execute(gone)).first() is not None:
            raise NotFoundError(f"No turn '{row.turn_id}': it was deleted.")
    [position] = await _positions(connection, feedback, [row.created_us])
    values = asdict(row)
    del values["categories"]
    await connection.execute(sa.insert(feedback), values | {"position": position, "seq": seq})
    if row.categories:
        await connection.execute(
            sa.insert(tables.categories),
            [
                {"category": category, "position": position}
                for category in dict.fromkeys(row.categories)
            ],
        )
    if row.turn_id is not None:
        await connection.execute(
            sa.update(tables.turns)
            .where(tables.turns.c.turn_id == row.turn_id, ~tables.turns.c.has_feedback)
            .values(has_feedback=True)
        )


async def _known(
    connection: AsyncConnection,
    tables: Tables,
    column: sa.ColumnElement[str],
    kind: Kind,
    ids: Sequence[str],
) -> set[str]:
    """Which of the ids are there already, or were and are removed: those never come back."""
    removed = tables.removed.c
    query = sa.union_all(
        sa.select(column).where(column.in_(ids)),
        sa.select(removed.id).where(removed.id.in_(ids), removed.kind == kind.value),
    )
    return set((await connection.execute(query)).scalars())


async def _positions(
    connection: AsyncConnection, table: sa.Table, moments: Sequence[int]
) -> list[int]:
    """The moments, each raised to the next free place of the table."""
    place = table.c.position
    taken: set[int] = set()
    while True:
        found = _spread(moments, taken)
        query = sa.select(place).where(place.in_(found))
        clashes = set((await connection.execute(query)).scalars())
        if not clashes:
            return found
        crowd = sa.select(place).where(place >= min(clashes)).order_by(place).limit(LOOKED_AHEAD)
        taken |= clashes | set((await connection.execute(crowd)).scalars())


def _spread(moments: Sequence[int], taken: set[int]) -> list[int]:
    """The moments in their order, each raised until it is free."""
    used = set(taken)
    after: dict[int, int] = {}
    found = []
    for moment in moments:
        position = after.get(moment, moment)
        while position in used:
            position += 1
        used.add(position)
        after[moment] = position + 1
        found.append(position)
    return found
