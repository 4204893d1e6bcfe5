"""Embeddings by sentence-transformers, loaded once a process and out of everybody's way."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.devices import choose_device
from lightspeed_providers.core.errors import LightspeedError, ModelLoadingError, UnavailableError
from lightspeed_providers.core.model_packages import embedding_model_path
from lightspeed_providers.core.readiness import State, board

logger = logging.getLogger(__name__)

COMPONENT = "embeddings"
_SLICE = 64
"""Texts a job. Jobs of several callers take turns, so a question never waits for a whole import."""

Vectors = NDArray[np.float32]


class Embedder:
    """One embedding model in a thread of its own; every vector has length 1."""

    def __init__(
        self,
        model: str,
        device: str | None = None,
        *,
        trust_remote_code: bool = False,
        load_timeout_s: float = 60.0,
    ) -> None:
        self.model = model
        self._device = device
        self._trust_remote_code = trust_remote_code
        self._load_timeout_s = load_timeout_s
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=COMPONENT)
        self._lock = threading.Lock()
        self._loaded: Future[Any] | None = None  # Any: importing the model's type takes seconds

    def start_loading(self) -> None:
        """Load the model in its thread, once."""
        self._loading()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one row a text; the first call waits for the model."""
        model = self._loaded_model(self._load_timeout_s)
        ordered = _by_length(texts)
        rows = [
            self._executor.submit(_encode, model, [texts[i] for i in part]).result()
            for part in _slices(ordered)
        ]
        return _in_order(rows, ordered, self.dimension)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row a text without blocking the loop."""
        model = await asyncio.to_thread(self._loaded_model, self._load_timeout_s)
        ordered = _by_length(texts)
        rows = [
            await asyncio.wrap_future(
                self._executor.submit(_encode, model, [texts[i] for i in part])
            )
            for part in _slices(ordered)
        ]
        return _in_order(rows, ordered, self.dimension)

    async def count_tokens(self, texts: Sequence[str]) -> int:
        """Return how many tokens the model reads of these texts, cut at its limit."""
        model = await asyncio.to_thread(self._loaded_model, self._load_timeout_s)
        return await asyncio.wrap_future(self._executor.submit(_count_tokens, model, list(texts)))

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the model reads."""
        return int(self._loaded_model(self._load_timeout_s).max_seq_length)

    @property
    def dimension(self) -> int:
        """How long a vector is."""
        return _dimension(self._loaded_model(self._load_timeout_s))

    def _loading(self) -> "Future[Any]":
        with self._lock:
            if self._loaded is None:
                board.report(COMPONENT, State.LOADING, f"loading {self.model}")
                self._loaded = self._executor.submit(self._load)
            return self._loaded

    def _loaded_model(self, timeout_s: float) -> Any:  # Any: see `_loaded`
        try:
            return self._loading().result(timeout=timeout_s)
        except TimeoutError as fault:
            raise ModelLoadingError(
                f"Embedding model '{self.model}' is still loading: try again in a moment."
            ) from fault
        except LightspeedError as fault:
            raise UnavailableError(str(fault)) from fault

    def _load(self) -> Any:  # Any: see `_loaded`
        try:
            model = self._open()
        except Exception as fault:  # whatever torch, the hub or the files raise, say it once
            reason = str(fault).strip().splitlines()[0] if str(fault).strip() else repr(fault)
            message = (
                reason
                if isinstance(fault, LightspeedError)
                else f"Embedding model '{self.model}' can't be loaded ({reason}): check its name "
                "and, where it is not a local directory, the network."
            )
            logger.error("%s", message)
            board.report(COMPONENT, State.FAILED, message)
            raise UnavailableError(message) from fault
        board.report(COMPONENT, State.READY, f"{self.model} on {model.device}")
        return model

    def _open(self) -> Any:  # Any: see `_loaded`
        device = choose_device(self._device)
        path = embedding_model_path(self.model)
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_log

        transformers_log.disable_progress_bar()  # it takes a moment and would tear our own bar
        transformers_log.set_verbosity_error()
        model = SentenceTransformer(
            path,
            device=device,
            trust_remote_code=self._trust_remote_code,
            # A directory needs no hub, and asking it costs seconds where there is no network.
            local_files_only=Path(path).is_dir(),
        )
        _encode(model, ["warm up"])
        return model


_embedders: dict[tuple[str, str | None, bool], Embedder] = {}
_embedders_lock = threading.Lock()


def shared_embedder(
    model: str, device: str | None = None, *, trust_remote_code: bool = False
) -> Embedder:
    """Return this process's one embedder for a model and device; it does not load by itself."""
    with _embedders_lock:
        key = (model, device, trust_remote_code)
        if key not in _embedders:
            _embedders[key] = Embedder(model, device, trust_remote_code=trust_remote_code)
        return _embedders[key]


def _by_length(texts: Sequence[str]) -> list[int]:
    """Order texts so that a batch holds similar lengths and little padding is computed."""
    return sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)


def _slices(ordered: list[int]) -> list[list[int]]:
    return [ordered[start : start + _SLICE] for start in range(0, len(ordered), _SLICE)]


def _in_order(rows: list[Vectors], ordered: list[int], dimension: int) -> Vectors:
    vectors = np.empty((len(ordered), dimension), dtype=np.float32)
    if rows:
        vectors[ordered] = np.concatenate(rows)
    return vectors


def _encode(model: Any, texts: list[str]) -> Vectors:  # Any: see `Embedder._loaded`
    vectors: Vectors = model.encode(
        texts,
        batch_size=_SLICE // 2,
        normalize_embeddings=True,
        convert_to_numpy=True,
        show_progress_bar=False,
    )
    return vectors.astype(np.float32, copy=False)


def _count_tokens(model: Any, texts: list[str]) -> int:  # Any: see `Embedder._loaded`
    encoded = model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)
    return sum(len(ids) for ids in encoded["input_ids"])


def _dimension(model: Any) -> int:  # Any: see `Embedder._loaded`
    # The method was renamed in sentence-transformers 5.
    named = getattr(model, "get_embedding_dimension", None)
    return int((named or model.get_sentence_embedding_dimension)())
