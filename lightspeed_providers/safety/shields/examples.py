"""Blocks texts that are like examples, judged by a logistic head over an embedding model.

A head comes from a file that `lightspeed shields train` wrote, or is fitted to examples that stand
in the configuration when it is first needed. Every part of a text is judged and the worst counts.
"""

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
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
from lightspeed_providers.safety.shields.heads.asking import QUESTION, allows
from lightspeed_providers.safety.shields.heads.parts import parts
from lightspeed_providers.safety.shields.heads.trained import TrainedHead, head_file, read_head
from lightspeed_providers.safety.shields.judging_options import JudgingOptions
from lightspeed_providers.safety.shields.kept_vectors import kept_vectors
from lightspeed_providers.safety.shields.learnt_once import LearntOnce

_FEWEST = 3


class ExamplesOptions(JudgingOptions):
    """Options of a shield of kind `examples`."""

    kind: Literal["examples"]
    file: str | None = Field(
        default=None,
        min_length=1,
        description="The trained head: a file that `lightspeed shields train` wrote, or "
        "`injection`, which comes with this package. Leave it out to give examples.",
    )
    block: tuple[str, ...] = Field(
        default=(), description="Examples of what is blocked, where no file is named: 3 or more."
    )
    allow: tuple[str, ...] = Field(
        default=(), description="Examples of what passes, where no file is named: 3 or more."
    )
    threshold: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="The score from which a text is blocked; without it the one that the training "
        "chose, or 0.5 where examples are given.",
    )
    most_parts: int = Field(
        default=8,
        ge=1,
        le=200,
        description="The most parts of a text that are judged: the most suspicious ones and others "
        "evenly spread over it. More find what is well hidden and take longer.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Id of a registered language model that decides within the grey zone.",
    )
    grey: tuple[float, float] = Field(
        default=(0.3, 0.9),
        description="Scores between which the language model is asked, where one is named.",
    )
    question: str = Field(
        default=QUESTION,
        min_length=1,
        description="What the language model is told: when to answer ALLOWED and when REJECTED.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.file is None) == (not self.block and not self.allow):
            raise ValueError("give either `file`, or both `block` and `allow`")
        if self.file is None and min(len(self.block), len(self.allow)) < _FEWEST:
            raise ValueError(
                f"`block` has {len(self.block)} examples and `allow` {len(self.allow)}: give at "
                f"least {_FEWEST} of each"
            )
        if not 0 <= self.grey[0] <= self.grey[1] <= 1:
            raise ValueError(
                f"grey zone from {self.grey[0]:g} to {self.grey[1]:g}: give two scores from 0 to "
                "1, the lower one first"
            )
        if self.trained is not None and not self.trained.fits(self.embedding_model):
            raise ValueError(
                f"head '{self.file}' was trained for '{self.trained.embedding_model}', not for "
                f"'{self.embedding_model}': name that model, or train a head with "
                "`lightspeed shields train --embedding-model`"
            )
        return self

    @cached_property
    def trained(self) -> TrainedHead | None:
        """The head of the file, if one is named."""
        return None if self.file is None else read_head(self.file)

    @property
    def files(self) -> tuple[Path, ...]:
        """The trained head's file; a change of it builds the shield anew."""
        return () if self.file is None else (head_file(self.file),)

    def build(self, models: Models) -> Shield:
        """Return the shield; nothing is loaded or asked yet."""
        return ExamplesShield(self, *self.judges(models))


class ExamplesShield(Shield):
    """Scores the parts of a text; a language model may decide where the head is unsure."""

    def __init__(self, options: ExamplesOptions, embed: Embed, chat: Chat | None) -> None:
        self._options = options
        self._embed = embed
        self._chat = chat
        self._learnt = LearntOnce(self._learn)

    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        """Block what scores too high; raises where the language model babbles."""
        head = self._options.trained or await self._learnt.get()
        judged = await asyncio.to_thread(parts, text, self._options.most_parts, head.wording)
        if not judged:
            return Allow(score=0.0, stage="empty")
        vectors = await self._embed(judged)
        scores = await asyncio.to_thread(head.scores, judged, vectors)
        worst = int(np.argmax(scores))
        score = float(scores[worst])
        lowest, highest = self._options.grey
        if self._chat is not None and lowest <= score < highest:
            allowed = await allows(self._chat, self._options.question, judged[worst])
            return (Allow if allowed else Block)(score=score, stage="model")
        threshold = self._options.threshold or head.threshold
        return (Block if score >= threshold else Allow)(score=score, stage="head")

    async def _learn(self) -> TrainedHead:
        block, allow = self._options.block, self._options.allow
        texts: Sequence[str] = [*block, *allow]
        vectors = await kept_vectors(self._options.embedding_model, texts, self._embed)
        wanted = [True] * len(block) + [False] * len(allow)
        return await asyncio.to_thread(TrainedHead.learn, texts, vectors, wanted)
