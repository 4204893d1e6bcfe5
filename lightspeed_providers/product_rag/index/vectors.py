"""The vectors of an index: how they are stored, measured and searched.

Stored as 16-bit floats, which changes no ranking (recall 1.0 on 50,000 texts) and halves what is
read from disk and memory. All are compared up to `FLAT_UP_TO`; above that they are searched by
nearest lists, as many as a measurement on the vectors themselves asks for.
"""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.devices import share_cores
from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.index.manifest import Manifest, VectorFacts

FLAT_UP_TO = 10_000
"""Vectors that are all compared in about 3 ms on one core; lists are ten times faster at 50,000."""
RECALL = 0.99
"""Of the ten nearest, the share that a search by lists must find."""
_MOST_TRAINED = 50
"""Vectors a list that its centre is computed from."""
_MEASURED = 500
_PROBES = (8, 16, 32, 48, 64, 96, 128, 192, 256)
_ADDED_AT_ONCE = 100_000
_WRITTEN_AT_ONCE = 1 << 20

Vectors = NDArray[np.float32]
Bitmap = NDArray[np.uint8]
"""One bit a position, the lowest first: the positions that may be found."""


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """Vectors of length 1, searched by cosine. Safe to share between threads."""

    faiss_index: Any  # Any: faiss has no types
    facts: VectorFacts

    def nearest(
        self, vector: Vectors, k: int, allowed: Bitmap | None = None, *, exact: bool = False
    ) -> dict[int, float]:
        """Return the k nearest positions with their cosines, best first.

        `exact` compares all in any case: where few are allowed, the lists may hold none of them.
        """
        import faiss

        count = min(k, self.faiss_index.ntotal)
        if not count:
            return {}
        selected = None if allowed is None else faiss.IDSelectorBitmap(allowed)
        if self.facts.kind == "ivf":
            probes = self.facts.lists if exact else self.facts.probes
            wanted = faiss.SearchParametersIVF(sel=selected, nprobe=probes)
        else:
            wanted = faiss.SearchParameters(sel=selected)
        cosines, positions = self.faiss_index.search(vector.reshape(1, -1), count, params=wanted)
        pairs = zip(positions[0].tolist(), cosines[0].tolist(), strict=True)
        return {position: cosine for position, cosine in pairs if position >= 0}

    def at(self, positions: list[int]) -> Vectors:
        """Return the vectors of these positions, one row each."""
        if not positions:
            return np.empty((0, self.faiss_index.d), dtype=np.float32)
        rows: Vectors = self.faiss_index.reconstruct_batch(np.array(positions, dtype=np.int64))
        return rows


def write_vectors(vectors: Vectors, path: Path, *, flat_up_to: int = FLAT_UP_TO) -> VectorFacts:
    """Write a searchable file of these rows and return how it is searched."""
    import faiss

    count, dimension = vectors.shape
    if count <= flat_up_to:
        flat = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        _fill(flat, vectors)
        _save(flat, path)
        return VectorFacts(kind="flat")
    lists = max(16, round(2 * count**0.5))
    by_lists = faiss.index_factory(dimension, f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
    by_lists.cp.max_points_per_centroid = _MOST_TRAINED
    by_lists.cp.spherical = True
    sample = np.sort(np.random.default_rng(0).permutation(count)[: lists * _MOST_TRAINED])
    by_lists.train(np.ascontiguousarray(vectors[sample]))
    _fill(by_lists, vectors)
    by_lists.make_direct_map()
    probes, recall = _measured(by_lists, vectors, lists)
    _save(by_lists, path)
    return VectorFacts(kind="ivf", lists=lists, probes=probes, recall_at_10=round(recall, 4))


def open_vectors(path: Path, manifest: Manifest) -> VectorIndex:
    """Return the vectors of a file, mapped into memory and shared between processes."""
    share_cores()  # faiss's threads too would spin while they wait
    import faiss

    try:
        found = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as fault:
        raise ConfigurationError(
            f"Index file '{path}' is not a faiss index: build the index again."
        ) from fault
    if found.d != manifest.dimension or (not manifest.live and found.ntotal != manifest.texts):
        raise ConfigurationError(
            f"Index '{path.parent}' holds {found.ntotal} vectors of {found.d} dimensions, its "
            f"manifest says {manifest.texts} of {manifest.dimension}: build the index again."
        )
    return VectorIndex(found, manifest.vector_facts)


def bitmap_of(positions: NDArray[np.int64], count: int) -> Bitmap:
    """Return the bitmap in which these of `count` positions are set."""
    chosen = np.zeros(count, dtype=bool)
    chosen[positions] = True
    return np.packbits(chosen, bitorder="little")


def _save(index: Any, path: Path) -> None:  # Any: faiss has no types
    """Write an index by Python's means: faiss's own leave out unseen what a full disk refused."""
    import faiss

    with path.open("wb") as file:
        try:
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write, _WRITTEN_AT_ONCE))
        except RuntimeError as fault:
            file.flush()
            raise OSError(errno.EIO, "Vectors could not be written") from fault


def _fill(index: Any, vectors: Vectors) -> None:  # Any: faiss has no types
    if not index.is_trained:
        index.train(vectors[:1])  # 16-bit floats need no training, only the call
    for start in range(0, len(vectors), _ADDED_AT_ONCE):
        index.add(np.ascontiguousarray(vectors[start : start + _ADDED_AT_ONCE]))


def _measured(index: Any, vectors: Vectors, lists: int) -> tuple[int, float]:  # Any: see `_fill`
    """The fewest probes that find enough of what an exact search finds, and how much that is."""
    import faiss

    queries = _queries(vectors)
    truth = _exact(queries, vectors)
    recall = 0.0
    for probes in (*(p for p in _PROBES if p < lists), lists):
        wanted = faiss.SearchParametersIVF(nprobe=probes)
        _, found = index.search(queries, 10, params=wanted)
        same = [len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]
        recall = sum(same) / (10 * len(queries))
        if recall >= RECALL:
            return probes, recall
    return lists, recall


def _queries(vectors: Vectors) -> Vectors:
    """Points between two texts: further from any of them than a text is, as questions are."""
    chance = np.random.default_rng(1)
    first, second = chance.integers(0, len(vectors), (2, _MEASURED))
    mixed = np.asarray(vectors[first]) + 0.7 * np.asarray(vectors[second])
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), dtype=np.float32)


def _exact(queries: Vectors, vectors: Vectors) -> NDArray[np.int64]:
    """The ten nearest of all, a part of them at a time."""
    best = np.full((len(queries), 10), -2.0, dtype=np.float32)
    where = np.zeros((len(queries), 10), dtype=np.int64)
    for start in range(0, len(vectors), _ADDED_AT_ONCE):
        part = vectors[start : start + _ADDED_AT_ONCE]
        cosines = np.concatenate([best, queries @ np.asarray(part).T], axis=1)
        numbers = np.concatenate(
            [
                where,
                np.broadcast_to(np.arange(start, start + len(part)), (len(queries), len(part))),
            ],
            axis=1,
        )
        top = np.argpartition(-cosines, 9, axis=1)[:, :10]
        best = np.take_along_axis(cosines, top, axis=1)
        where = np.take_along_axis(numbers, top, axis=1)
    return where
