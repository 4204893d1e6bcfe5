"""Real embeddings, and the questions that topic shields are tuned with."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from lightspeed_providers.core.embedder import shared_embedder
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.demo.policy import DEMO_SHIELDS
from lightspeed_providers.safety.shields.base import Allow, Block, Chat, Models
from lightspeed_providers.safety.shields.question_validity import (
    QuestionValidityOptions,
    QuestionValidityShield,
)
from lightspeed_providers.safety.shields.topic.examples import read_examples

BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "shields"
_VECTORS: dict[str, NDArray[np.float32]] = {}


async def embed(texts: list[str]) -> NDArray[np.float32]:
    """Return what the embedding model gives; a text is embedded once a process."""
    if new := [text for text in dict.fromkeys(texts) if text not in _VECTORS]:
        model = shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto")
        _VECTORS.update(zip(new, await asyncio.to_thread(model.encode, new), strict=True))
    return np.stack([_VECTORS[text] for text in texts])


def no_chat(_model: str) -> Chat:
    raise AssertionError("no language model is named")


def options_of(product: str) -> dict[str, Any]:
    """Return the options of a product's topic shield."""
    if product == "django":
        examples = read_examples(DEMO_SHIELDS["input_topic"]["examples"]).model_dump()
        demo = {k: v for k, v in DEMO_SHIELDS["input_topic"].items() if k != "examples"}
        return {**demo, **examples, "embedding_model": "embeddings"}
    file = BENCHMARKS / f"{product}-topic.yaml"
    options: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return options


def shield_of(options: dict[str, Any], models: Models | None = None) -> QuestionValidityShield:
    """Return the shield as a policy builds it."""
    shield = QuestionValidityOptions.model_validate(options).build(
        models or Models(lambda _: embed, no_chat)
    )
    assert isinstance(shield, QuestionValidityShield)
    return shield


@cache
def product_shield(product: str) -> QuestionValidityShield:
    """Return a product's shield; what it has learnt serves every test that changes nothing."""
    return shield_of(options_of(product))


async def ask(shield: QuestionValidityShield, text: str, *history: str) -> Allow | Block:
    """Return the shield's answer to a question after others."""
    answer = await shield.check(text, Direction.INPUT, Context(history=history))
    assert isinstance(answer, Allow | Block)
    return answer


@dataclass(frozen=True)
class Labelled:
    """A question and what a good shield makes of it."""

    text: str
    label: str
    block: bool
    history: tuple[str, ...]


def tuning_questions(product: str) -> list[Labelled]:
    """Return the half that shields may be tuned with."""
    file = BENCHMARKS / f"topic-{product}.tuning.jsonl"
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [
        Labelled(row["text"], row["label"], row["block"], tuple(row.get("history", ())))
        for row in rows
    ]


async def answers_to(
    shield: QuestionValidityShield, questions: Sequence[Labelled]
) -> list[tuple[Labelled, Allow | Block]]:
    """Return each question with its answer."""
    await embed([text for q in questions for text in (q.text, *q.history)])  # quicker at one time
    return [(q, await ask(shield, q.text, *q.history)) for q in questions]
