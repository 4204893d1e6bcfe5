"""Reads the texts that a head is trained with, one JSON object a line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.json_lines import read_json_lines

_CALLED = "Data file"
_HELD_OUT = "held_out"
FEWEST = 10
"""Texts of either sort that a head can be trained and cross-validated with."""


class TrainingText(BaseModel):
    """A text and whether it is to be blocked."""

    model_config = ConfigDict(frozen=True, extra="allow")

    text: str = Field(min_length=1, description="What a user or a document says.")
    block: bool = Field(description="Whether the shield is to block it.")
    split: str = Field(default="", description="Texts of split `held_out` are left out.")


@dataclass(frozen=True, slots=True)
class Example:
    """A text to train with."""

    text: str
    block: bool
    family: str
    """Texts of one family are never both trained with and tested with."""


def read_examples(files: Iterable[Path], families: str) -> tuple[list[Example], int]:
    """Return the texts to train with, and how many held-out ones are not among them."""
    found: list[Example] = []
    held_out = 0
    for file in files:
        for _, text in read_json_lines(file, TrainingText, _CALLED):
            if text.split == _HELD_OUT:
                held_out += 1
                continue
            family = (text.model_extra or {}).get(families)
            found.append(Example(text.text, text.block, str(family or f"text {len(found) + 1}")))
    _are_enough(found)
    return found, held_out


def _are_enough(examples: Sequence[Example]) -> None:
    blocked = sum(example.block for example in examples)
    for count, wanted in ((blocked, "true"), (len(examples) - blocked, "false")):
        if count < FEWEST:
            raise ConfigurationError(
                f"Failed to train: {count} texts with `block` {wanted}, {FEWEST} are the least; "
                "add examples of that sort (100 are a good start)."
            )
