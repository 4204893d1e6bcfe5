"""Embeddings by one model, loaded once a process and out of everybody's way."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lightspeed_providers.core.devices import choose_device
from lightspeed_providers.core.embedding_turns import Turns
from lightspeed_providers.core.encoding import OpenModel, Piece, Vectors, open_model
from lightspeed_providers.core.errors import LightspeedError, ModelLoadingError, UnavailableError
from lightspeed_providers.core.model_packages import embedding_model_path
from lightspeed_providers.core.readiness import State, board
from lightspeed_providers.core.vector_cache import Known, VectorCache

logger = logging.getLogger(__name__)

COMPONENT = "embeddings"
_QUESTION_TOKENS = 128
"""Tokens a turn of questions: computing more of them together takes as long as one by one."""
_QUESTIONS = 4
"""A call of more texts, or of longer ones, is no question and stays out of the cache."""
_QUESTION_CHARACTERS = 2048
_BULK_TOKENS = {"cpu": 2048, "cuda": 32_768}
"""Tokens a turn of passages: so many that what is computed with them stays in the cache."""
_WAITING_QUESTIONS = 512
_WAITING_PASSAGES = 65_536
_CACHED = 4096

__all__ = ["COMPONENT", "Embedded", "Embedder", "Vectors", "shared_embedder"]


@dataclass(frozen=True, slots=True)
class Embedded:
    """One row a text, and how many tokens the model read of them all."""

    vectors: Vectors
    tokens: int


@dataclass(frozen=True, slots=True)
class _Ready:
    """The loaded model and the two queues before it."""

    model: OpenModel
    questions: Turns
    passages: Turns


class Embedder:
    """One embedding model; every vector has length 1.

    Questions are computed apart from passages, on one core: an import never holds them up.
    """

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
        self._loaded: Future[_Ready] | None = None
        self._cache = VectorCache(_CACHED)

    def start_loading(self) -> None:
        """Load the model in its thread, once."""
        self._loading()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one row a text; the first call waits for the model."""
        ready = self._ready()
        return ready.passages.submit(ready.model.pieces(texts)).result()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row a text without blocking the loop."""
        return (await self.embed_counted(texts)).vectors

    async def embed_counted(self, texts: Sequence[str]) -> Embedded:
        """Return one row a text, and how many tokens were read, without blocking the loop."""
        ready = await self._ready_soon()
        if len(texts) <= _QUESTIONS and sum(map(len, texts)) <= _QUESTION_CHARACTERS:
            return await self._embed_questions(ready, texts)
        pieces = await asyncio.to_thread(ready.model.pieces, texts)
        vectors = await asyncio.wrap_future(ready.passages.submit(pieces))
        return Embedded(vectors, _tokens(pieces))

    async def count_tokens(self, texts: Sequence[str]) -> int:
        """Return how many tokens the model reads of these texts, cut at its limit."""
        ready = await self._ready_soon()
        return _tokens(await asyncio.to_thread(ready.model.pieces, texts))

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the model reads."""
        return self._ready().model.max_tokens

    @property
    def dimension(self) -> int:
        """How long a vector is."""
        return self._ready().model.dimension

    @property
    def encoder_name(self) -> str:
        """How vectors are computed: which forward pass, and in which precision."""
        return self._ready().model.encoder.name

    async def _embed_questions(self, ready: _Ready, texts: Sequence[str]) -> Embedded:
        known = {text: self._cache.get(text) for text in texts}
        new = [text for text, found in known.items() if found is None]
        if new:
            known |= await self._compute_questions(ready, new)
        vectors = np.empty((len(texts), ready.model.dimension), dtype=np.float32)
        all_known = [found for text in texts if (found := known[text]) is not None]
        for row, found in zip(vectors, all_known, strict=True):
            row[:] = found.vector
        return Embedded(vectors, sum(found.tokens for found in all_known))

    async def _compute_questions(self, ready: _Ready, texts: list[str]) -> dict[str, Known]:
        pieces = ready.model.pieces(texts)  # some 30 µs each, less than a thread would cost
        turns = ready.questions if _tokens(pieces) <= _QUESTION_TOKENS else ready.passages
        rows = await asyncio.wrap_future(turns.submit(pieces))
        computed = {
            # A row of its own, or a cached one would keep its whole batch.
            text: Known(row.copy(), len(piece.tokens))
            for text, piece, row in zip(texts, pieces, rows, strict=True)
        }
        for text, found in computed.items():
            self._cache.put(text, found)
        return computed

    def _loading(self) -> "Future[_Ready]":
        with self._lock:
            if self._loaded is None:
                board.report(COMPONENT, State.LOADING, f"loading {self.model}")
                self._loaded = self._executor.submit(self._load)
            return self._loaded

    async def _ready_soon(self) -> _Ready:
        if self._loading().done():
            return self._ready()
        return await asyncio.to_thread(self._ready)

    def _ready(self) -> _Ready:
        try:
            return self._loading().result(timeout=self._load_timeout_s)
        except TimeoutError as fault:
            raise ModelLoadingError(
                f"Embedding model '{self.model}' is still loading: try again in a moment."
            ) from fault
        except LightspeedError as fault:
            raise UnavailableError(str(fault)) from fault

    def _load(self) -> _Ready:
        try:
            ready = self._open()
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
        encoder = ready.model.encoder.name
        board.report(COMPONENT, State.READY, f"{self.model} on {ready.model.device}, {encoder}")
        return ready

    def _open(self) -> _Ready:
        device = choose_device(self._device)
        model = open_model(
            embedding_model_path(self.model), device, trust_remote_code=self._trust_remote_code
        )
        apart = model.encoder.by_many_threads
        questions = Turns(
            model.encoder.vectors,
            _one_core_executor() if apart else self._executor,
            dimension=model.dimension,
            budget=_QUESTION_TOKENS,
            most_waiting=_WAITING_QUESTIONS,
        )
        passages = Turns(
            model.encoder.vectors,
            self._executor,
            dimension=model.dimension,
            budget=_BULK_TOKENS[device],
            most_waiting=_WAITING_PASSAGES,
        )
        return _Ready(model, questions, passages)


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


def _tokens(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.tokens) for piece in pieces)


def _one_core_executor() -> ThreadPoolExecutor:
    """One thread that computes by itself: at a dozen tokens waking others takes longer."""
    import torch

    threads = torch.get_num_threads()
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{COMPONENT}-questions")
    executor.submit(torch.get_num_threads).result()  # a thread's first use sets its number anew
    executor.submit(torch.set_num_threads, 1).result()
    torch.set_num_threads(threads)  # what threads to come start with is what was set last
    return executor
