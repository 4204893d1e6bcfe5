"""Blocks questions that are not about the product, by likeness to example questions.

Cheap judges decide the clear cases, dearer ones the rest: small talk passes, static vectors decide
what is clear to them, then the embedding model does, and what is unclear to it goes to a language
model, where one is named.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Block,
    Chat,
    Embed,
    Models,
    Shield,
)
from lightspeed_providers.safety.shields.judging_options import JudgingOptions
from lightspeed_providers.safety.shields.kept_vectors import Vectors, kept_vectors
from lightspeed_providers.safety.shields.learnt_once import LearntOnce
from lightspeed_providers.safety.shields.topic.cutoffs import Cutoffs
from lightspeed_providers.safety.shields.topic.examples import (
    TopicExamples,
    examples_file,
    read_examples,
)
from lightspeed_providers.safety.shields.topic.glance import Glance
from lightspeed_providers.safety.shields.topic.learning import Topic, learn, unit_length
from lightspeed_providers.safety.shields.topic.model import ask_model
from lightspeed_providers.safety.shields.topic.reading import WINDOW, read
from lightspeed_providers.safety.shields.topic.weighing import Look, before, of_text, together

_INLINE_CHARACTERS = 1500
_FEWEST = 3
_EARLIER = 2
"""How many turns back a follow-up may refer."""


class QuestionValidityOptions(JudgingOptions):
    """Options of a shield of kind `question_validity`."""

    kind: Literal["question_validity"]
    topic: str = Field(min_length=1, description="What the product is, in a sentence or two.")
    on_topic: tuple[str, ...] = Field(
        default=(),
        description="Questions that the assistant is there for, as users write them: keywords and "
        "error messages too. A few work, 100 are better.",
    )
    off_topic: tuple[str, ...] = Field(
        default=(),
        description="Questions near the product that it is not there for, such as those about "
        "other products. What is off topic for any product (cooking, health, politics, …) is known "
        "already.",
    )
    examples: str | None = Field(
        default=None,
        min_length=1,
        description="A YAML file with more `on_topic` and `off_topic` questions, or `django-demo`, "
        "which comes with this package. A change of the file is taken up while serving.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Id of a registered language model that decides what is unclear; it reads the "
        "topic, the last turns and the question. Without one the likelier side decides.",
    )

    @model_validator(mode="after")
    def _has_examples(self) -> Self:
        for side, listed in self.sides.model_dump().items():
            if len(listed) < _FEWEST:
                raise ValueError(
                    f"`{side}` has {len(listed)} questions: give {_FEWEST} or more, here or in the "
                    "file that `examples` names"
                )
        return self

    @cached_property
    def sides(self) -> TopicExamples:
        """All examples, those of the file first."""
        filed = TopicExamples() if self.examples is None else read_examples(self.examples)
        return TopicExamples(
            on_topic=(*filed.on_topic, *self.on_topic),
            off_topic=(*filed.off_topic, *self.off_topic),
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of examples; a change of it builds the shield anew."""
        return () if self.examples is None else (examples_file(self.examples),)

    def build(self, models: Models) -> Shield:
        """Return the shield; nothing is loaded or asked yet."""
        return QuestionValidityShield(self, *self.judges(models))


class QuestionValidityShield(Shield):
    """Asks its judges in turn, cheapest first, until one is sure."""

    def __init__(self, options: QuestionValidityOptions, embed: Embed, chat: Chat | None) -> None:
        self._options = options
        self._embed = embed
        self._chat = chat
        self._topic = LearntOnce(self._learn)

    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        """Block what is likelier off topic than not; raises where the language model babbles."""
        reading = await _beside(len(text), read, text)
        if not reading.windows:
            return Allow(score=0.0, stage="small_talk")
        topic = await self._topic.get()
        glance = await _beside(len(text), Glance.at, topic, reading)
        if glance.decides(topic.quick_cutoffs, is_first=not context.history):
            return _answer(topic.quick_cutoffs, glance.off_topic, "static")
        probability = await self._embedded(topic, reading.windows, glance.suspicious, context)
        if self._chat is None or topic.last_cutoffs.is_clear(probability):
            return _answer(topic.last_cutoffs, probability, "embedding")
        allowed = await ask_model(self._chat, self._options.topic, text, context.history)
        return (Allow if allowed else Block)(score=probability, stage="model")

    async def _embedded(
        self,
        topic: Topic,
        windows: Sequence[str],
        requests: Sequence[str],
        context: Context,
    ) -> float:
        """Return how likely the text is off topic, seen with the turns before it."""
        turns = [turn[:WINDOW] for turn in context.history[-_EARLIER:] if turn.strip()]
        looks, earlier = await asyncio.gather(
            self._looks(topic, [*windows, *requests]), self._looks(topic, turns)
        )
        base = before(earlier)
        weighed = [together(look, base) for look in looks]
        return of_text(weighed[: len(windows)], weighed[len(windows) :])

    async def _looks(self, topic: Topic, texts: Sequence[str]) -> list[Look]:
        if not texts:
            return []
        return topic.looks(texts, unit_length(await self._embed([*texts])))

    async def _learn(self) -> Topic:
        options = self._options

        async def embed(texts: list[str]) -> Vectors:
            return await kept_vectors(options.embedding_model, texts, self._embed)

        return await learn(options.topic, options.sides.on_topic, options.sides.off_topic, embed)


async def _beside[*Given, Made](
    size: int, function: Callable[[*Given], Made], *given: *Given
) -> Made:
    """Call a function, in a thread where a text of that size would hold up the event loop."""
    if size <= _INLINE_CHARACTERS:
        return function(*given)
    return await asyncio.to_thread(function, *given)


def _answer(cutoffs: Cutoffs, probability: float, stage: str) -> Answer:
    verdict = Block if cutoffs.blocks(probability) else Allow
    return verdict(score=probability, stage=stage)
