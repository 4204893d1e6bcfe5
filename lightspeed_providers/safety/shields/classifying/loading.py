"""Classifiers that load in the background, one a process for each model, and take turns."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from weakref import WeakValueDictionary

from lightspeed_providers.core.embedding_turns import Turns
from lightspeed_providers.core.encoding import Piece, Vectors
from lightspeed_providers.core.errors import LightspeedError, UnavailableError
from lightspeed_providers.core.readiness import State, board
from lightspeed_providers.safety.shields.classifying.model import OpenClassifier, open_classifier

logger = logging.getLogger(__name__)

_TOKENS = {"cpu": 2048, "cuda": 32_768}
"""Tokens a forward pass, padding included."""
_MOST_WAITING = 4096


@dataclass(frozen=True, slots=True)
class _Ready:
    model: OpenClassifier
    turns: Turns


class Classifier:
    """One model; checks that wait for it share its forward passes."""

    def __init__(self, name: str, device: str) -> None:
        self.name = name
        self._device = device
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="classifier")
        self._lock = threading.Lock()
        self._loaded: Future[_Ready] | None = None

    def start_loading(self) -> None:
        """Load the model in its thread, once."""
        self._loading()

    async def model(self) -> OpenClassifier:
        """Return the model once it is loaded; raises at once where it can't be."""
        return (await self._ready()).model

    async def logits(self, pieces: Sequence[Piece]) -> Vectors:
        """Return one row a window, one column a label; raises where too many wait."""
        turns = (await self._ready()).turns
        try:
            rows = turns.submit(pieces)
        except UnavailableError as fault:  # the queue is the embeddings' too, and speaks of them
            raise UnavailableError(
                f"More than {_MOST_WAITING} windows wait for classifier '{self.name}': try again "
                "in a moment."
            ) from fault
        return await asyncio.wrap_future(rows)

    def _loading(self) -> "Future[_Ready]":
        with self._lock:
            if self._loaded is None:
                board.report(self._component, State.LOADING, f"loading {self.name}")
                self._loaded = self._executor.submit(self._load)
            return self._loaded

    async def _ready(self) -> _Ready:
        loading = self._loading()
        if not loading.done():
            waiting = asyncio.wrap_future(loading)
            waiting.add_done_callback(_mark_seen)
            await asyncio.wait({waiting})  # a check that gives up does not cancel the loading
        if (fault := loading.exception()) is not None:
            # A new one each time: one that is raised again and again keeps all its callers.
            raise UnavailableError(str(fault))
        return loading.result()

    def _load(self) -> _Ready:
        try:
            model = open_classifier(self.name, self._device)
        except Exception as fault:  # whatever torch, the hub or the files raise, say it once
            message = self._reason(fault)
            logger.error("%s", message)
            board.report(self._component, State.FAILED, message)
            raise UnavailableError(message) from fault
        board.report(
            self._component, State.READY, f"{self.name} on {model.device}, {model.precision}"
        )
        return _Ready(
            model,
            Turns(
                model.forward,
                self._executor,
                dimension=len(model.labels),
                budget=_TOKENS[model.device.partition(":")[0]],
                most_waiting=_MOST_WAITING,
            ),
        )

    def _reason(self, fault: Exception) -> str:
        reason = next(iter(str(fault).strip().splitlines()), "") or type(fault).__name__
        if isinstance(fault, LightspeedError):
            return reason
        return (
            f"Classifier '{self.name}' can't be loaded ({reason}): check its name and, where it is "
            "not a local directory, the network."
        )

    @property
    def _component(self) -> str:
        return f"classifier {self.name}"


_classifiers: WeakValueDictionary[tuple[str, str], Classifier] = WeakValueDictionary()
_classifiers_lock = threading.Lock()


def shared_classifier(name: str, device: str) -> Classifier:
    """Return this process's one classifier for a model and device; it ends with its last shield."""
    with _classifiers_lock:
        found = _classifiers.get((name, device))
        if found is None:
            found = _classifiers[name, device] = Classifier(name, device)
        return found


def _mark_seen(waiting: "asyncio.Future[_Ready]") -> None:
    """Keep asyncio from logging once more what the loading has logged."""
    if not waiting.cancelled():
        waiting.exception()
