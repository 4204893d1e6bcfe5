"""Blocks texts that a service with OpenAI's moderations format flags."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, HttpUrl, SecretStr, field_validator

from lightspeed_providers.core.errors import UnavailableError
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
from lightspeed_providers.safety.shields.microbatch import MicroBatches
from lightspeed_providers.safety.shields.moderation_service import Moderated, ModerationService
from lightspeed_providers.safety.shields.parts import parts, readable

_BATCH = 32
_LINGER_S = 0.003
_REQUESTS = 8
"""At one time; as many as there are connections."""
_MOST_WAITING = 4096
_SHARED = 20
"""A part shares a twentieth with the one before it."""
_HARMLESS = "How do I bake a loaf of bread?"


class ModerationOptions(ShieldOptions):
    """Options of a shield of kind `moderation`."""

    remote: ClassVar = True

    kind: Literal["moderation"]
    beside_model: bool = Field(
        default=True,
        description="Whether a model may start on a question before this shield's verdict on it.",
    )
    must_allow: tuple[str, ...] = Field(
        default=(_HARMLESS,),
        description="Texts that the shield is tested with at start: each passes as is. The "
        "built-in one finds a wrong address, key, model or category.",
    )
    url: HttpUrl = Field(
        description="Address of the service's moderations endpoint, e.g. "
        "https://moderation.example/v1/moderations. It is not followed elsewhere."
    )
    api_key: SecretStr | None = Field(
        default=None, description="Key that the service is asked with, if it needs one."
    )
    model: str | None = Field(
        default=None, min_length=1, description="Moderation model; the service's own by default."
    )
    categories: dict[str, Annotated[float, Field(gt=0, le=1)] | None] = Field(
        default_factory=dict,
        description="Categories that block, each from a score on, or with null where the service "
        "says so. Without any, whatever the service flags is blocked.",
    )
    max_chars: int = Field(
        default=10_000,
        ge=200,
        description="Characters of a text in one input; a longer one is split, and the worst part "
        "counts.",
    )
    max_parts: int = Field(
        default=600,
        ge=1,
        le=4096,
        description="Parts that are judged of a text. Of a longer text they are evenly spread, and "
        "what lies between is not judged.",
    )

    @field_validator("url")
    @classmethod
    def _holds_no_secret(cls, url: HttpUrl) -> HttpUrl:
        if url.username or url.password:
            raise ValueError("an address may be shown to operators: give its key in `api_key`")
        return url

    @field_validator("api_key")
    @classmethod
    def _can_be_sent(cls, key: SecretStr | None) -> SecretStr | None:
        secret = key.get_secret_value() if key else ""
        if not (secret.isascii() and secret.isprintable()):
            raise ValueError("the key holds a line's end or another character that can't be sent")
        return key

    def build(self, models: Models) -> Shield:
        """Return the shield; nothing is loaded or asked yet."""
        return ModerationShield(self)


class ModerationShield(Shield):
    """Asks the service for all parts of a text, together with other checks' texts."""

    def __init__(self, options: ModerationOptions) -> None:
        self._options = options
        self._asking: _Asking | None = None

    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        """Block where some part is flagged in a category that blocks."""
        pieces = await scan(self._parts, text)
        if not pieces:
            return Allow()
        results = await self._in_this_loop().batches.submit(pieces)
        scores = _worst_scores(results)
        if self._options.categories:
            scores = {name: scores.get(name, 0.0) for name in self._options.categories}
        score = max(scores.values(), default=None)
        if any(self._blocks(result) for result in results):
            return Block(score=score, categories=scores)
        return Allow(score=score)

    async def aclose(self) -> None:
        """Let go of the connections."""
        asking, self._asking = self._asking, None
        if asking is not None:
            await asking.aclose()

    def _parts(self, text: str) -> list[str]:
        size = self._options.max_chars
        return parts(readable(text), size, size // _SHARED, self._options.max_parts)

    def _blocks(self, result: Moderated) -> bool:
        if not self._options.categories:
            return result.flagged
        return any(
            _named(result.categories, name)
            if least is None
            else _named(result.category_scores, name) >= least
            for name, least in self._options.categories.items()
        )

    def _in_this_loop(self) -> "_Asking":
        loop = asyncio.get_running_loop()
        if self._asking is None or self._asking.loop is not loop:
            self._asking = _Asking(self._options)
        return self._asking


class _Asking:
    """The service and the queue before it, in one event loop."""

    def __init__(self, options: ModerationOptions) -> None:
        self.loop = asyncio.get_running_loop()
        self._service = ModerationService(
            str(options.url),
            api_key=options.api_key,
            model=options.model,
            timeout_s=options.timeout_s,
        )
        self.batches = MicroBatches(
            self._service.moderate,
            size=_BATCH,
            linger_s=_LINGER_S,
            most_calls=_REQUESTS,
            most_waiting=_MOST_WAITING,
        )

    async def aclose(self) -> None:
        if asyncio.get_running_loop() is self.loop:  # what belongs to another is gone with it
            await self.batches.aclose()
            await self._service.aclose()


def _worst_scores(results: Sequence[Moderated]) -> dict[str, float]:
    """Return the highest score of each category; one that has none counts as flagged or not."""
    worst: dict[str, float] = {}
    for result in results:
        flags = {name: float(bool(flag)) for name, flag in result.categories.items()}
        given = {name: s for name, s in result.category_scores.items() if s is not None}
        for name, score in (flags | given).items():
            worst[name] = max(worst.get(name, 0.0), score)
    return worst


def _named[Value](values: Mapping[str, Value | None], name: str) -> Value:
    value = values.get(name)
    if value is None:
        known = ", ".join(sorted(n for n, v in values.items() if v is not None)) or "none"
        raise UnavailableError(
            f"The moderation service does not judge category '{name}': choose from {known}."
        )
    return value
