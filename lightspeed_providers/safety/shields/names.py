"""Rewrites names of people and places with typed placeholders, as in `<PERSON_1>`.

A kind of its own beside `redaction`: it asks a language model, so a stream waits for it at the ends
of sentences, while what patterns find goes on at once.
"""

import asyncio
import re
from collections import Counter
from typing import Literal, Self

from pydantic import Field, model_validator

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Models,
    Replace,
    Shield,
    ShieldOptions,
)
from lightspeed_providers.safety.shields.naming.model import (
    MISSING,
    Name,
    is_installed,
    recognizer,
)
from lightspeed_providers.safety.shields.redacting.numbers import Conversations, Numbers

type NameKind = Literal["person", "place"]

_PART = 20_000
"""Characters that the model reads at once; its memory grows with them."""
_BOUNDARY = re.compile(r"[.!?]\s|\n|\s")


class NamesOptions(ShieldOptions):
    """Options of a shield of kind `names`."""

    kind: Literal["names"]
    timeout_s: float = Field(
        default=60.0,
        gt=0,
        le=600,
        description="Seconds a check may take before it counts as failed; the first one loads "
        "the model.",
    )
    entities: frozenset[NameKind] = Field(
        default=frozenset({"person", "place"}),
        min_length=1,
        description="What to rewrite: names of people, names of places.",
    )
    model: str = Field(
        default="",
        description="Directory of an English spaCy model with a named-entity recognizer; empty for "
        "the one that the extra `names` installs.",
    )

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        if not is_installed(self.model):
            raise ValueError(MISSING)
        return self

    def build(self, models: Models) -> Shield:
        """Return the shield; the model is loaded by the first check."""
        return NamesShield(self)


class NamesShield(Shield):
    """Rewrites each name; one name has one placeholder within a conversation."""

    replaces = True

    def __init__(self, options: NamesOptions) -> None:
        self._labels = frozenset(entity.upper() for entity in options.entities)
        self._model = options.model
        self._one_at_a_time = asyncio.Lock()
        self._conversations = Conversations()

    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        """Replace where a name was found."""
        if not text or text.isspace():
            return Allow()
        async with self._one_at_a_time:
            names = await asyncio.to_thread(self._names, text)
        if not names:
            return Allow()
        numbers = self._conversations.numbers(context.thread)
        numbers.taken_in((*context.history, text))
        return _rewritten(text, names, numbers)

    def _names(self, text: str) -> list[Name]:
        recognize = recognizer(self._model)
        found: list[Name] = []
        begin = 0
        while begin < len(text):
            end = _part_end(text, begin)
            found += (
                Name(name.label, name.start + begin, name.end + begin)
                for name in recognize(text[begin:end])
                if name.label in self._labels
            )
            begin = end
        return found


def _part_end(text: str, begin: int) -> int:
    """Return where a part ends that the model reads at once: behind a word, where there is one."""
    end = begin + _PART
    if end >= len(text):
        return len(text)
    ends = [match.end() for match in _BOUNDARY.finditer(text, end - 200, end)]
    return ends[-1] if ends else end


def _rewritten(text: str, names: list[Name], numbers: Numbers) -> Replace:
    pieces: list[str] = []
    replaced: Counter[str] = Counter()
    kept_from = 0
    for name in names:
        digest = numbers.digest(name.label)
        digest.update(
            " ".join(text[name.start : name.end].casefold().split()).encode("utf-8", "replace")
        )
        placeholder = f"<{name.label}_{numbers.number(name.label, digest)}>"
        pieces += text[kept_from : name.start], placeholder
        kept_from = name.end
        replaced[name.label] += 1
    return Replace("".join([*pieces, text[kept_from:]]), dict(replaced))
