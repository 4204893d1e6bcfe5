"""Reads questions with known answers, one JSON object a line."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.json_lines import read_json_lines

UNANSWERABLE = "unanswerable"
"""The type of questions that the documentation does not answer."""

Split = Literal["tuning", "held-out"]
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]


class Expected(BaseModel):
    """A place in the documentation that answers a question."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    page: Text = Field(description="Path of the page in the documentation, without ending.")
    anchor: Text | None = Field(default=None, description="Heading under which the answer is.")


class Question(BaseModel):
    """A question, and where its answer is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text
    question: Text
    type: Text = Field(description=f"Any word; `{UNANSWERABLE}` has no expected places.")
    split: Split = Field(description="Whether settings may be tuned on it.")
    expected: tuple[Expected, ...]
    product: Text | None = Field(default=None, description="Search only in this product.")
    version: Text | None = Field(default=None, description="Search only in this version.")

    @model_validator(mode="after")
    def _expects_what_its_type_says(self) -> Self:
        if self.is_answerable == (self.type == UNANSWERABLE):
            rule = "must be empty" if self.is_answerable else "must name a page"
            raise ValueError(f"expected {rule} for a question of type '{self.type}'")
        if len(set(self.expected)) < len(self.expected):
            raise ValueError("expected names the same place twice")
        return self

    @property
    def is_answerable(self) -> bool:
        """Whether the documentation answers it."""
        return bool(self.expected)


def read_questions(files: Iterable[Path]) -> tuple[Question, ...]:
    """Return the questions of all files, or say which line is wrong."""
    questions: dict[str, Question] = {}
    for file in files:
        for place, question in read_json_lines(file, Question, "Question file"):
            if question.id in questions:
                raise ConfigurationError(
                    f"{place}, field 'id': '{question.id}' is there already; give every question "
                    "an id of its own."
                )
            questions[question.id] = question
    return tuple(questions.values())


def of_split(questions: Sequence[Question], split: str) -> tuple[Question, ...]:
    """Return the questions of one split, or of `all`; none is an error."""
    chosen = tuple(q for q in questions if split in ("all", q.split))
    if not chosen:
        there = ", ".join(sorted({q.split for q in questions})) or "no question at all"
        raise ConfigurationError(
            f"No question has split '{split}' (there is: {there}): choose another --split."
        )
    return chosen
