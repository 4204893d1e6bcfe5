"""Shields that do what a test tells them, and policies of them or of configured ones."""

import asyncio
from typing import Any, Literal

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.safety.safety import configured_shields
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Block,
    Scanned,
    Scanner,
    Shield,
    ShieldOptions,
)

ALLOW = Allow()


class ScriptedOptions(ShieldOptions):
    kind: Literal["scripted"] = "scripted"
    timeout_s: float = 0.3


class RemoteOptions(ScriptedOptions):
    remote = True


class Scripted(Shield):
    """Answers what it is told, after a while, and notes what it saw."""

    def __init__(
        self, answer: Any = ALLOW, seconds: float = 0, *, replaces: bool = False, **options: Any
    ) -> None:
        self.answer, self.seconds = answer, seconds
        self.replaces = replaces  # type: ignore[misc]  # a class variable elsewhere
        self.options: ShieldOptions = ScriptedOptions(**options)
        self.seen: list[str] = []
        self.contexts: list[Context] = []
        self.cancelled = False

    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        self.seen.append(text)
        self.contexts.append(context)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer(text) if callable(self.answer) else self.answer  # type: ignore[no-any-return]  # garbage is one of the cases


class Scanning(Scripted):
    """Scans for a word, and holds back what may still become it."""

    word = "forbidden"

    def __init__(self, fault: Exception | None = None, **options: Any) -> None:
        super().__init__(lambda text: Block() if self.word in text else Allow(), **options)
        self.fault = fault

    def scanner(self, direction: Direction, context: Context) -> Scanner:
        return _WordScanner(self.word, self.fault)


class _WordScanner(Scanner):
    def __init__(self, word: str, fault: Exception | None) -> None:
        self._word, self._fault, self._held = word, fault, ""

    def push(self, text: str) -> Scanned | Block:
        if self._fault is not None:
            raise self._fault
        self._held += text
        if self._word in self._held:
            return Block()
        longest = next(
            n for n in range(len(self._word), -1, -1) if self._held.endswith(self._word[:n])
        )
        clear = len(self._held) - longest
        let_go, self._held = self._held[:clear], self._held[clear:]
        return Scanned(let_go)

    def end(self) -> Scanned | Block:
        held, self._held = self._held, ""
        return Scanned(held)

    @property
    def held(self) -> str:
        return self._held


def scripted_policy(**shields: Scripted) -> ShieldPolicy:
    """A policy of scripted shields, each with a refusal that names it."""
    return ShieldPolicy(
        [
            ConfiguredShield(
                name, shield.options.model_copy(update={"refusal": f"No: {name}"}), shield
            )
            for name, shield in shields.items()
        ]
    )


def policy_of(shields: dict[str, Any], inference: Any = None) -> ShieldPolicy:
    """A policy as it is configured."""
    config = LightspeedShieldsConfig.model_validate({"shields": shields})
    return ShieldPolicy(configured_shields(config, inference))
