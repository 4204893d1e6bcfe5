"""The tables, as queries see them and as they are created.

SQLite's indexes end with the rowid, which is the position, by themselves; PostgreSQL's name it.
A record repeats question and answer on purpose: it is returned as it came, byte for byte.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.ext.asyncio import AsyncConnection

VERSION = 1
"""Of the layout below. Every change of it is a step in migrations.py."""


@dataclass(frozen=True)
class Tables:
    """The tables of one transcript store."""

    name: str
    turns: sa.Table
    feedback: sa.Table
    categories: sa.Table
    shields: sa.Table
    search: sa.Table
    removed: sa.Table
    audit: sa.Table
    meta: sa.Table


def tables(name: str) -> Tables:
    """The tables whose names begin with the name."""
    metadata = sa.MetaData()
    return Tables(
        name=name,
        turns=sa.Table(
            name,
            metadata,
            sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("seq", sa.BigInteger),
            sa.Column("turn_id", sa.Text),
            sa.Column("received_us", sa.BigInteger),
            sa.Column("first_token_us", sa.BigInteger),
            sa.Column("finished_us", sa.BigInteger),
            sa.Column("user_hash", sa.Text),
            sa.Column("conversation_id", sa.Text),
            sa.Column("response_id", sa.Text),
            sa.Column("previous_response_id", sa.Text),
            sa.Column("profile", sa.Text),
            sa.Column("prompt_version", sa.Text),
            sa.Column("model", sa.Text),
            sa.Column("provider", sa.Text),
            sa.Column("outcome", sa.Text),
            sa.Column("input_tokens", sa.BigInteger),
            sa.Column("output_tokens", sa.BigInteger),
            sa.Column("passages", sa.Integer),
            sa.Column("best_score", sa.Double),
            sa.Column("blocked_by", sa.Text),
            sa.Column("has_feedback", sa.Boolean),
            sa.Column("question", sa.Text),
            sa.Column("answer", sa.Text),
            sa.Column("record", sa.Text),
        ),
        feedback=sa.Table(
            f"{name}_feedback",
            metadata,
            sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("seq", sa.BigInteger),
            sa.Column("feedback_id", sa.Text),
            sa.Column("created_us", sa.BigInteger),
            sa.Column("user_hash", sa.Text),
            sa.Column("conversation_id", sa.Text),
            sa.Column("turn_id", sa.Text),
            sa.Column("profile", sa.Text),
            sa.Column("prompt_version", sa.Text),
            sa.Column("sentiment", sa.Integer),
            sa.Column("record", sa.Text),
        ),
        categories=sa.Table(
            f"{name}_categories",
            metadata,
            sa.Column("category", sa.Text, primary_key=True),
            sa.Column("position", sa.BigInteger, primary_key=True),
        ),
        shields=sa.Table(
            f"{name}_shields",
            metadata,
            sa.Column("shield", sa.Text, primary_key=True),
            sa.Column("position", sa.BigInteger, primary_key=True),
            sa.Column("user_hash", sa.Text),
        ),
        search=sa.Table(
            f"{name}_search",
            metadata,
            sa.Column("rowid", sa.BigInteger),  # SQLite; `position` is PostgreSQL's
            sa.Column("position", sa.BigInteger),
            sa.Column("words", sa.Text().with_variant(TSVECTOR, "postgresql")),
        ),
        removed=sa.Table(
            f"{name}_removed",
            metadata,
            sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("kind", sa.Text),
            sa.Column("id", sa.Text),
            sa.Column("user_hash", sa.Text),
            sa.Column("conversation_id", sa.Text),
        ),
        audit=sa.Table(
            f"{name}_audit",
            metadata,
            sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=True),
            sa.Column("at_us", sa.BigInteger),
            sa.Column("actor", sa.Text),
            sa.Column("action", sa.Text),
            sa.Column("subject", sa.Text),
            sa.Column("turns", sa.Integer),
            sa.Column("feedback", sa.Integer),
        ),
        meta=sa.Table(
            f"{name}_meta",
            metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("value", sa.BigInteger),
        ),
    )


_TABLES = {
    "": """
        position {key}, seq BIGINT NOT NULL, turn_id TEXT NOT NULL, received_us BIGINT NOT NULL,
        first_token_us BIGINT, finished_us BIGINT NOT NULL, user_hash TEXT NOT NULL,
        conversation_id TEXT, response_id TEXT, previous_response_id TEXT, profile TEXT NOT NULL,
        prompt_version TEXT NOT NULL, model TEXT, provider TEXT, outcome TEXT NOT NULL,
        input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, passages INTEGER NOT NULL,
        best_score DOUBLE PRECISION, blocked_by TEXT, has_feedback BOOLEAN NOT NULL,
        question TEXT NOT NULL, answer TEXT NOT NULL, record TEXT NOT NULL""",
    "_feedback": """
        position {key}, seq BIGINT NOT NULL, feedback_id TEXT NOT NULL, created_us BIGINT NOT NULL,
        user_hash TEXT NOT NULL, conversation_id TEXT, turn_id TEXT, profile TEXT,
        prompt_version TEXT, sentiment INTEGER, record TEXT NOT NULL""",
    "_categories": """
        category TEXT NOT NULL, position BIGINT NOT NULL, PRIMARY KEY (category, position)""",
    "_shields": """
        shield TEXT NOT NULL, position BIGINT NOT NULL, user_hash TEXT NOT NULL,
        PRIMARY KEY (shield, position)""",
    "_removed": """
        seq {key}, kind TEXT NOT NULL, id TEXT NOT NULL, user_hash TEXT NOT NULL,
        conversation_id TEXT""",
    "_audit": """
        number {counting_key}, at_us BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
        subject TEXT NOT NULL, turns INTEGER NOT NULL, feedback INTEGER NOT NULL""",
    "_meta": "name TEXT PRIMARY KEY, value BIGINT NOT NULL",
}

_UNIQUE = (("", "turn_id"), ("", "seq"), ("_feedback", "feedback_id"), ("_feedback", "seq"))

_NEWEST_FIRST = (
    ("", "user_hash"),
    ("", "conversation_id, user_hash"),
    ("", "response_id"),
    ("", "previous_response_id"),
    ("", "outcome"),
    ("", "profile"),
    ("", "model"),
    ("", "has_feedback"),
    ("", "user_hash, outcome"),
    ("", "user_hash, profile"),
    ("", "user_hash, model"),
    ("", "user_hash, has_feedback"),
    ("_feedback", "user_hash"),
    ("_feedback", "conversation_id"),
    ("_feedback", "turn_id"),
    ("_feedback", "profile"),
    ("_feedback", "prompt_version"),
    ("_feedback", "sentiment"),
)

_OTHER = (
    ("_shields", "user_hash, shield, position"),
    ("_categories", "position"),
    ("_shields", "position"),
    ("_removed", "id"),
)


# The usual compression of long texts takes as long as all the rest of an insert.
_LIGHTER = """
    DO $$ BEGIN
        ALTER TABLE {table} ALTER record SET COMPRESSION lz4, ALTER answer SET COMPRESSION lz4;
    EXCEPTION WHEN feature_not_supported OR syntax_error THEN NULL;
    END $$"""


async def create(connection: AsyncConnection, name: str) -> None:
    """Create all tables and indexes of this version."""
    for statement in _statements(connection.dialect.name == "sqlite", name):
        await connection.exec_driver_sql(statement)


def _statements(is_sqlite: bool, name: str) -> list[str]:
    key = "INTEGER PRIMARY KEY" if is_sqlite else "BIGINT PRIMARY KEY"
    counting = (
        "INTEGER PRIMARY KEY AUTOINCREMENT"
        if is_sqlite
        else "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
    )
    by_key = " WITHOUT ROWID" if is_sqlite else ""
    made = [
        f"CREATE TABLE {name}{suffix} ({columns.format(key=key, counting_key=counting)})"
        + (by_key if "PRIMARY KEY (" in columns else "")
        for suffix, columns in _TABLES.items()
    ]
    made += [_index(name, table, columns, unique=True) for table, columns in _UNIQUE]
    made += [
        _index(name, table, columns if is_sqlite else f"{columns}, position")
        for table, columns in _NEWEST_FIRST
    ]
    made += [_index(name, table, columns) for table, columns in _OTHER]
    if is_sqlite:
        # Words come apart already (words.py), only which turn has which word is kept.
        made.append(
            f"CREATE VIRTUAL TABLE {name}_search USING fts5"
            "(words, content='', detail=none, columnsize=0, tokenize='ascii')"
        )
    else:
        made += [
            f"CREATE TABLE {name}_search (position BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)",
            f"CREATE INDEX {name}_search_words ON {name}_search USING gin (words)",
            _LIGHTER.format(table=name),
        ]
    return made


def _index(name: str, table: str, columns: str, *, unique: bool = False) -> str:
    short = "_".join(column.split("_")[0] for column in columns.split(", "))
    kind = "UNIQUE INDEX" if unique else "INDEX"
    return f"CREATE {kind} {name}{table}_by_{short} ON {name}{table} ({columns})"
