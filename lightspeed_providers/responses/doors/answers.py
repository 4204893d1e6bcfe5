"""What a model said, whole, as the output shields leave it; and what all answers are made of."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightspeed_providers.core.verdicts import (
    Context,
    Direction,
    Release,
    ScreenedStream,
    ShieldRunner,
)
from lightspeed_providers.responses.doors.asking import refusal_of
from lightspeed_providers.responses.doors.places import Place, is_name, replaced, strings


def begun(prefix: str, model: str) -> dict[str, Any]:
    """Return what an answer that no model gave begins with."""
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}


def about(like: Any, fields: Sequence[str]) -> dict[str, Any]:  # Any: the host's or an SDK's
    """Return those fields of an answer or a chunk that are there."""
    return {name: value for name in fields if (value := getattr(like, name, None)) is not None}


def dumped(value: Any) -> Any:  # Any: pydantic models of the host or an SDK, or JSON already
    """Return a part of an answer as JSON."""
    return value.model_dump() if hasattr(value, "model_dump") else value


class BlockedError(Exception):
    """A shield blocked what the model said; the message is the refusal."""


@dataclass(frozen=True)
class Said:
    """What one choice of an answer, or of a chunk of it, holds."""

    texts: dict[str, str] = field(default_factory=dict)
    """Texts by the field that they stand in."""
    calls: Sequence[dict[str, Any]] = ()  # Any: JSON
    function_call: dict[str, Any] | None = None  # Any: JSON
    rest: dict[str, Any] = field(default_factory=dict)  # Any: JSON
    """What comes only with a whole answer: annotations, audio."""


@dataclass(frozen=True)
class Output:
    """How the output shields are asked about one answer."""

    runner: ShieldRunner
    context: Context
    release: Release
    checkpoint_chars: int
    names: frozenset[str] = frozenset()
    """Names of tools that the client gave; another name is the model's own text."""

    @property
    def screens(self) -> bool:
        """Whether any shield looks at what the model says."""
        return self.runner.screens(Direction.OUTPUT)

    def stream(self) -> ScreenedStream:
        """Return what screens a text while it arrives."""
        return self.runner.stream(
            Direction.OUTPUT,
            self.context,
            release=self.release,
            checkpoint_chars=self.checkpoint_chars,
        )

    async def clear(self, text: str) -> str:
        """Return a text as the shields leave it; raises a `BlockedError`."""
        screening = await self.runner.screen(Direction.OUTPUT, text, self.context)
        if screening.blocked_by is not None:
            raise BlockedError(refusal_of(screening))
        return screening.text

    async def cleared(self, said: Said) -> Said:
        """Return what may leave of a whole choice; raises a `BlockedError`."""
        texts = {name: await self.clear(text) for name, text in said.texts.items()}
        return replace(await self.cleared_calls(said), texts=texts)

    async def cleared_calls(self, said: Said) -> Said:
        """Return the calls and what else is no plain text, cleared; raises a `BlockedError`."""
        return replace(
            said,
            calls=await self._cleared_values(said.calls),
            function_call=await self._cleared_values(said.function_call),
            rest={
                name: value if name == "audio" else await self._cleared_values(value)
                for name, value in said.rest.items()
            },
        )

    async def _cleared_values(self, value: Any) -> Any:  # Any: JSON
        changed: dict[Place, str] = {}
        for place, text in strings(value):
            if not text.strip() or text in self.names:
                continue
            if place[-1] != "name" and is_name(place, text):
                continue
            cleared = await self.clear(text)
            if cleared != text:
                changed[place] = cleared
        return replaced(value, changed)
