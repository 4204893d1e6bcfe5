"""What goes into the tables: turns and feedback, each once, numbered in the order of commits."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import lru_cache

import sqlalchemy as sa

from lightspeed_providers.core.errors import NotFoundError

from .rows import FeedbackRow, Kind, TurnRow
from .schema import Tables
from .search import add_words
from .words import user_word, words_of

LOOKED_AHEAD = 1000

_TURN_COLUMNS = tuple(field.name for field in fields(TurnRow) if field.name != "shields")


def next_seq(connection: sa.Connection, tables: Tables, count: int) -> int:
    """The first of that many change numbers.

    As the first statement of a transaction it also makes every other writer wait for its end.
    """
    last = connection.execute(_counting(tables), {"count": count}).scalar_one()
    return int(last) - count + 1


# Built once: making a statement takes SQLAlchemy longer than SQLite needs for it.
@lru_cache(maxsize=16)
def _counting(tables: Tables) -> sa.Executable:
    meta = tables.meta
    return (
        sa.update(meta)
        .where(meta.c.name == "seq")
        .values(value=meta.c.value + sa.bindparam("count", type_=sa.BigInteger))
        .returning(meta.c.value)
    )


def add_turns(connection: sa.Connection, tables: Tables, rows: Sequence[TurnRow]) -> None:
    """Insert the turns that are neither there already nor were removed."""
    seq = next_seq(connection, tables, len(rows))
    by_id: dict[str, TurnRow] = {}
    for row in rows:
        by_id.setdefault(row.turn_id, row)
    positions = _spread([row.received_us for row in by_id.values()], set())
    found = connection.execute(_met(tables), {"ids": list(by_id), "places": positions}).all()
    known = {row.id for row in found if row.what == _THERE}
    with_feedback = {row.id for row in found if row.what == _HAS_FEEDBACK}
    new = [row for row in by_id.values() if row.turn_id not in known]
    if not new:
        return
    if known or any(row.what == _TAKEN for row in found):
        positions = _positions(connection, tables.turns, [row.received_us for row in new])
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
    connection.execute(sa.insert(tables.turns), values)
    if shields:
        connection.execute(sa.insert(tables.shields), shields)
    add_words(connection, tables, searched)


_THERE, _HAS_FEEDBACK, _TAKEN = "known", "has feedback", "taken"


@lru_cache(maxsize=16)
def _met(tables: Tables) -> sa.Executable:
    """What is there of the turns with these ids, and which of the places are taken."""
    turns, removed, feedback = tables.turns.c, tables.removed.c, tables.feedback.c
    ids = sa.bindparam("ids", expanding=True, type_=sa.Text)
    places = sa.bindparam("places", expanding=True, type_=sa.BigInteger)

    def found(what: str, which: sa.ColumnElement[str]) -> sa.Select[str, str]:
        kind: sa.ColumnElement[str] = sa.literal_column(f"'{what}'", sa.Text)
        return sa.select(kind.label("what"), which.label("id"))

    return sa.union_all(
        found(_THERE, turns.turn_id).where(turns.turn_id.in_(ids)),
        found(_THERE, removed.id).where(removed.id.in_(ids), removed.kind == Kind.TURN.value),
        found(_HAS_FEEDBACK, feedback.turn_id).where(feedback.turn_id.in_(ids)),
        found(_TAKEN, sa.cast(turns.position, sa.Text)).where(turns.position.in_(places)),
    )


def search_words(user_hash: str, question: str, answer: str) -> list[str]:
    """What a turn is found by."""
    return [user_word(user_hash), *words_of(question, answer)]


def add_feedback(connection: sa.Connection, tables: Tables, row: FeedbackRow) -> None:
    """Insert the feedback, unless it is there or was removed, and mark the turn it names."""
    seq = next_seq(connection, tables, 1)
    feedback = tables.feedback
    if _known(connection, tables, feedback.c.feedback_id, Kind.FEEDBACK, [row.feedback_id]):
        return
    if row.turn_id is not None:
        removed = tables.removed.c
        gone = sa.select(removed.id).where(removed.id == row.turn_id, removed.kind == Kind.TURN)
        if connection.execute(gone).first() is not None:
            raise NotFoundError(f"No turn '{row.turn_id}': it was deleted.")
    [position] = _positions(connection, feedback, [row.created_us])
    values = asdict(row)
    del values["categories"]
    connection.execute(sa.insert(feedback), values | {"position": position, "seq": seq})
    if row.categories:
        connection.execute(
            sa.insert(tables.categories),
            [
                {"category": category, "position": position}
                for category in dict.fromkeys(row.categories)
            ],
        )
    if row.turn_id is not None:
        connection.execute(
            sa.update(tables.turns)
            .where(tables.turns.c.turn_id == row.turn_id, ~tables.turns.c.has_feedback)
            .values(has_feedback=True)
        )


def _known(
    connection: sa.Connection,
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
    return set(connection.execute(query).scalars())


def _positions(connection: sa.Connection, table: sa.Table, moments: Sequence[int]) -> list[int]:
    """The moments, each raised to the next free place of the table."""
    place = table.c.position
    taken: set[int] = set()
    while True:
        found = _spread(moments, taken)
        query = sa.select(place).where(place.in_(found))
        clashes = set(connection.execute(query).scalars())
        if not clashes:
            return found
        crowd = sa.select(place).where(place >= min(clashes)).order_by(place).limit(LOOKED_AHEAD)
        taken |= clashes | set(connection.execute(crowd).scalars())


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
