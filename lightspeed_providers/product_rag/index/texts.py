"""Writes the texts of a new index: documents in, an SQLite file out.

Nothing but what is needed to tell texts apart is held in memory, and the same documents in the
same order give the same bytes.
"""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from lightspeed_providers.product_rag.index import schema
from lightspeed_providers.product_rag.index.content import (
    Document,
    Place,
    embedded_text,
    text_key,
)
from lightspeed_providers.product_rag.index.impacts import write_impacts
from lightspeed_providers.product_rag.index.manifest import Release
from lightspeed_providers.product_rag.index.packing import packed, unpacked

_PLAIN_WORD = re.compile(r"[a-z]{4,24}")


class ToEmbed(NamedTuple):
    """A text that has a position and needs a vector."""

    position: int
    key: bytes
    length: int


class TextsWriter:
    """The SQLite file of an index while it is built. Every text gets one position."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(schema.TABLES)
        self._database.execute("BEGIN")
        self._positions: dict[bytes, int] = {}
        self._groups: dict[tuple[str, ...], int] = {}
        self._vocabulary: Counter[str] = Counter()
        self._documents = 0
        self.places = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    @property
    def texts(self) -> int:
        """How many distinct texts there are."""
        return len(self._positions)

    def add(self, release: Release, document: Document) -> None:
        """Write a document; a text that is there already only gets one more place."""
        self._documents += 1
        facts = (self._documents, document.document_id, self._group(release, document))
        self._database.execute(schema.ADD_DOCUMENT, (*facts, document.title, document.source_file))
        for ordinal, place in enumerate(document.places):
            row = (self._documents, ordinal, self._position(document.title, place))
            self._database.execute(schema.ADD_PLACE, (*row, place.passage_id, place.doc_url))
        self.places += len(document.places)

    def to_embed(self) -> list[ToEmbed]:
        """Return every text's position, key and length, in order."""
        rows = self._database.execute(
            "SELECT position, text_key, tokens FROM texts ORDER BY position"
        )
        return [ToEmbed(*row) for row in rows]

    def tokens(self) -> int:
        """How many tokens all distinct texts have."""
        total = self._database.execute("SELECT coalesce(sum(tokens), 0) FROM texts").fetchone()[0]
        return int(total)

    def embedded_texts(self, positions: list[int]) -> list[str]:
        """Return what the model reads of these positions."""
        marks = ", ".join("?" * len(positions))
        rows = self._database.execute(
            f"SELECT position, title, heading_path, content FROM texts "  # noqa: S608 # marks
            f"WHERE position IN ({marks})",
            positions,
        )
        texts = {
            row[0]: embedded_text(row[1], json.loads(row[2]), unpacked(row[3])) for row in rows
        }
        return [texts[position] for position in positions]

    def finish(self, impacts: Path) -> None:
        """Index the words, write what each is worth beside, and close the file."""
        self._database.execute(schema.PLACES_BY_POSITION)
        self._database.execute(schema.DOCUMENTS_BY_GROUP)
        self._database.executemany(schema.ADD_WORDS, self._words())
        self._database.execute("INSERT INTO words (words) VALUES ('optimize')")
        write_impacts(self._database, impacts)
        frequent = ((w, count) for w, count in sorted(self._vocabulary.items()) if count > 1)
        self._database.executemany("INSERT INTO vocabulary VALUES (?, ?)", frequent)
        self._database.execute("COMMIT")
        self._database.close()

    def _group(self, release: Release, document: Document) -> int:
        attributes = schema.attributes_json(document.attributes)
        key = (release.product, release.version, document.language, attributes)
        if key not in self._groups:
            self._groups[key] = len(self._groups)
            self._database.execute(schema.ADD_GROUP, (self._groups[key], *key))
        return self._groups[key]

    def _position(self, title: str, place: Place) -> int:
        key = text_key(embedded_text(title, place.heading_path, place.content))
        known = self._positions.get(key)
        if known is not None:
            return known
        position = self._positions[key] = len(self._positions)
        path = json.dumps(place.heading_path, ensure_ascii=False)
        row = (position, key, title, path, packed(place.content), place.tokens)
        self._database.execute(schema.ADD_TEXT, row)
        self._vocabulary.update(set(_PLAIN_WORD.findall(f"{title} {path} {place.content}".lower())))
        return position

    def _words(self) -> Iterator[tuple[int, str, str, str, str]]:
        with closing(self._database.cursor()) as rows:
            rows.execute(
                "SELECT position, title, heading_path, content, (SELECT group_concat(group_no) "
                "FROM places JOIN documents USING (document_no) "
                "WHERE places.position = texts.position) FROM texts ORDER BY position"
            )
            for position, title, path, content, groups in rows:
                headings = " ".join(json.loads(path))
                numbers = {int(number) for number in groups.split(",")}
                yield position, title, headings, unpacked(content), schema.labels(numbers)
