"""The tables of an index, one SQLite file.

texts      every distinct text once, deflated; `position` is also its row among the vectors
places     where a text stands: a document and its order there; one text may stand in several
documents  the pages, each in a group
groups     product, version, language and attributes: what filters ask for
words      FTS5 over the texts; `labels` holds `g<group>` for every group a text stands in
stems      how many texts have a word in any of its forms, and where impacts.py has them
vocabulary how many texts have a plain word in just this form, where it is more than one
state      what a live index counts (see live.py), and `dead`, the positions it has given up
"""

import json
from collections.abc import Iterable

TABLES = """
CREATE TABLE groups (
    group_no INTEGER PRIMARY KEY,
    product TEXT NOT NULL,
    version TEXT NOT NULL,
    language TEXT NOT NULL,
    attributes TEXT NOT NULL,
    UNIQUE (product, version, language, attributes)
);
CREATE TABLE documents (
    document_no INTEGER PRIMARY KEY,
    document_id TEXT NOT NULL UNIQUE,
    group_no INTEGER NOT NULL,
    title TEXT NOT NULL,
    source_file TEXT NOT NULL
);
CREATE TABLE texts (
    position INTEGER PRIMARY KEY,
    text_key BLOB NOT NULL,
    title TEXT NOT NULL,
    heading_path TEXT NOT NULL,
    content BLOB NOT NULL,
    tokens INTEGER NOT NULL
);
CREATE TABLE places (
    document_no INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    position INTEGER NOT NULL,
    passage_id TEXT NOT NULL,
    doc_url TEXT NOT NULL,
    PRIMARY KEY (document_no, ordinal)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(
    title, headings, content, labels,
    content = '', tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TABLE stems (
    stem TEXT PRIMARY KEY, texts INTEGER NOT NULL, start INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE vocabulary (word TEXT PRIMARY KEY, texts INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE dead (seq INTEGER PRIMARY KEY, position INTEGER NOT NULL);
"""
PLACES_BY_POSITION = "CREATE INDEX places_by_position ON places (position)"
DOCUMENTS_BY_GROUP = "CREATE INDEX documents_by_group ON documents (group_no)"

ADD_GROUP = "INSERT INTO groups VALUES (?, ?, ?, ?, ?)"
ADD_DOCUMENT = "INSERT INTO documents VALUES (?, ?, ?, ?, ?)"
ADD_TEXT = "INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?)"
ADD_PLACE = "INSERT INTO places VALUES (?, ?, ?, ?, ?)"
ADD_WORDS = "INSERT INTO words (rowid, title, headings, content, labels) VALUES (?, ?, ?, ?, ?)"
FORGET_WORDS = (
    "INSERT INTO words (words, rowid, title, headings, content, labels) "
    "VALUES ('delete', ?, ?, ?, ?, ?)"
)


def labels(groups: Iterable[int]) -> str:
    """Return the words by which a text is found in these groups."""
    return " ".join(f"g{number}" for number in sorted(groups))


def attributes_json(attributes: Iterable[tuple[str, str]]) -> str:
    """Return attributes as a group holds them."""
    return json.dumps(dict(sorted(attributes)), ensure_ascii=False)
