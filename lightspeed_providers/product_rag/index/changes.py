"""Adds documents to the tables of a live index and takes them out, inside one transaction."""

import json
import sqlite3
from collections.abc import Sequence

from lightspeed_providers.product_rag.index import schema
from lightspeed_providers.product_rag.index.content import Document, embedded_text, text_key
from lightspeed_providers.product_rag.index.manifest import Release
from lightspeed_providers.product_rag.index.packing import packed, unpacked

_AT_ONCE = 500


def release_of(connection: sqlite3.Connection, document_id: str) -> tuple[str, str, str] | None:
    """Return product, version and language of a document, or None where it is not there."""
    row = connection.execute(
        "SELECT product, version, language FROM documents JOIN groups USING (group_no) "
        "WHERE document_id = ?",
        (document_id,),
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def take_out(connection: sqlite3.Connection, document_id: str) -> int | None:
    """Remove a document and return the number it had; texts that stand nowhere else die."""
    row = connection.execute(
        "SELECT document_no FROM documents WHERE document_id = ?", (document_id,)
    ).fetchone()
    if row is None:
        return None
    number = int(row[0])
    positions = [
        position
        for (position,) in connection.execute(
            "SELECT DISTINCT position FROM places WHERE document_no = ?", (number,)
        )
    ]
    before = _groups_at(connection, positions)
    connection.execute("DELETE FROM places WHERE document_no = ?", (number,))
    connection.execute("DELETE FROM documents WHERE document_no = ?", (number,))
    after = _groups_at(connection, positions)
    for position in positions:
        left = after.get(position, frozenset())
        if left != before[position]:
            _relabel(connection, position, before[position], left)
    return number


def put_in(
    connection: sqlite3.Connection,
    release: Release,
    document: Document,
    number: int | None,
    first: int,
) -> None:
    """Add a document whose passages get the positions from the first one on."""
    if number is None:
        highest = "SELECT coalesce(max(document_no), 0) + 1 FROM documents"
        number = int(connection.execute(highest).fetchone()[0])
    group = _group(connection, release, document)
    facts = (number, document.document_id, group, document.title, document.source_file)
    connection.execute(schema.ADD_DOCUMENT, facts)
    words = schema.labels([group])
    for ordinal, place in enumerate(document.places):
        position = first + ordinal
        key = text_key(embedded_text(document.title, place.heading_path, place.content))
        path = json.dumps(place.heading_path, ensure_ascii=False)
        row = (position, key, document.title, path, packed(place.content), place.tokens)
        connection.execute(schema.ADD_TEXT, row)
        at = (number, ordinal, position, place.passage_id, place.doc_url)
        connection.execute(schema.ADD_PLACE, at)
        headings = " ".join(place.heading_path)
        connection.execute(
            schema.ADD_WORDS, (position, document.title, headings, place.content, words)
        )


def _group(connection: sqlite3.Connection, release: Release, document: Document) -> int:
    attributes = schema.attributes_json(document.attributes)
    key = (release.product, release.version, document.language, attributes)
    row = connection.execute(
        "SELECT group_no FROM groups WHERE (product, version, language, attributes) = (?, ?, ?, ?)",
        key,
    ).fetchone()
    if row is not None:
        return int(row[0])
    number = int(connection.execute("SELECT count(*) FROM groups").fetchone()[0])
    connection.execute(schema.ADD_GROUP, (number, *key))
    return number


def _groups_at(
    connection: sqlite3.Connection, positions: Sequence[int]
) -> dict[int, frozenset[int]]:
    found: dict[int, frozenset[int]] = {}
    for start in range(0, len(positions), _AT_ONCE):
        part = positions[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(part))
        for position, group in connection.execute(
            "SELECT position, group_no FROM places JOIN documents USING (document_no) "  # noqa: S608 # marks
            f"WHERE position IN ({marks})",
            part,
        ):
            found[position] = found.get(position, frozenset()) | {group}
    return found


def _relabel(
    connection: sqlite3.Connection, position: int, before: frozenset[int], after: frozenset[int]
) -> None:
    """Index a text's words for the groups it is left in; contentless FTS5 must be told the old."""
    title, path, content = connection.execute(
        "SELECT title, heading_path, content FROM texts WHERE position = ?", (position,)
    ).fetchone()
    words = (position, title, " ".join(json.loads(path)), unpacked(content))
    connection.execute(schema.FORGET_WORDS, (*words, schema.labels(before)))
    if after:
        connection.execute(schema.ADD_WORDS, (*words, schema.labels(after)))
        return
    connection.execute("DELETE FROM texts WHERE position = ?", (position,))
    connection.execute("INSERT INTO dead (position) VALUES (?)", (position,))
