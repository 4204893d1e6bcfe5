"""A cross-encoder that judges the best passages again, each beside the question."""

import logging
import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lightspeed_providers.core.devices import choose_device
from lightspeed_providers.core.errors import ModelLoadingError, UnavailableError
from lightspeed_providers.core.readiness import State, board
from lightspeed_providers.product_rag import metrics
from lightspeed_providers.product_rag.config import RerankerSettings

logger = logging.getLogger(__name__)

COMPONENT = "reranker"
_MOST_CHARACTERS = 2000
"""Of a question beside a passage; the model reads some 512 tokens of both."""
_BATCH = 32


class CrossEncoderReranker:
    """Scores from 0 to 1 by a model that is loaded in the background.

    Whatever goes wrong is raised at once and counted, so that a search keeps the order it has.
    """

    def __init__(self, settings: RerankerSettings) -> None:
        self._settings = settings
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=COMPONENT)
        self._lock = threading.Lock()
        self._loaded: Future[Any] | None = None

    def start_loading(self) -> None:
        """Load the model in its thread, once."""
        with self._lock:
            if self._loaded is None:
                board.report(COMPONENT, State.LOADING, f"loading {self._settings.model}")
                self._loaded = self._executor.submit(self._load)

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return how well each text answers the query. Blocks up to the configured time."""
        if not texts:
            return []
        try:
            return self._scores(query, texts)
        except TimeoutError as fault:
            self._count("timeout")
            raise UnavailableError(
                f"Reranker '{self._settings.model}' took longer than {self._settings.timeout_s} s: "
                "give it more time, or fewer passages."
            ) from fault
        except ModelLoadingError:
            self._count("loading")
            raise
        except Exception:
            self._count("error")
            raise

    def close(self) -> None:
        """End its thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _scores(self, query: str, texts: Sequence[str]) -> list[float]:
        self.start_loading()
        loaded = self._loaded
        if loaded is None or not loaded.done():
            raise ModelLoadingError(f"Reranker '{self._settings.model}' is still loading.")
        model = loaded.result()
        judging = self._executor.submit(judged, model, query, texts)
        try:
            return judging.result(timeout=self._settings.timeout_s)
        finally:
            judging.cancel()  # one that still waits need not run any more

    def _load(self) -> Any:  # Any: the library's model
        try:
            device = choose_device(self._settings.device)
            model = open_cross_encoder(self._settings.model, device)
        except Exception as fault:  # whatever torch, the hub or the files raise, say it once
            reason = next(iter(str(fault).strip().splitlines()), type(fault).__name__)
            message = (
                f"Reranker '{self._settings.model}' can't be loaded ({reason}): check its name."
            )
            logger.error("%s", message)
            board.report(COMPONENT, State.FAILED, message)
            raise UnavailableError(message) from fault
        board.report(COMPONENT, State.READY, f"{self._settings.model} on {device}")
        return model

    def _count(self, reason: str) -> None:
        metrics.rerank_failures.add(1, {"reason": reason})


def open_cross_encoder(model: str, device: str) -> Any:  # Any: importing the type is slow
    """Return a sentence-transformers cross-encoder by its hub name or directory."""
    from sentence_transformers import CrossEncoder

    # A directory needs no hub, and asking it costs seconds where there is no network.
    return CrossEncoder(model, device=device, local_files_only=Path(model).is_dir())


def judged(model: Any, query: str, texts: Sequence[str]) -> list[float]:  # Any: as above
    """Return how well each text answers the query, from 0 to 1."""
    import torch

    raw = model.predict(
        [(query[:_MOST_CHARACTERS], text) for text in texts],
        batch_size=_BATCH,
        show_progress_bar=False,
        activation_fn=torch.nn.Sigmoid(),  # one scale, whatever the model was trained with
    )
    scores = [float(score) for score in raw]
    if not all(math.isfinite(score) for score in scores):
        raise UnavailableError("The reranker answers with numbers that are none.")
    return scores
