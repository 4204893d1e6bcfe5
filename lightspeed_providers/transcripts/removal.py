"""Taking turns and feedback out, with everything that was made of them, and leaving a mark."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .adding import next_seq, search_words
from .rows import AuditRow, Kind, TurnKey
from .schema import Tables
from .search import remove_words


def remove_turns(
    connection: sa.Connection,
    tables: Tables,
    turn_ids: Sequence[str],
    *,
    feedback_of_user: str | None,
    feedback_of_conversation: str | None,
    audit: AuditRow | None,
) -> tuple[int, int]:
    """Remove the turns and their feedback, and that of the user or conversation."""
    next_seq(connection, tables, 0)  # from here on nobody else writes
    turns, feedback = tables.turns.c, tables.feedback.c
    query = sa.select(
        turns.position,
        turns.turn_id.label("id"),
        turns.user_hash,
        turns.conversation_id,
        turns.response_id,
        turns.previous_response_id,
        turns.question,
        turns.answer,
    ).where(turns.turn_id.in_(turn_ids))
    found = connection.execute(query).all()
    if found:
        places = [row.position for row in found]
        words = [
            (row.position, search_words(row.user_hash, row.question, row.answer)) for row in found
        ]
        remove_words(connection, tables, words)
        for table in (tables.shields, tables.turns):
            connection.execute(sa.delete(table).where(table.c.position.in_(places)))
        _close_chains(connection, tables, found)
        _mark(connection, tables, Kind.TURN, found)
    about: list[sa.ColumnElement[bool]] = [feedback.turn_id.in_(turn_ids)]
    if feedback_of_user is not None:
        about.append(feedback.user_hash == feedback_of_user)
    if feedback_of_conversation is not None:
        about.append(feedback.conversation_id == feedback_of_conversation)
    said = _remove_feedback(connection, tables, about)
    _note(connection, tables, audit, len(found), said)
    return len(found), said


def _close_chains(
    connection: sa.Connection,
    tables: Tables,
    removed: Sequence[Any],  # Any: rows of the query above
) -> None:
    """Let a turn that followed a removed one follow the one before.

    Later responses hold the texts of all before them, so the way to them must stay known.
    """
    previous = {r.response_id: r.previous_response_id for r in removed if r.response_id is not None}
    turns = tables.turns
    follows = turns.c.previous_response_id
    for piece in _pieces(list(previous)):
        query = sa.select(follows).where(follows.in_(piece)).distinct()
        for response_id in connection.execute(query).scalars().all():
            staying: str | None = response_id
            seen: set[str] = set()  # ids come from clients: a ring must end
            while staying is not None and staying in previous:
                seen.add(staying)
                staying = None if previous[staying] in seen else previous[staying]
            connection.execute(
                sa.update(turns).where(follows == response_id).values(previous_response_id=staying)
            )


def remove_feedback(
    connection: sa.Connection,
    tables: Tables,
    feedback_ids: Sequence[str],
    *,
    audit: AuditRow | None,
) -> int:
    """Remove the feedback."""
    next_seq(connection, tables, 0)
    said = _remove_feedback(connection, tables, [tables.feedback.c.feedback_id.in_(feedback_ids)])
    _note(connection, tables, audit, 0, said)
    return said


def _remove_feedback(
    connection: sa.Connection, tables: Tables, about: list[sa.ColumnElement[bool]]
) -> int:
    feedback = tables.feedback.c
    # One query for each reason: each has its index.
    said: dict[str, Any] = {}  # Any: rows by id
    for reason in about:
        query = sa.select(
            feedback.position,
            feedback.feedback_id.label("id"),
            feedback.user_hash,
            feedback.conversation_id,
            feedback.turn_id,
        ).where(reason)
        said |= {row.id: row for row in connection.execute(query)}
    if not said:
        return 0
    rows = list(said.values())
    for piece in _pieces([row.position for row in rows]):
        for table in (tables.categories, tables.feedback):
            connection.execute(sa.delete(table).where(table.c.position.in_(piece)))
    for piece in _pieces([row.turn_id for row in rows if row.turn_id is not None]):
        still = sa.select(feedback.turn_id).where(feedback.turn_id == tables.turns.c.turn_id)
        connection.execute(
            sa.update(tables.turns)
            .where(tables.turns.c.turn_id.in_(piece), ~still.exists())
            .values(has_feedback=False)
        )
    _mark(connection, tables, Kind.FEEDBACK, rows)
    return len(rows)


def _pieces[T](items: Sequence[T], size: int = 1000) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _mark(
    connection: sa.Connection,
    tables: Tables,
    kind: Kind,
    rows: Sequence[Any],  # Any: rows of two queries, alike in their columns
) -> None:
    seq = next_seq(connection, tables, len(rows))
    marks = [
        {
            "seq": number,
            "kind": kind.value,
            "id": row.id,
            "user_hash": row.user_hash,
            "conversation_id": row.conversation_id,
        }
        for number, row in enumerate(rows, seq)
    ]
    connection.execute(sa.insert(tables.removed), marks)


def _note(
    connection: sa.Connection, tables: Tables, audit: AuditRow | None, turns: int, feedback: int
) -> None:
    if audit is not None:
        line = replace(audit, turns=turns, feedback=feedback)
        connection.execute(sa.insert(tables.audit).values(**asdict(line)))


async def turn_keys(
    connection: AsyncConnection,
    tables: Tables,
    *,
    turn_id: str | None,
    conversation_id: str | None,
    user_hash: str | None,
    limit: int,
) -> list[TurnKey]:
    """The turns that a removal is about, oldest first."""
    turns = tables.turns.c
    wanted = [
        column == value
        for column, value in (
            (turns.turn_id, turn_id),
            (turns.conversation_id, conversation_id),
            (turns.user_hash, user_hash),
        )
        if value is not None
    ]
    if not wanted:
        raise ValueError("name a turn, a conversation or a user")
    query = _keys(tables).where(*wanted).order_by(turns.position).limit(limit)
    return [TurnKey(**row) for row in (await connection.execute(query)).mappings()]


async def expired_turns(
    connection: AsyncConnection,
    tables: Tables,
    *,
    older_than_us: int | None,
    keep: int | None,
    limit: int,
) -> list[TurnKey]:
    """The oldest turns that are too old or too many."""
    turns = tables.turns
    count = await _expired_count(connection, turns, turns.c.received_us, older_than_us, keep, limit)
    query = _keys(tables).order_by(turns.c.position).limit(count)
    return [TurnKey(**row) for row in (await connection.execute(query)).mappings()]


async def expired_feedback(
    connection: AsyncConnection,
    tables: Tables,
    *,
    older_than_us: int | None,
    keep: int | None,
    limit: int,
) -> list[str]:
    """The ids of the oldest feedback that is too old or too much."""
    feedback = tables.feedback
    count = await _expired_count(
        connection, feedback, feedback.c.created_us, older_than_us, keep, limit
    )
    query = sa.select(feedback.c.feedback_id).order_by(feedback.c.position).limit(count)
    return list((await connection.execute(query)).scalars())


async def _expired_count(
    connection: AsyncConnection,
    table: sa.Table,
    moment: sa.Column[int],
    older_than_us: int | None,
    keep: int | None,
    limit: int,
) -> int:
    """How many from the oldest on have to go, at most `limit`."""
    too_many = too_old = 0
    if keep is not None:
        counted = sa.select(sa.func.count()).select_from(table)
        too_many = (await connection.execute(counted)).scalar_one() - keep
    if older_than_us is not None:
        old = (
            sa.select(table.c.position)
            .where(table.c.position < older_than_us, moment < older_than_us)
            .order_by(table.c.position)
            .limit(limit)
        )
        counted = sa.select(sa.func.count()).select_from(old.subquery())
        too_old = (await connection.execute(counted)).scalar_one()
    return min(max(too_many, too_old, 0), limit)


async def later_responses(connection: AsyncConnection, tables: Tables, key: TurnKey) -> list[str]:
    """Responses of later turns of the conversation, and of all that follow the turn or those."""
    turns = tables.turns.c
    first = sa.select(sa.literal(key.response_id, sa.Text).label("response_id"))
    if key.conversation_id is not None:
        own = tables.turns.alias("own")
        place = sa.select(own.c.position).where(own.c.turn_id == key.turn_id).scalar_subquery()
        later = sa.select(turns.response_id).where(
            turns.conversation_id == key.conversation_id, turns.position > place
        )
        first = sa.select(sa.union_all(first, later).subquery().c.response_id)
    chain = first.cte("chain", recursive=True)
    follower = tables.turns.alias("follower")
    chain = chain.union(
        sa.select(follower.c.response_id).where(
            follower.c.previous_response_id == chain.c.response_id
        )
    )
    found = (await connection.execute(sa.select(chain.c.response_id))).scalars()
    return [each for each in found if each is not None and each != key.response_id]


def _keys(tables: Tables) -> sa.Select[Any]:  # Any: the columns of TurnKey
    turns = tables.turns.c
    return sa.select(
        turns.turn_id,
        turns.user_hash,
        turns.response_id,
        turns.previous_response_id,
        turns.conversation_id,
    )
