"""What an index holds, whether it is sound, and how it differs from another."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.index.manifest import Manifest, read_manifest, verify_file
from lightspeed_providers.product_rag.index.open import open_index
from lightspeed_providers.product_rag.index.snapshot import Snapshot

_LENGTH_TOLERANCE = 5e-3
_AT_ONCE = 10_000

_HELD = """
SELECT product, version, language, count(DISTINCT document_no), count(*)
FROM places JOIN documents USING (document_no) JOIN groups USING (group_no)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Held:
    """How much of a release an index holds."""

    product: str
    version: str
    language: str
    pages: int
    passages: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What an index says about itself, and what it counts."""

    directory: Path
    manifest: Manifest
    releases: tuple[Held, ...]
    texts: int
    added_rows: int
    dead_rows: int
    files: tuple[tuple[str, int], ...]


def facts_of(directory: Path) -> Facts:
    """Return what an index holds now, changes in place included."""
    index = open_index(directory, None)
    try:
        with index.snapshot() as snapshot:
            held = tuple(Held(*row) for row in snapshot.connection.execute(_HELD))
            texts, dead = _count(snapshot, "texts"), _count(snapshot, "dead")
            added = snapshot.live.tail_rows if snapshot.live else 0
    finally:
        index.close()
    sizes = ((file.name, file.stat().st_size) for file in directory.iterdir() if file.is_file())
    files = tuple(sorted((name, size) for name, size in sizes if not name.startswith(".")))
    return Facts(directory, index.manifest, held, texts, added, dead, files)


def problems_of(directory: Path) -> Iterator[str]:
    """Yield a line for everything that is wrong with an index."""
    try:
        manifest = read_manifest(directory)
    except ConfigurationError as fault:
        yield str(fault)
        return
    broken = False
    for file in manifest.sealed:
        try:
            verify_file(directory, file)
        except ConfigurationError as fault:
            yield str(fault)
            broken = True
    if broken:
        return
    try:
        index = open_index(directory, None)
    except ConfigurationError as fault:
        yield str(fault)
        return
    try:
        with index.snapshot() as snapshot:
            yield from _miscounted(snapshot, manifest)
            yield from _misplaced(snapshot)
            yield from _bad_vectors(snapshot)
            yield from _bad_tables(snapshot)
    except sqlite3.Error as fault:
        yield f"The texts can't be read ({fault}): build the index again."
    finally:
        index.close()


@dataclass(frozen=True, slots=True)
class Difference:
    """Ids that only one of two indexes holds, or that mean something else in the other."""

    release: str
    kind: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def differences(before: Path, after: Path) -> Iterator[Difference]:
    """Yield how documents and passages of each release differ; nothing where they do not."""
    old, new = _contents(before), _contents(after)
    for key in sorted(old.keys() | new.keys()):
        name = " ".join(key)
        olds, news = old.get(key, {}), new.get(key, {})
        yield from _different(name, "documents", olds, news)
        yield from _different(name, "passages", _flat(olds), _flat(news))


_Key = tuple[str, str, str]
_Content = dict[str, dict[str, bytes]]


def _different[Value](
    release: str, kind: str, old: dict[str, Value], new: dict[str, Value]
) -> Iterator[Difference]:
    added = tuple(sorted(new.keys() - old.keys()))
    removed = tuple(sorted(old.keys() - new.keys()))
    changed = tuple(sorted(one for one in old.keys() & new.keys() if old[one] != new[one]))
    if added or removed or changed:
        yield Difference(release, kind, added, removed, changed)


def _flat(documents: _Content) -> dict[str, bytes]:
    return {one: text for passages in documents.values() for one, text in passages.items()}


def _contents(directory: Path) -> dict[_Key, _Content]:
    """Every passage's text and address by release, document and id."""
    index = open_index(directory, None)
    found: dict[_Key, _Content] = {}
    try:
        with index.snapshot() as snapshot:
            rows = snapshot.connection.execute(
                "SELECT product, version, language, document_id, passage_id, text_key, doc_url "
                "FROM places JOIN texts USING (position) JOIN documents USING (document_no) "
                "JOIN groups USING (group_no)"
            )
            for product, version, language, document, passage, key, address in rows:
                documents = found.setdefault((product, version, language), {})
                documents.setdefault(document, {})[passage] = key + address.encode()
    finally:
        index.close()
    return found


def _miscounted(snapshot: Snapshot, manifest: Manifest) -> Iterator[str]:
    words = int(snapshot.connection.execute("SELECT count(*) FROM words_docsize").fetchone()[0])
    texts = _count(snapshot, "texts")
    if words != texts:
        yield f"{texts} texts, and the words of {words}: build the index again."
    if manifest.live:
        return
    said = {
        "documents": manifest.pages,
        "places": manifest.passages,
        "texts": manifest.texts,
    }
    for table, wanted in said.items():
        found = _count(snapshot, table)
        if found != wanted:
            yield f"{found} {table}, the manifest says {wanted}: build the index again."
    held = {
        (row[0].casefold(), row[1], row[2]): (row[3], row[4])
        for row in snapshot.connection.execute(_HELD)
    }
    for release in manifest.releases:
        pages, passages = held.get(release.key, (0, 0))
        if (pages, passages) != (release.pages, release.passages):
            yield (
                f"{release.name} has {pages} pages and {passages} passages, the manifest says "
                f"{release.pages} and {release.passages}: build the index again."
            )


_RULES = (
    (
        "SELECT count(*) FROM places LEFT JOIN texts USING (position) WHERE content IS NULL",
        "passages have no text",
    ),
    (
        "SELECT count(*) FROM texts WHERE position NOT IN (SELECT position FROM places)",
        "texts belong to no passage",
    ),
    (
        "SELECT count(*) FROM (SELECT 1 FROM places GROUP BY document_no "
        "HAVING min(ordinal) != 0 OR max(ordinal) != count(*) - 1)",
        "documents have gaps between their passages",
    ),
    (
        "SELECT count(*) FROM places LEFT JOIN documents USING (document_no) "
        "WHERE document_id IS NULL",
        "passages belong to no document",
    ),
)


def _misplaced(snapshot: Snapshot) -> Iterator[str]:
    for question, what in _RULES:
        count = snapshot.connection.execute(question).fetchone()[0]
        if count:
            yield f"{count} {what}: build the index again."


def _bad_vectors(snapshot: Snapshot) -> Iterator[str]:
    total, missing, odd = snapshot.count(), 0, 0
    with closing(
        snapshot.connection.execute("SELECT position FROM texts ORDER BY position")
    ) as rows:
        while part := [row[0] for row in rows.fetchmany(_AT_ONCE)]:
            there = [position for position in part if position < total]
            missing += len(part) - len(there)
            lengths = np.linalg.norm(snapshot.vectors_at(there), axis=1)
            odd += int(np.count_nonzero(~(np.abs(lengths - 1) <= _LENGTH_TOLERANCE)))
    if missing:
        yield f"{missing} texts have no vector: build the index again."
    if odd:
        yield f"{odd} vectors are not of length 1: build the index again."


def _bad_tables(snapshot: Snapshot) -> Iterator[str]:
    """SQLite's own checks; that of the words needs a copy that can be written."""
    for (line,) in snapshot.connection.execute("PRAGMA integrity_check(5)"):
        if line != "ok":
            yield f"SQLite says '{line}': build the index again."
            return
    with tempfile.TemporaryDirectory() as room, closing(sqlite3.connect(Path(room) / "copy")) as to:
        snapshot.connection.backup(to)
        try:
            to.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        except sqlite3.DatabaseError as fault:
            yield f"The words are damaged ({fault}): build the index again."


def _count(snapshot: Snapshot, table: str) -> int:
    asked = f"SELECT count(*) FROM {table}"  # noqa: S608 # a name of ours
    return int(snapshot.connection.execute(asked).fetchone()[0])
