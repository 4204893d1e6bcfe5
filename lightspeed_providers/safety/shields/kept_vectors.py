"""Vectors of examples, kept from one start to the next, because embedding them takes seconds."""

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.paths import state_dir
from lightspeed_providers.safety.shields.base import Embed

log = logging.getLogger(__name__)

type Vectors = NDArray[np.float32]

_MOST_FILES = 16
_PROBES = 3
_ALIKE = 0.999
"""Cosine below which the model is taken for another one under the same name."""


async def kept_vectors(model: str, texts: Sequence[str], embed: Embed) -> Vectors:
    """Return the texts' vectors: from the disk where the model still gives the same.

    A few texts are embedded again to find that out. Raises what `embed` raises; a disk that can't
    be used only costs time.
    """
    file = _directory() / f"{_name(model, texts)}.npy"
    kept = await asyncio.to_thread(_read, file, len(texts))
    if kept is not None:
        places = np.linspace(0, len(texts) - 1, _PROBES).astype(int)
        again = np.asarray(await embed([texts[place] for place in places]), np.float32)
        if _are_alike(kept[places], again):
            return kept
    vectors = np.asarray(await embed([*texts]), np.float32)
    await asyncio.to_thread(_write, file, vectors)
    return vectors


def _directory() -> Path:
    named = os.environ.get("LIGHTSPEED_CACHE_DIR")
    return (Path(named).expanduser() if named else state_dir() / "cache") / "vectors"


def _name(model: str, texts: Sequence[str]) -> str:
    data = json.dumps([model, *texts]).encode()
    return hashlib.sha256(data).hexdigest()[:32]


def _read(file: Path, count: int) -> Vectors | None:
    try:
        vectors = np.load(file, allow_pickle=False)
        file.touch()  # the oldest go first
    except (OSError, ValueError, EOFError):
        return None
    is_whole = vectors.ndim == 2 and len(vectors) == count and vectors.dtype == np.float32
    return vectors if is_whole else None


def _are_alike(kept: Vectors, again: Vectors) -> bool:
    if kept.shape != again.shape:
        return False
    lengths = np.linalg.norm(kept, axis=1) * np.linalg.norm(again, axis=1)
    return bool(((kept * again).sum(axis=1) >= _ALIKE * lengths).all())


def _write(file: Path, vectors: Vectors) -> None:
    being_written = file.with_name(f"{file.stem}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with being_written.open("wb") as out:
            np.save(out, vectors)
        being_written.replace(file)
        for old in sorted(file.parent.glob("*.npy"), key=_age, reverse=True)[_MOST_FILES:]:
            old.unlink(missing_ok=True)
    except OSError as fault:
        log.warning("Vectors of examples are not kept: %s", fault.strerror)


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
