"""Which feedback, and how much of it."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .rows import FeedbackCount, FeedbackFilter, Stored
from .schema import Tables

DAY_US = 86_400_000_000


async def list_feedback(
    connection: AsyncConnection,
    tables: Tables,
    which: FeedbackFilter,
    *,
    limit: int,
    before: int | None,
) -> list[Stored]:
    """Up to `limit` records, newest first."""
    feedback = tables.feedback.c
    query = sa.select(feedback.position, feedback.record).where(*_conditions(tables, which))
    if before is not None:
        query = query.where(feedback.position < before)
    query = query.order_by(feedback.position.desc()).limit(limit)
    return [Stored(row.position, row.record) for row in await connection.execute(query)]


async def count_feedback(
    connection: AsyncConnection, tables: Tables, which: FeedbackFilter
) -> list[FeedbackCount]:
    """How much there is by day, profile, prompt version and sentiment."""
    feedback = tables.feedback.c
    day = (feedback.created_us // sa.literal_column(str(DAY_US))).label("day")
    cell = (feedback.profile, feedback.prompt_version, feedback.sentiment)
    query = (
        sa.select(day, *cell, sa.func.count().label("feedback"))
        .where(*_conditions(tables, which))
        .group_by(sa.literal_column("1"), *cell)
    )
    rows = (await connection.execute(query)).all()
    return sorted(
        (
            FeedbackCount(
                day=datetime.fromtimestamp(row.day * 86_400, UTC).date().isoformat(),
                profile=row.profile,
                prompt_version=row.prompt_version,
                sentiment=row.sentiment,
                count=row.feedback,
            )
            for row in rows
        ),
        key=lambda cell: (
            cell.day,
            cell.profile or "",
            cell.prompt_version or "",
            cell.sentiment or 0,
        ),
    )


async def count_categories(
    connection: AsyncConnection, tables: Tables, which: FeedbackFilter
) -> dict[str, int]:
    """How much feedback names each category."""
    feedback, categories = tables.feedback.c, tables.categories.c
    query = (
        sa.select(categories.category, sa.func.count().label("feedback"))
        .where(categories.position == feedback.position, *_conditions(tables, which))
        .group_by(categories.category)
        .order_by(categories.category)
    )
    return {row.category: row.feedback for row in await connection.execute(query)}


def _conditions(tables: Tables, which: FeedbackFilter) -> list[sa.ColumnElement[bool]]:
    feedback, categories = tables.feedback.c, tables.categories.c
    found: list[sa.ColumnElement[bool]] = [
        column == value
        for column, value in (
            (feedback.user_hash, which.user_hash),
            (feedback.conversation_id, which.conversation_id),
            (feedback.turn_id, which.turn_id),
            (feedback.profile, which.profile),
            (feedback.prompt_version, which.prompt_version),
            (feedback.sentiment, which.sentiment),
        )
        if value is not None
    ]
    if which.category is not None:
        named = sa.select(categories.position).where(categories.category == which.category)
        found.append(feedback.position.in_(named))
    if which.since_us is not None:
        found += [feedback.position >= which.since_us, feedback.created_us >= which.since_us]
    if which.until_us is not None:
        found.append(feedback.created_us < which.until_us)
    return found
