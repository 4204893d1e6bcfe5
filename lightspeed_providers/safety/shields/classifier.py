"""Blocks texts that a sequence-classification model gives a label to, e.g. `INJECTION`."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lightspeed_providers.core.encoding import Piece
from lightspeed_providers.core.errors import ConfigurationError, UnavailableError
from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Block,
    Models,
    Shield,
    ShieldOptions,
    scan,
)
from lightspeed_providers.safety.shields.classifying.labels import label_numbers, probabilities
from lightspeed_providers.safety.shields.classifying.loading import Classifier, shared_classifier
from lightspeed_providers.safety.shields.classifying.model import OpenClassifier, is_directory
from lightspeed_providers.safety.shields.parts import readable

_INLINE_CHARACTERS = 2000
"""A text up to here is cut into tokens in less time than a thread takes to wake."""


class ClassifierOptions(ShieldOptions):
    """Options of a shield of kind `classifier`."""

    kind: Literal["classifier"]
    timeout_s: float = Field(
        default=10.0,
        gt=0,
        le=600,
        description="Seconds a check may take before it counts as failed; the first checks also "
        "wait for the model to load.",
    )
    beside_model: bool = Field(
        default=True,
        description="Whether a model may start on a question before this shield's verdict on it.",
    )
    model: str = Field(
        min_length=1,
        description="Directory of a transformers sequence-classification model, or its hub name.",
    )
    labels: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        min_length=1,
        description="Labels that block, by name or as LABEL_n, each with the probability from "
        "which on it does.",
    )
    activation: Literal["auto", "softmax", "sigmoid"] = Field(
        default="auto",
        description="How the model's numbers become probabilities: softmax where one label "
        "applies, sigmoid where several may; auto goes by the model's problem_type.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$",
        description="Where the model runs: auto (a GPU if there is one), cpu, cuda or cuda:N. "
        "LIGHTSPEED_DEVICE overrides it.",
    )
    max_windows: int = Field(
        default=32,
        ge=1,
        le=512,
        description="How many windows, of up to 512 tokens each, are read of a text; the worst "
        "counts. Of a longer text they are evenly spread, and what lies between is not read.",
    )

    def build(self, models: Models) -> Shield:
        """Return the shield, its model loading in the background."""
        if is_directory(self.model):
            _check_directory(self.model, self)
        classifier = shared_classifier(self.model, self.device)
        classifier.start_loading()
        return ClassifierShield(self, classifier)


class ClassifierShield(Shield):
    """Asks the model for all windows of a text and goes by the worst."""

    def __init__(self, options: ClassifierOptions, classifier: Classifier) -> None:
        self._options = options
        self._classifier = classifier

    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        """Block where some window reaches the threshold of some label."""
        seen = await scan(readable, text)
        if not seen or seen.isspace():
            return Allow()
        model = await self._classifier.model()
        labels = label_numbers(self._options.labels, model.labels, model.name)
        logits = await self._classifier.logits(await self._windows(model, seen))
        multi_label = _multi_label(self._options.activation, model)
        worst = probabilities(logits, multi_label=multi_label).max(axis=0)
        if not np.isfinite(worst).all():
            raise UnavailableError(f"Classifier '{model.name}' answers with numbers that are none.")
        categories = {label: float(worst[number]) for number, label in labels.items()}
        score = max(categories.values())
        if any(categories[label] >= least for label, least in self._options.labels.items()):
            return Block(score=score, categories=categories)
        return Allow(score=score)

    async def _windows(self, model: OpenClassifier, text: str) -> list[Piece]:
        if len(text) <= _INLINE_CHARACTERS:
            return model.windows.of(text, self._options.max_windows)
        return await asyncio.to_thread(model.windows.of, text, self._options.max_windows)


def _multi_label(activation: str, model: OpenClassifier) -> bool:
    if activation == "auto" or len(model.labels) == 1:  # one number is never a choice
        return model.multi_label
    return activation == "sigmoid"


def _check_directory(name: str, options: ClassifierOptions) -> None:
    """Stop the start where a directory can't be the model, long before it would be loaded."""
    config = Path(name).expanduser() / "config.json"
    try:
        described = json.loads(config.read_text())
        named = described.get("id2label") or {}
        labels = [str(named[key]) for key in sorted(named, key=int)]
    except OSError as fault:
        raise ConfigurationError(
            f"Classifier '{name}' has no readable config.json ({fault.strerror}): give the "
            "directory of a transformers model."
        ) from fault
    except (ValueError, AttributeError, TypeError) as fault:
        raise ConfigurationError(
            f"Classifier '{name}' has a broken config.json: save the model again."
        ) from fault
    if labels:  # a model without names for them gets LABEL_n when it is loaded
        label_numbers(options.labels, labels, name)
