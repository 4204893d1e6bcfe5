"""What is measured: anything that finds passages for a question."""

from dataclasses import dataclass
from typing import Protocol

from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.evaluate.questions import Question


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, best first, and how long it took with all that a user waits for."""

    passages: tuple[Passage, ...]
    best_score: float
    took_ms: float


class Searcher(Protocol):
    """One way to search."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    def search(self, question: Question, k: int) -> Found:
        """Return at most k passages. Blocks."""
        ...
