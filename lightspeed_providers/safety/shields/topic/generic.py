"""What every topic shield knows beside its own examples; the lists lie in generic.yaml."""

from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict


class Generic(BaseModel):
    """Texts that have nothing to do with any one product."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    off_topic: tuple[str, ...]
    on_topic: tuple[str, ...]
    follow_ups: tuple[str, ...]
    openings: tuple[str, ...]
    software: tuple[str, ...]

    @property
    def changes_of_subject(self) -> tuple[str, ...]:
        """Off-topic questions with the words by which users come to speak of them."""
        openings = self.openings
        return tuple(
            openings[number % len(openings)] + question
            for number, question in enumerate(self.off_topic[:: len(openings) // 2 + 1])
        )


@cache
def generic() -> Generic:
    """Return the lists, read once."""
    file = Path(__file__).with_name("generic.yaml")
    return Generic.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
