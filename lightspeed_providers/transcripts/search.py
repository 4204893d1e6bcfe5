"""The words of the turns, indexed: FTS5 on SQLite, GIN on PostgreSQL.

Both keep which turn has which word, and the word that stands for the turn's user; neither keeps
the order of a text's words.
"""

from collections.abc import Sequence
from enum import IntEnum

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY

from .schema import Tables
from .words import user_word, words_of

MERGED_PAGES = 500  # tens of milliseconds of a writing transaction
MERGE_IDLE = 2  # a merge that changes fewer rows had nothing to do


class Unmerged(IntEnum):
    """Whether removed words are still in the SQLite index."""

    NOTHING = 0
    SOME = 1
    MERGING = 2
    MERGING_AND_MORE = 3


def add_words(
    connection: sa.Connection, tables: Tables, turns: Sequence[tuple[int, list[str]]]
) -> None:
    """Index the words of the turns at these positions."""
    name = tables.search.name
    if connection.dialect.name == "sqlite":
        statement = sa.text(f"INSERT INTO {name} (rowid, words) VALUES (:position, :words)")  # noqa: S608
        connection.execute(
            statement, [{"position": place, "words": " ".join(words)} for place, words in turns]
        )
        return
    # One text is cheaper to send than an array; no word has a blank.
    words = sa.func.array_to_tsvector(
        sa.func.string_to_array(sa.bindparam("words", type_=sa.Text), sa.literal_column("' '"))
    )
    insert = sa.insert(tables.search).values(position=sa.bindparam("place"), words=words)
    connection.execute(
        insert, [{"place": place, "words": " ".join(words)} for place, words in turns]
    )


def remove_words(
    connection: sa.Connection, tables: Tables, turns: Sequence[tuple[int, list[str]]]
) -> None:
    """Take what add_words put there out again."""
    name = tables.search.name
    if connection.dialect.name == "sqlite":
        statement = sa.text(
            f"INSERT INTO {name} ({name}, rowid, words) VALUES ('delete', :position, :words)"  # noqa: S608
        )
        connection.execute(
            statement, [{"position": place, "words": " ".join(words)} for place, words in turns]
        )
        meta = tables.meta.c
        more = sa.case(
            (meta.value == Unmerged.NOTHING, Unmerged.SOME.value),
            (meta.value == Unmerged.MERGING, Unmerged.MERGING_AND_MORE.value),
            else_=meta.value,
        )
        connection.execute(sa.update(tables.meta).where(meta.name == "unmerged").values(value=more))
        return
    places = [place for place, _ in turns]
    connection.execute(sa.delete(tables.search).where(tables.search.c.position.in_(places)))


def forget_words(connection: sa.Connection, tables: Tables) -> bool:
    """Rewrite a piece of the SQLite index without removed words; False where none are left.

    FTS5 only notes that a word is gone; the word itself goes when the pieces that hold it are
    merged. PostgreSQL's autovacuum does as much by itself.
    """
    if connection.dialect.name != "sqlite":
        return False
    meta, name = tables.meta, tables.search.name
    locked = sa.update(meta).where(meta.c.name == "unmerged").values(value=meta.c.value)
    state = connection.execute(locked.returning(meta.c.value)).scalar_one()
    if state == Unmerged.NOTHING:
        return False
    pages = (
        MERGED_PAGES if state in (Unmerged.MERGING, Unmerged.MERGING_AND_MORE) else -MERGED_PAGES
    )
    before = _total_changes(connection)
    connection.exec_driver_sql(f"INSERT INTO {name} ({name}, rank) VALUES ('merge', {pages})")  # noqa: S608
    idle = _total_changes(connection) - before < MERGE_IDLE
    match state:
        case Unmerged.MERGING if idle:
            after = Unmerged.NOTHING
        case Unmerged.MERGING_AND_MORE if idle:
            after = Unmerged.SOME
        case Unmerged.SOME:
            after = Unmerged.MERGING
        case _:
            after = Unmerged(state)
    connection.execute(locked.values(value=after.value))
    return after is not Unmerged.NOTHING


def _total_changes(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT total_changes()").scalar_one())


def fts5_match(tables: Tables, text: str, user_hash: str | None) -> sa.ColumnElement[bool]:
    """The condition that a turn of the SQLite index has all words of the text."""
    words = wanted(text, user_hash)
    if not words:
        return sa.false()
    query = " AND ".join(f'"{word}"' for word in words)
    return sa.literal_column(tables.search.name).op("MATCH", is_comparison=True)(query)


def tsquery(text: str, user_hash: str | None) -> sa.ColumnElement[object] | None:
    """All words of the text, for @@; None where it has none."""
    words = wanted(text, user_hash)
    if not words:
        return None
    return sa.cast(sa.literal(" & ".join(f"'{word}'" for word in words), sa.Text), TSQUERY)


def wanted(text: str, user_hash: str | None) -> list[str]:
    """The words that a turn must have to be found: no quote, no operator is among them."""
    words = words_of(text)
    return [user_word(user_hash), *words] if words and user_hash is not None else words
