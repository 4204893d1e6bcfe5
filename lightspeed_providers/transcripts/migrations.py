"""Brings the tables to this release's layout, once, however many processes start at a time.

Step N turns layout N into N + 1. What stood before layouts were numbered is carried over whole.
"""

import asyncio
import hashlib
import json
import logging
import zlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lightspeed_providers.core.errors import ConfigurationError

from . import schema
from .adding import add_feedback, add_turns
from .database import ANSWER_WITHIN_S
from .rows import FeedbackRow, TurnRow, microseconds

logger = logging.getLogger(__name__)

CARRIED_AT_ONCE = 500
UNNUMBERED = 0
ASIDE = "_before"

Step = Callable[[AsyncConnection, schema.Tables], Awaitable[None]]

STEPS: Mapping[int, Step] = {}


async def bring_up_to_date(engine: AsyncEngine, tables: schema.Tables) -> None:
    """Create the tables or change them step by step; tables of a newer release are refused."""
    async with asyncio.timeout(ANSWER_WITHIN_S), engine.connect() as connection:
        version = await _version(connection, tables)
    while version != schema.VERSION:
        if version is not None and version > schema.VERSION:
            raise ConfigurationError(
                f"Tables '{tables.name}' of the transcripts have layout {version}, this release "
                f"knows {schema.VERSION}: start the release that wrote them, or name other tables "
                "with `store.table_name`."
            )
        async with engine.connect() as connection:
            await _lock(connection, tables.name)
            version = await _version(connection, tables)  # another process may have been first
            if version is None or version < schema.VERSION:
                await _step(connection, tables, version)
            await connection.commit()
            version = await _version(connection, tables)


async def _step(connection: AsyncConnection, tables: schema.Tables, version: int | None) -> None:
    if version is None:
        await _create(connection, tables)
    elif version == UNNUMBERED:
        await _carry_over(connection, tables)
    else:
        await STEPS[version](connection, tables)
        await connection.execute(
            sa.update(tables.meta).where(tables.meta.c.name == "layout").values(value=version + 1)
        )
        logger.info("Transcript tables %s: layout %d is %d now", tables.name, version, version + 1)


async def _create(connection: AsyncConnection, tables: schema.Tables) -> None:
    await schema.create(connection, tables.name)
    await connection.execute(
        sa.insert(tables.meta),
        [
            {"name": "layout", "value": schema.VERSION},
            {"name": "seq", "value": 0},
            {"name": "unmerged", "value": 0},
        ],
    )


async def _lock(connection: AsyncConnection, name: str) -> None:
    """Begin a transaction in which no other process changes the tables."""
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    await connection.execute(
        sa.select(sa.func.pg_advisory_xact_lock(sa.cast(zlib.crc32(name.encode()), sa.BigInteger)))
    )
    await connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


async def _version(connection: AsyncConnection, tables: schema.Tables) -> int | None:
    """The layout's number, or None where there are no tables."""
    if await _has_table(connection, tables.meta.name):
        query = sa.select(tables.meta.c.value).where(tables.meta.c.name == "layout")
        return int((await connection.execute(query)).scalar_one())
    return UNNUMBERED if await _has_table(connection, tables.name) else None


async def _has_table(connection: AsyncConnection, name: str) -> bool:
    return await connection.run_sync(lambda sync: sa.inspect(sync).has_table(name))


async def _carry_over(connection: AsyncConnection, tables: schema.Tables) -> None:
    """Put the rows of the two unnumbered tables into new ones."""
    turns, feedback = tables.name + ASIDE, tables.feedback.name + ASIDE
    await _set_aside(connection, tables.name, turns)
    had_feedback = await _has_table(connection, tables.feedback.name)
    if had_feedback:
        await _set_aside(connection, tables.feedback.name, feedback)
    await _create(connection, tables)
    carried = await _carry(
        connection,
        turns,
        "received_us, turn_id",
        lambda rows: _take_turns(connection, tables, rows),
    )
    if had_feedback:
        await _carry(
            connection,
            feedback,
            "created_us, feedback_id",
            lambda rows: _take_feedback(connection, tables, rows),
        )
        await connection.exec_driver_sql(f"DROP TABLE {feedback}")
    await connection.exec_driver_sql(f"DROP TABLE {turns}")
    logger.info("Transcript tables %s: %d turns have the new layout", tables.name, carried)


async def _set_aside(connection: AsyncConnection, name: str, aside: str) -> None:
    """Rename a table; its indexes go, for their names are wanted."""
    indexes = await connection.run_sync(lambda sync: sa.inspect(sync).get_indexes(name))
    for index in indexes:
        await connection.exec_driver_sql(f"DROP INDEX {index['name']}")
    await connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {aside}")


async def _carry(
    connection: AsyncConnection,
    source: str,
    key: str,
    take: Callable[[list[Any]], Awaitable[None]],  # Any: a row of a table that has no type here
) -> int:
    """Read a table by its key in pieces, oldest first; how many rows it had."""
    moment, identity = key.split(", ")
    last: tuple[int, str] | None = None
    count = 0
    while True:
        after = f"WHERE ({key}) > (:moment, :identity)" if last else ""
        query = sa.text(
            f"SELECT * FROM {source} {after} ORDER BY {key} LIMIT {CARRIED_AT_ONCE}"  # noqa: S608
        )
        values = {"moment": last[0], "identity": last[1]} if last else {}
        rows = list((await connection.execute(query, values)).all())
        if not rows:
            return count
        try:
            await take(rows)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"Table '{source.removesuffix(ASIDE)}' has a record that is not one of ours, after "
                f"the row {last or 'at the start'} in the order of {key} "
                f"({type(error).__name__}): mend or delete it, and start again."
            ) from error
        count += len(rows)
        last = (getattr(rows[-1], moment), getattr(rows[-1], identity))


async def _take_turns(
    connection: AsyncConnection,
    tables: schema.Tables,
    rows: list[Any],  # Any: as above
) -> None:
    await connection.run_sync(add_turns, tables, [_turn_row(row) for row in rows])


def _turn_row(row: Any) -> TurnRow:  # Any: as above
    record = json.loads(row.record)
    prompt = record.pop("prompt", "")
    record.setdefault("prompt_hash", hashlib.sha256(prompt.encode()).hexdigest())
    for verdict in record.get("verdicts", ()):
        if isinstance(replaced := verdict.get("replaced"), int):
            verdict["replaced"] = {"UNKNOWN": replaced} if replaced else {}
    passages = record.get("passages", ())
    verdicts = record.get("verdicts", ())
    return TurnRow(
        turn_id=row.turn_id,
        received_us=row.received_us,
        first_token_us=_moment(record.get("first_token_at")),
        finished_us=_moment(record.get("finished_at")) or row.received_us,
        user_hash=row.user_hash,
        conversation_id=row.conversation_id,
        response_id=row.response_id,
        previous_response_id=record.get("previous_response_id"),
        profile=record.get("profile", ""),
        prompt_version=record.get("prompt_version", ""),
        model=row.model,
        provider=record.get("provider"),
        outcome=row.outcome,
        input_tokens=record.get("input_tokens", 0),
        output_tokens=record.get("output_tokens", 0),
        passages=len(passages),
        best_score=max((passage.get("score", 0.0) for passage in passages), default=None),
        shields=tuple(
            dict.fromkeys(each["shield"] for each in verdicts if each.get("action") != "allow")
        ),
        blocked_by=next(
            (each["shield"] for each in verdicts if each.get("action") == "block"), None
        ),
        question=record.get("question", ""),
        answer=record.get("answer", ""),
        record=json.dumps(record, ensure_ascii=False, separators=(",", ":")),
    )


def _moment(text: str | None) -> int | None:
    return microseconds(datetime.fromisoformat(text)) if text else None


async def _take_feedback(
    connection: AsyncConnection,
    tables: schema.Tables,
    rows: list[Any],  # Any: as above
) -> None:
    turns = tables.turns.c
    for row in rows:
        record = json.loads(row.record)
        of_turn = (
            turns.turn_id == row.turn_id
            if row.turn_id is not None
            else turns.conversation_id == row.conversation_id
        )
        query = (
            sa.select(turns.profile, turns.prompt_version)
            .where(of_turn)
            .order_by(turns.position.desc())
            .limit(1)
        )
        prompt = (await connection.execute(query)).first()
        await connection.run_sync(
            add_feedback,
            tables,
            FeedbackRow(
                feedback_id=row.feedback_id,
                created_us=row.created_us,
                user_hash=row.user_hash,
                conversation_id=row.conversation_id,
                turn_id=row.turn_id,
                profile=prompt and prompt.profile,
                prompt_version=prompt and prompt.prompt_version,
                sentiment=row.sentiment,
                categories=tuple(record.get("categories") or ()),
                record=row.record,
            ),
        )
