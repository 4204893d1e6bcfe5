"""Makes one index of several, or of a part of one; nothing is embedded again."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.progress import Report
from lightspeed_providers.product_rag.index.assemble import (
    Embedding,
    Part,
    assemble,
    documents_of,
)
from lightspeed_providers.product_rag.index.manifest import Manifest, Release
from lightspeed_providers.product_rag.index.open import Index, open_index
from lightspeed_providers.product_rag.index.prefer import Prefer


def merge(
    sources: Sequence[Path], out: Path, *, prefer: Prefer | None = None, report: Report
) -> Manifest:
    """Write the index of everything that these hold; the same bytes in whatever order they come.

    A release that two hold differently is refused, unless the first or last is to be preferred.
    """
    with _opened(sources) as indexes:
        _check_alike(indexes)
        return _assembled(_chosen(indexes, prefer), indexes, out, report)


def without_release(
    directory: Path, product: str, version: str, language: str, *, report: Report
) -> Manifest:
    """Write the index again without one of its releases."""
    wanted = (product.casefold(), version, language)
    with _opened([directory]) as indexes:
        releases = indexes[0].manifest.releases
        left = [(release, indexes[0]) for release in releases if release.key != wanted]
        held = ", ".join(release.name for release in releases)
        if len(left) == len(releases):
            raise ConfigurationError(
                f"Index '{directory}' has no {product} {version} ({language}): it holds {held}."
            )
        if not left:
            raise ConfigurationError(
                f"Index '{directory}' holds only {held}: remove the directory instead."
            )
        return _assembled(left, indexes, directory, report)


@contextmanager
def _opened(directories: Sequence[Path]) -> Iterator[list[Index]]:
    with ExitStack() as held:
        indexes = []
        for directory in directories:
            indexes.append(open_index(directory, None))
            held.callback(indexes[-1].close)
        yield indexes


def _check_alike(indexes: Sequence[Index]) -> None:
    first = indexes[0]
    for other in indexes[1:]:
        one, two = first.manifest, other.manifest
        if (one.embedding_model, one.dimension) != (two.embedding_model, two.dimension):
            raise ConfigurationError(
                f"Index '{first.directory}' was built with '{one.embedding_model}' "
                f"({one.dimension} dimensions) and '{other.directory}' with "
                f"'{two.embedding_model}' ({two.dimension}): build one of them again."
            )


def _chosen(indexes: Sequence[Index], prefer: Prefer | None) -> list[tuple[Release, Index]]:
    chosen: dict[tuple[str, str, str], tuple[Release, Index]] = {}
    for index in indexes:
        for release in index.manifest.releases:
            other = chosen.get(release.key)
            if other is None or prefer is Prefer.LAST:
                chosen[release.key] = (release, index)
            elif prefer is None and _digest(*other) != _digest(release, index):
                raise ConfigurationError(
                    f"'{other[1].directory}' and '{index.directory}' both hold {release.name}, "
                    "and differ in it: choose one with --prefer first or --prefer last."
                )
            elif prefer is None:
                chosen[release.key] = min(other, (release, index), key=_by_facts)
    return list(chosen.values())


def _by_facts(held: tuple[Release, Index]) -> str:
    """Of two that are the same, the same one is taken in whatever order they come."""
    return held[0].model_dump_json()


def _digest(release: Release, index: Index) -> str:
    whole = hashlib.sha256()
    for document in documents_of(index, release):
        whole.update(repr(document).encode())
    return whole.hexdigest()


def _assembled(
    held: Sequence[tuple[Release, Index]], indexes: Sequence[Index], out: Path, report: Report
) -> Manifest:
    one = indexes[0].manifest
    # Where two hold a text, the vector of the same one is taken in whatever order they come.
    known = sorted(indexes, key=lambda index: (index.manifest.vectors.sha256, str(index.directory)))
    made = assemble(
        [Part(release, documents_of(index, release)) for release, index in held],
        out,
        Embedding(one.embedding_model, lambda: one.dimension, _refuse),
        reuse=[index.directory for index in known],
        report=report,
    )
    return made.manifest


def _refuse(texts: Sequence[str]) -> NDArray[np.float32]:
    raise ConfigurationError(
        f"{len(texts)} or more texts have no vector in their index: build that index again."
    )
