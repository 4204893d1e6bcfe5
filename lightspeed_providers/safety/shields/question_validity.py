"""Blocks questions that are not about the product, by likeness to example questions."""

import asyncio
import re
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Block,
    Embed,
    Embedder,
    Shield,
    ShieldOptions,
)
from lightspeed_providers.safety.shields.normalise import normalised

type Vectors = NDArray[np.float32]

_READ = 1000
"""Characters that the usual embedding models read; of a longer text both ends are judged."""

_EARLIER = 2
_EARLIER_CHARACTERS = 300
_WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

_SMALL_TALK_TEXT = """
hi hello hey heya hiya howdy greetings good morning afternoon evening day night there again all
everyone team thanks thank thx ty cheers you u so very much many lot a for your the help helping
ok okay k great cool nice perfect awesome excellent wonderful brilliant fine got it bye goodbye
see ya later have welcome please yes no yep yeah nope sure that's that helped works worked how
are doing appreciate appreciated kindly sorry hallo danke merci gracias
"""
_SMALL_TALK = frozenset(_SMALL_TALK_TEXT.split())
_SMALL_TALK_WORDS = 9


class QuestionValidityOptions(ShieldOptions):
    """Options of a shield of kind `question_validity`."""

    needs_embeddings: ClassVar[bool] = True

    kind: Literal["question_validity"]
    embedding_model: str = Field(min_length=1, description="Id of a registered embedding model.")
    topic: str = Field(min_length=1, description="What the product is, in a sentence or two.")
    on_topic: tuple[str, ...] = Field(
        min_length=3, description="Questions that the assistant is there for."
    )
    off_topic: tuple[str, ...] = Field(
        min_length=3, description="Questions of all sorts that it is not there for."
    )
    nearest: int = Field(
        default=3,
        ge=1,
        description="How many nearest examples of each side a text is held against.",
    )
    threshold: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="How much more like the on-topic examples a text has to be (difference of mean "
        "cosines); lower lets more through.",
    )
    follow_up_words: int = Field(
        default=12,
        ge=0,
        description="A text of at most so many words is also judged together with the questions "
        "before it.",
    )
    follow_up_slack: float = Field(
        default=0.15,
        ge=0,
        le=2,
        description="How far below the threshold a follow-up may be by itself; one that is clearly "
        "about something else is no follow-up.",
    )

    def build(self, embedder: Embedder | None) -> Shield:
        """Return the shield."""
        if embedder is None:
            raise ValueError("question_validity needs embeddings")
        return QuestionValidityShield(self, embedder(self.embedding_model))


class QuestionValidityShield(Shield):
    """Holds a text against the nearest examples of either side."""

    def __init__(self, options: QuestionValidityOptions, embed: Embed) -> None:
        self._options = options
        self._embed = embed
        self._examples: asyncio.Task[tuple[Vectors, Vectors]] | None = None

    async def check(self, text: str, direction: Direction, history: Sequence[str]) -> Answer:
        """Block what is less like the product's questions than like others."""
        words = _WORDS.findall(normalised(text[:_READ]))
        if len(text) <= _READ and is_small_talk(words):
            return Allow()
        follow_up = bool(history) and self._is_short(text, words)
        if not follow_up:
            return self._answer(alone=max(await self._margins(_ends(text))))
        alone, together = await self._margins([text, _with_earlier(text, history)])
        return self._answer(alone, together)

    def _is_short(self, text: str, words: Sequence[str]) -> bool:
        return len(text) <= _READ and len(words) <= self._options.follow_up_words

    def _answer(self, alone: float, together: float = -np.inf) -> Answer:
        threshold = self._options.threshold
        follows = alone >= threshold - self._options.follow_up_slack and together >= threshold
        return Allow() if alone >= threshold or follows else Block()

    async def _margins(self, texts: list[str]) -> list[float]:
        """Return how much nearer each text is to the on-topic examples."""
        on_topic, off_topic = await self._example_vectors()
        vectors = _unit_length(await self._embed(texts))
        margins = self._likeness(vectors, on_topic) - self._likeness(vectors, off_topic)
        return [float(margin) for margin in margins]

    def _likeness(self, vectors: Vectors, examples: Vectors) -> Vectors:
        nearest = np.sort(vectors @ examples.T, axis=1)[:, -self._options.nearest :]
        return np.asarray(nearest.mean(axis=1))

    async def _example_vectors(self) -> tuple[Vectors, Vectors]:
        """Return the examples' vectors, embedded once; a check that gives up does not stop that."""
        if self._examples is None or _is_lost(self._examples):
            self._examples = asyncio.create_task(self._embed_examples())
            # Looking at a failure keeps asyncio from logging it with the text.
            self._examples.add_done_callback(_is_lost)
        return await asyncio.shield(self._examples)

    async def _embed_examples(self) -> tuple[Vectors, Vectors]:
        on_topic = [self._options.topic, *self._options.on_topic]
        vectors = _unit_length(await self._embed([*on_topic, *self._options.off_topic]))
        return vectors[: len(on_topic)], vectors[len(on_topic) :]


def _is_lost(task: asyncio.Task[tuple[Vectors, Vectors]]) -> bool:
    """Tell a task that failed, or whose event loop is gone, from one that gives a result."""
    if task.done():
        return task.cancelled() or task.exception() is not None
    return task.get_loop() is not asyncio.get_running_loop()


def is_small_talk(words: Sequence[str]) -> bool:
    """Tell a greeting, thanks, a plain yes or no word at all from a question."""
    return len(words) <= _SMALL_TALK_WORDS and all(word in _SMALL_TALK for word in words)


def _ends(text: str) -> list[str]:
    """Return what of a text is embedded: all of it, or its beginning and its end."""
    return [text] if len(text) <= _READ else [text[:_READ], text[-_READ:]]


def _with_earlier(text: str, history: Sequence[str]) -> str:
    earlier = (entry[:_EARLIER_CHARACTERS] for entry in history[-_EARLIER:])
    return "\n".join([*earlier, text])


def _unit_length(vectors: Vectors) -> Vectors:
    return np.asarray(
        vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32
    )
