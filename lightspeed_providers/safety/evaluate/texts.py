"""Reads texts with what should become of them, one JSON object a line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.json_lines import read_json_lines

_CALLED = "Data file"


class Span(BaseModel):
    """Where a text holds personal data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int = Field(ge=0, description="First character, counted from 0.")
    end: int = Field(gt=0, description="The character after the last.")
    label: str = Field(min_length=1, description="What it is, e.g. `EMAIL`.")


class LabelledText(BaseModel):
    """A text, and either whether it should be blocked or where it holds personal data."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    text: Annotated[str, Field(min_length=1)]
    block: bool | None = Field(default=None, description="Whether a good shield blocks it.")
    spans: tuple[Span, ...] | None = Field(default=None, description="What a good one rewrites.")
    label: str = Field(default="", description="What sort of text it is, e.g. `near_miss`.")
    family: str = Field(default="", description="A finer sort, e.g. `role_play`.")
    history: tuple[str, ...] = Field(
        default=(), description="The user's earlier texts, oldest first."
    )
    split: str = Field(default="", description="E.g. `tuning` or `held_out`.")

    @model_validator(mode="after")
    def _says_what_is_expected(self) -> Self:
        if (self.block is None) == (self.spans is None):
            raise ValueError("give either `block` or `spans`")
        for span in self.spans or ():
            if not span.start < span.end <= len(self.text):
                raise ValueError(
                    f"span {span.start} to {span.end} is not within the text's "
                    f"{len(self.text)} characters"
                )
        return self


@dataclass(frozen=True, slots=True)
class Placed:
    """A text, and where it was read."""

    place: str
    text: LabelledText


def read_texts(files: Iterable[Path], split: str) -> list[Placed]:
    """Return the texts of all files in a split, or of all splits; raise in one line if none is."""
    read = [
        Placed(place, text)
        for file in files
        for place, text in read_json_lines(file, LabelledText, _CALLED)
    ]
    chosen = [placed for placed in read if split in ("all", placed.text.split)]
    if not chosen:
        there = ", ".join(sorted({p.text.split or "none" for p in read})) or "no text at all"
        raise ConfigurationError(
            f"No text has split '{split}' (there is: {there}): choose another --split."
        )
    if len({placed.text.spans is None for placed in chosen}) > 1:
        first = next(p for p in chosen if (p.text.spans is None) != (chosen[0].text.spans is None))
        raise ConfigurationError(
            f"{first.place}: texts with `block` and texts with `spans` are measured apart; give "
            "one sort of file at a time."
        )
    return chosen


def is_marked(texts: Sequence[Placed]) -> bool:
    """Whether these texts tell where they hold personal data."""
    return texts[0].text.spans is not None
