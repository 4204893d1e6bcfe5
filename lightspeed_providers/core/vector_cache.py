"""Vectors of questions that were asked before."""

import hashlib
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from opentelemetry import metrics

from lightspeed_providers.core.encoding import Vectors

_meter = metrics.get_meter("lightspeed.embeddings")

hits = _meter.create_counter(
    "ls_embedding_cache_hits_total", description="Questions whose vector was known."
)
misses = _meter.create_counter(
    "ls_embedding_cache_misses_total", description="Questions whose vector was computed."
)


@dataclass(frozen=True, slots=True)
class Known:
    """The vector of a text, and how many tokens the model read for it."""

    vector: Vectors
    tokens: int


class VectorCache:
    """The last used vectors of one model, by a hash that only this process can compute.

    So no text stays in memory, and none can be guessed from what does.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._secret = secrets.token_bytes(16)
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, text: str) -> Known | None:
        """Return what is known of a text, and count whether it was."""
        key = self._key(text)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
        (misses if known is None else hits).add(1)
        return known

    def put(self, text: str, known: Known) -> None:
        """Remember a text's vector; the one that was not used for longest goes."""
        key = self._key(text)
        with self._lock:
            self._known[key] = known
            self._known.move_to_end(key)
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def _key(self, text: str) -> bytes:
        # What a client sends may hold half a surrogate pair, which UTF-8 has no bytes for.
        whole = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(whole, digest_size=16, key=self._secret).digest()
