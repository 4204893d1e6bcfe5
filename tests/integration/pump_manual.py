"""The manual of a pump that nobody sells, and what builds and searches it in tests."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.embedder import shared_embedder
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.product_rag.filters import Wanted
from lightspeed_providers.product_rag.index.open import open_index
from lightspeed_providers.product_rag.ingest.build import (
    BuildResult,
    Documentation,
    Encoder,
    build_index,
)
from lightspeed_providers.product_rag.retrieval import (
    Reranker,
    Retriever,
    SearchResult,
    SearchSettings,
)

HASHED_WORDS = "hashed words"
"""A "model" whose vectors know nothing but which words a text has."""

BACKUPS = """
=======
Backups
=======

.. toctree::
   :maxdepth: 1

   never-shown

The pump keeps copies of its measurements. See :doc:`restore </restore>` and :ref:`restoring`.

.. _nightly:

Nightly backups
===============

Set :setting:`BACKUP_RETENTION_DAYS` to choose how many nightly copies are kept on the disk.
A :unheardof:`strange role` keeps its text, :class:`~pump.backup.Archive` shows its last name.

.. code-block:: python

    BACKUP_RETENTION_DAYS = 14

    def keep(days):
        return days <= BACKUP_RETENTION_DAYS

.. warning::

    A retention of zero deletes every copy at midnight.

.. versionadded:: 2.1

    Copies are compressed.

.. unheardof-directive:: with an argument

   Text inside a directive that nobody knows.

Where copies go
---------------

========== ===================
Place      Meaning
========== ===================
``local``  the disk of the pump
``remote`` an object store
========== ===================

retention
    How long a copy is kept before it is deleted.

.. module:: pump.backup

Programming
===========

.. class:: Archive(path, *, compressed=True)

    An archive of measurements that were taken by one pump, kept in one file on the disk, and
    opened for reading by every program that wants to compare today's pressure with the past.

    .. method:: restore(day)

        Puts back the measurements of one day. Later days stay as they are, and whatever was
        measured on that day by other pumps is left alone, so that nothing else is ever lost.

.. raw:: html

   <script>never()</script>

.. include:: /etc/passwd
"""

PRESSURE = """
# Pressure alarms

The pump rings when the pressure in the pipe leaves the range that you allow for it.

## Silence an alarm

Press the round button for three seconds. The bell stays silent until the pressure is normal again.

```sh
pumpctl alarm silence --minutes 30
```

| Code | Meaning |
| ---- | ------- |
| E-101 | pressure too low |
| E-102 | pressure too high |
"""

LUBRICATION = """Lubrication

Grease the bearing of the motor every six months with the food safe grease of the spare part kit.
"""


def manual(root: Path, version: str = "2.1") -> Documentation:
    """Four pages, one that can't be read, and a picture."""
    (root / "guide").mkdir(parents=True, exist_ok=True)
    (root / "guide" / "backups.rst").write_text(BACKUPS)
    (root / "guide" / "index.rst").write_text("Guide\n=====\n\nEverything about running a pump.\n")
    (root / "pressure.md").write_text(PRESSURE)
    (root / "lubrication.txt").write_text(LUBRICATION)
    (root / "broken.rst").write_bytes(b"Title\n=====\n\n\x00\xff\x00\xfe\x00 no text")
    (root / "picture.svg").write_text("<svg/>")
    return about(root, version=version)


def about(root: Path, **facts: Any) -> Documentation:
    """Documentation of the pump in a directory."""
    said = Documentation(
        source=root,
        product="Acme Pump",
        version="2.1",
        title="Acme Pump manual",
        url_template="https://docs.example.com/{version}/{path}/#{anchor}",
    )
    return replace(said, **facts)


def written(root: Path, pages: dict[str, str]) -> Path:
    """Write pages by name and return their directory."""
    for name, text in pages.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def real_encoder() -> Encoder:
    """The packaged embedding model, loaded once for all tests."""
    return shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto")


class HashedWords:
    """Vectors of the words of a text: the more words two have in common, the nearer they are."""

    dimension = 64

    def start_loading(self) -> None:
        pass

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.stack([_of_words(text) for text in texts])
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows / np.maximum(norms, 1e-9)).astype(np.float32)


def _of_words(text: str) -> NDArray[np.float64]:
    words = set(text.lower().split()) or {""}
    seeds = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:8]) for word in sorted(words)]
    rows = [np.random.default_rng(seed).standard_normal(HashedWords.dimension) for seed in seeds]
    return np.sum(rows, axis=0)


class Counting:
    """An encoder that remembers what it was asked to embed, and breaks down where it is told."""

    def __init__(self, inner: Encoder, breaks_at_call: int = 0) -> None:
        self._inner = inner
        self._breaks_at_call = breaks_at_call
        self._calls = 0
        self.texts: list[str] = []

    @property
    def dimension(self) -> int:
        return self._inner.dimension

    def start_loading(self) -> None:
        self._inner.start_loading()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self._calls += 1
        if self._calls == self._breaks_at_call:
            raise KeyboardInterrupt
        self.texts += texts
        return self._inner.encode(texts)


def build(
    documentation: Documentation,
    directory: Path,
    encoder: Encoder | None = None,
    *,
    model: str = HASHED_WORDS,
    **options: Any,
) -> BuildResult:
    """Build with hashed words, or with the encoder and model that are given."""
    return build_index(
        documentation,
        directory,
        model=model,
        encoder=lambda: encoder or HashedWords(),
        report=lambda stage, done, total: None,
        **options,
    )


def build_really(documentation: Documentation, directory: Path, **options: Any) -> BuildResult:
    """Build with the packaged embedding model."""
    return build(documentation, directory, real_encoder(), model=DEFAULT_EMBEDDING_MODEL, **options)


def search(
    directory: Path,
    query: str,
    wanted: Wanted | None = None,
    *,
    reranker: Reranker | None = None,
    embedded: str | None = None,
    **settings: Any,
) -> SearchResult:
    """Ask an index with the encoder that it was built with."""
    with closing(open_index(directory, None)) as index:
        hashed = index.manifest.embedding_model == HASHED_WORDS
        encoder: Encoder = HashedWords() if hashed else real_encoder()
        vector = encoder.encode([(embedded or query)[:2000]])[0]
        return Retriever(index, reranker).search(query, vector, SearchSettings(**settings), wanted)


def asks(directory: Path) -> Callable[..., SearchResult]:
    """Return what searches one index, kept open, many times."""
    index, encoder = open_index(directory, HASHED_WORDS), HashedWords()
    retriever = Retriever(index)

    def ask(query: str, wanted: Wanted | None = None, **settings: Any) -> SearchResult:
        vector = encoder.encode([query])[0]
        return retriever.search(query, vector, SearchSettings(**settings), wanted)

    return ask
