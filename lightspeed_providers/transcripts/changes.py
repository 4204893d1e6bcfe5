"""What happened since a change number, and the turns' numbers for a report."""

from collections import defaultdict

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .rows import Change, Kind, TurnFacts
from .schema import Tables


async def newest_seq(connection: AsyncConnection, tables: Tables) -> int:
    """The number of the newest change, 0 where there was none."""
    meta = tables.meta.c
    query = sa.select(meta.value).where(meta.name == "seq")
    return int((await connection.execute(query)).scalar_one())


async def list_changes(
    connection: AsyncConnection, tables: Tables, after_seq: int, limit: int
) -> list[Change]:
    """Up to `limit` changes in the order of their commits."""
    # What commits while the tables are read one after the other has to wait for the next call.
    newest = await newest_seq(connection, tables)
    turns, feedback, removed = tables.turns.c, tables.feedback.c, tables.removed.c
    found = []
    for kind, source in (
        (sa.literal(Kind.TURN.value), (turns.turn_id, turns)),
        (sa.literal(Kind.FEEDBACK.value), (feedback.feedback_id, feedback)),
        (removed.kind, (removed.id, removed)),
    ):
        id_, columns = source
        query = (
            sa.select(
                columns.seq,
                kind.label("kind"),
                id_.label("id"),
                columns.user_hash,
                columns.conversation_id,
                columns.get("record", sa.null()).label("record"),
            )
            .where(columns.seq > after_seq, columns.seq <= newest)
            .order_by(columns.seq)
            .limit(limit)
        )
        found += [
            Change(
                seq=row.seq,
                kind=Kind(row.kind),
                id=row.id,
                user_hash=row.user_hash,
                conversation_id=row.conversation_id,
                record=row.record,
            )
            for row in await connection.execute(query)
        ]
    return sorted(found, key=lambda change: change.seq)[:limit]


async def facts_between(
    connection: AsyncConnection, tables: Tables, after: int, until: int, limit: int
) -> tuple[list[TurnFacts], int]:
    """The facts of up to `limit` turns beyond a position, oldest first, and the last position."""
    turns, feedback = tables.turns.c, tables.feedback.c
    columns = (
        turns.turn_id,
        turns.received_us,
        turns.first_token_us,
        turns.finished_us,
        turns.profile,
        turns.prompt_version,
        turns.model,
        turns.outcome,
        turns.blocked_by,
        turns.input_tokens,
        turns.output_tokens,
        turns.passages,
        turns.best_score,
        turns.question,
    )
    query = (
        sa.select(*columns, turns.position, turns.has_feedback)
        .where(turns.position > after, turns.position < until)
        .order_by(turns.position)
        .limit(limit)
    )
    rows = (await connection.execute(query)).all()
    if not rows:
        return [], until
    sentiments: defaultdict[str, list[int]] = defaultdict(list)
    if spoken_of := [row.turn_id for row in rows if row.has_feedback]:
        said = sa.select(feedback.turn_id, feedback.sentiment).where(
            feedback.turn_id.in_(spoken_of), feedback.sentiment.is_not(None)
        )
        for row in await connection.execute(said.order_by(feedback.position)):
            sentiments[row.turn_id].append(row.sentiment)
    names = [column.name for column in columns]
    facts = [
        TurnFacts(**dict(zip(names, row, strict=False)), sentiments=tuple(sentiments[row.turn_id]))
        for row in rows
    ]
    return facts, rows[-1].position
