"""Rewrites personal data and secrets with typed placeholders, as in `<EMAIL_1>`."""

import re
from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import Field

from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Embedder,
    Replace,
    Shield,
    ShieldOptions,
    scan,
)
from lightspeed_providers.safety.shields.entities import ENTITIES, Entity

type EntityName = Literal["key", "email", "iban", "card", "ip"]

_PLACEHOLDER = re.compile(rb"<([A-Z]{2,5})_([0-9]{1,6})>")


class RedactionOptions(ShieldOptions):
    """Options of a shield of kind `redaction`."""

    kind: Literal["redaction"]
    entities: frozenset[EntityName] = Field(
        default=frozenset(get_args(EntityName.__value__)),
        min_length=1,
        description="What to rewrite: keys and tokens of well-known vendors, e-mail addresses, "
        "account numbers (IBAN), card numbers, IPv4 addresses.",
    )

    def build(self, embedder: Embedder | None) -> Shield:
        """Return the shield."""
        return RedactionShield(self)


class RedactionShield(Shield):
    """Rewrites each entity; one value has one placeholder within a text."""

    replaces = True

    def __init__(self, options: RedactionOptions) -> None:
        self._entities = [e for e in ENTITIES if e.label.lower() in options.entities]

    async def check(self, text: str, direction: Direction, history: Sequence[str]) -> Answer:
        """Replace where something was found."""
        redacted, replaced = await scan(self._redacted, text)
        return Replace(redacted, replaced) if replaced else Allow()

    def _redacted(self, text: str) -> tuple[str, dict[str, int]]:
        data = text.encode(errors="surrogatepass")
        highest = _numbers_in_use(data)
        replaced: dict[str, int] = {}
        for entity in self._entities:
            data, found = _rewritten(data, entity, highest.get(entity.label.encode(), 0))
            if found:
                replaced[entity.label] = found
        return data.decode(errors="surrogatepass") if replaced else text, replaced


def _rewritten(data: bytes, entity: Entity, last_number: int) -> tuple[bytes, int]:
    """Return the text with the entity's values as placeholders, and how many there were."""
    numbers: dict[bytes, int] = {}
    pieces: list[bytes] = []
    kept_from = count = 0
    for start, end in entity.find(data):
        number = numbers.setdefault(
            entity.identity(data[start:end]), last_number + len(numbers) + 1
        )
        pieces += data[kept_from:start], b"<%s_%d>" % (entity.label.encode(), number)
        kept_from = end
        count += 1
    return b"".join([*pieces, data[kept_from:]]), count


def _numbers_in_use(data: bytes) -> dict[bytes, int]:
    """Return the highest number of each placeholder that the text came with."""
    highest: dict[bytes, int] = {}
    for label, number in _PLACEHOLDER.findall(data):
        highest[label] = max(highest.get(label, 0), int(number))
    return highest
