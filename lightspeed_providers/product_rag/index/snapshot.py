"""One state of an index, as a search sees it from beginning to end."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.index.allowed import Allowed, AllowedPositions
from lightspeed_providers.product_rag.index.content import Group, Stored
from lightspeed_providers.product_rag.index.impacts import COLUMN_WEIGHTS, Impacts, best
from lightspeed_providers.product_rag.index.live_state import LiveState
from lightspeed_providers.product_rag.index.packing import unpacked
from lightspeed_providers.product_rag.index.vectors import VectorIndex
from lightspeed_providers.product_rag.index.versions import version_key

_WEIGHTS = ", ".join(str(weight) for weight in COLUMN_WEIGHTS.values())
_MOST_NAMED = 2000
"""Texts that have a name as a phrase, or were added in place, that are scored."""
_FEW_ALLOWED = 4096
"""So few positions are compared one by one; the lists of an index may hold none of them."""
_AT_ONCE = 500

_PLACES = """
SELECT position, passage_id, document_id, texts.title, heading_path, doc_url, content, tokens,
       source_file, group_no, document_no, ordinal
FROM texts JOIN places USING (position) JOIN documents USING (document_no)
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Nearest vectors, best words and passages of one state of an index."""

    name: str
    dimension: int
    groups: tuple[Group, ...]
    connection: sqlite3.Connection
    vectors: VectorIndex
    impacts: Impacts
    allowed: AllowedPositions
    live: LiveState | None

    def allow(self, groups: frozenset[int]) -> Allowed | None:
        """Return what to pass to searches of these groups alone; None where that is all."""
        if len(groups) == len(self.groups):
            return None
        generation = self.live.generation if self.live else 0
        return self.allowed.of(self.connection, groups, self.count(), generation)

    def nearest(
        self, vector: NDArray[np.float32], k: int, allowed: Allowed | None = None
    ) -> dict[int, float]:
        """Return the k most similar positions with their cosines, best first."""
        bitmap = None if allowed is None else allowed.bitmap
        exact = allowed is not None and allowed.count <= _FEW_ALLOWED
        if self.live is not None:
            return self.live.nearest(self.vectors, vector, k, bitmap, exact=exact)
        return self.vectors.nearest(vector, k, bitmap, exact=exact)

    def cosines(self, vector: NDArray[np.float32], positions: Sequence[int]) -> dict[int, float]:
        """Return the cosine of each of these positions to the vector."""
        rows = self.vectors_at(positions)
        return dict(zip(positions, (rows @ vector).tolist(), strict=True))

    def vectors_at(self, positions: Sequence[int]) -> NDArray[np.float32]:
        """Return the vectors of these positions, one row each."""
        if self.live is not None:
            return self.live.at(self.vectors, list(positions))
        return self.vectors.at(list(positions))

    def matching(
        self,
        parts: Iterable[tuple[int, int, float]],
        names: str | None,
        everything: str | None,
        k: int,
        allowed: Allowed | None = None,
    ) -> dict[int, float]:
        """Return the k best positions with their BM25 scores, best first.

        `parts` are start, count and rarity of single stems; `names` is an FTS5 expression for
        what is found only as a phrase, `everything` one for texts that were added in place.
        """
        scores = np.zeros(int(self.vectors.faiss_index.ntotal), dtype=np.float32)
        for start, count, rarity in parts:
            self.impacts.add(scores, start, count, rarity)
        if names is not None:
            for position, score in self._fts(names, 0, len(scores), _MOST_NAMED):
                scores[position] += score
        lives = None if allowed is None else allowed.bitmap
        if self.live is not None:
            lives = self.live.in_base(lives)
        if lives is not None:
            scores *= np.unpackbits(lives, count=len(scores), bitorder="little")
        found = best(scores, k)
        if self.live is not None and self.live.tail_rows and everything is not None:
            for position, score in self._fts(everything, len(scores), self.count(), _MOST_NAMED):
                if allowed is None or allowed.bitmap[position >> 3] >> (position & 7) & 1:
                    found[position] = score
            found = dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:k])
        return found

    def _fts(self, expression: str, first: int, end: int, most: int) -> list[tuple[int, float]]:
        rows = self.connection.execute(
            f"SELECT rowid, -bm25(words, {_WEIGHTS}) FROM words "  # noqa: S608 # constants
            "WHERE words MATCH ? AND rowid >= ? AND rowid < ? ORDER BY 2 DESC, 1 LIMIT ?",
            (f"{{title headings content}} : ({expression})", first, end, most),
        )
        return rows.fetchall()

    def stored(
        self, positions: Iterable[int], groups: frozenset[int] | None = None
    ) -> dict[int, Stored]:
        """Return the passage at each of these positions, of these groups where they are given.

        A text that stands in several places is cited where it stands in the newest version.
        """
        wanted = list(positions)
        found: dict[int, tuple[tuple[object, ...], Stored]] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(part))
            for row in self.connection.execute(f"{_PLACES} WHERE position IN ({marks})", part):
                if groups is not None and row[9] not in groups:
                    continue
                rank = (version_key(self.groups[row[9]].version), -row[10], -row[11])
                if row[0] not in found or found[row[0]][0] < rank:
                    found[row[0]] = (rank, self._stored(row))
        return {position: found[position][1] for position in wanted if position in found}

    def neighbours(self, document: int, first: int, last: int) -> list[Stored]:
        """Return a document's passages from one ordinal to another, both included."""
        rows = self.connection.execute(
            f"{_PLACES} WHERE document_no = ? AND ordinal BETWEEN ? AND ? ORDER BY ordinal",
            (document, first, last),
        )
        return [self._stored(row) for row in rows]

    def listed(self, stems: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return of these stems how many texts have them and where their list starts."""
        marks = ", ".join("?" * len(stems))
        asked = f"SELECT stem, texts, start FROM stems WHERE stem IN ({marks})"  # noqa: S608 # marks
        rows = self.connection.execute(asked, list(stems))
        return {stem: (texts, start) for stem, texts, start in rows}

    def has_word(self, word: str) -> bool:
        """Whether any text has a word, in any of its forms."""
        asked = "SELECT 1 FROM words WHERE words MATCH ? LIMIT 1"
        return self.connection.execute(asked, (f'"{word}"',)).fetchone() is not None

    def count(self) -> int:
        """Return how many positions there are, the dead among them included."""
        return int(self.vectors.faiss_index.ntotal) + (self.live.tail_rows if self.live else 0)

    def _stored(self, row: tuple[Any, ...]) -> Stored:  # Any: what SQLite answers
        group = self.groups[row[9]]
        # Not validated again: it was when it was written, and a search reads forty.
        passage = Passage.model_construct(
            passage_id=row[1],
            document_id=row[2],
            title=row[3],
            heading_path=tuple(json.loads(row[4])),
            doc_url=row[5],
            content=unpacked(row[6]),
            source=self.name,
            source_file=row[8],
            product=group.product,
            version=group.version,
            language=group.language,
            attributes=dict(group.attributes),
        )
        return Stored(passage, row[7], row[0], row[10], row[11])


def read_groups(connection: sqlite3.Connection, first: int = 0) -> tuple[Group, ...]:
    """Return the groups from a number on."""
    rows = connection.execute("SELECT * FROM groups WHERE group_no >= ? ORDER BY 1", (first,))
    return tuple(
        Group(number, product, version, language, tuple(json.loads(attributes).items()))
        for number, product, version, language, attributes in rows
    )
