"""Blocks answers that repeat the system prompt or a canary planted in it."""

import base64
import re
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Block,
    Models,
    Scanned,
    Scanner,
    Shield,
    ShieldOptions,
    scan,
)
from lightspeed_providers.safety.shields.leaking.scanner import PromptLeakScanner
from lightspeed_providers.safety.shields.leaking.words import Prompt, prompt_of
from lightspeed_providers.safety.shields.matching.expressions import Expressions
from lightspeed_providers.safety.shields.matching.linear import literal
from lightspeed_providers.safety.shields.matching.normalise import normal_bytes, normalised, prepare
from lightspeed_providers.safety.shields.matching.rules import Rules
from lightspeed_providers.safety.shields.matching.unwrap import respelled, spaced_words, unwrapped
from lightspeed_providers.safety.shields.patterns import PatternsShield

_SHORTEST_CANARY = 8
_NO_WORD = re.compile(r"[\W_]+")


class PromptLeakOptions(ShieldOptions):
    """Options of a shield of kind `prompt_leak`."""

    kind: Literal["prompt_leak"]
    words: int = Field(
        default=12,
        ge=6,
        le=100,
        description="How many words of the system prompt in a row give it away; case, punctuation, "
        "numbers and look-alike letters make no difference. A shorter prompt counts as a whole, "
        "from 6 words on.",
    )
    canaries: tuple[SecretStr, ...] = Field(
        default=(),
        description="Strings planted in the prompt that must never appear, not even encoded, "
        f"backwards or spaced out; at least {_SHORTEST_CANARY} characters each.",
    )

    @model_validator(mode="after")
    def _canaries_are_rare(self) -> Self:
        for number, canary in enumerate(self.canaries, 1):
            if len(normalised(canary.get_secret_value()).strip()) < _SHORTEST_CANARY:
                raise ValueError(
                    f"canary {number} has fewer than {_SHORTEST_CANARY} visible characters: "
                    "make it longer, so that no ordinary text holds it"
                )
        return self

    @cached_property
    def rules(self) -> Rules | None:
        """What finds the canaries, compiled; None where there is none."""
        canaries = [canary.get_secret_value() for canary in self.canaries]
        forms = [form for canary in canaries for form in _forms(canary)]
        return Rules([Expressions(forms)]) if forms else None

    def build(self, models: Models) -> Shield:
        """Return the shield."""
        return PromptLeakShield(self)


class PromptLeakShield(Shield):
    """Compares the words of a text with those of the system prompt, in time linear in both."""

    def __init__(self, options: PromptLeakOptions) -> None:
        self._words = options.words
        prepare()
        self._canaries = PatternsShield(options.rules, unwraps=True) if options.rules else None

    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        """Block where the text gives the prompt or a canary away."""

        def answer(text: str) -> Answer:
            found = self._canaries.answer(text) if self._canaries else Allow()
            prompt = prompt_of(context.instructions, self._words)
            return found if isinstance(found, Block) else _leak(prompt, text)

        return await scan(answer, text)

    def scanner(self, direction: Direction, context: Context) -> Scanner:
        """Return what blocks a stream before anything of a leak has gone on."""
        words = PromptLeakScanner(prompt_of(context.instructions, self._words))
        if self._canaries is None:
            return words
        return _OneAfterTheOther(self._canaries.scanner(direction, context), words)


class _OneAfterTheOther(Scanner):
    """Two scanners that let text go on as it came."""

    def __init__(self, first: Scanner, then: Scanner) -> None:
        self._first, self._then = first, then

    @property
    def held(self) -> str:
        """The text that came and has not gone on yet."""
        return self._then.held + self._first.held

    def push(self, text: str) -> Scanned | Block:
        """Take new text and return what of all that is held may go on."""
        passed = self._first.push(text)
        return passed if isinstance(passed, Block) else self._then.push(passed.text)

    def end(self) -> Scanned | Block:
        """Return the rest, unless it blocks."""
        passed = self._first.end()
        if isinstance(passed, Block):
            return passed
        before = self._then.push(passed.text)
        if isinstance(before, Block):
            return before
        rest = self._then.end()
        return rest if isinstance(rest, Block) else Scanned(before.text + rest.text)


def _leak(prompt: Prompt, text: str) -> Answer:
    if prompt.threshold is None:
        return Allow()
    form = normal_bytes(text)
    if prompt.is_in(form.decode()):
        return Block()
    is_hidden = (
        any(prompt.is_in(spelling.decode()) for spelling in respelled(form))
        or any(prompt.is_in(normalised(reading)) for reading in unwrapped(text))
        or any(prompt.broken_by_words(words) for words in spaced_words(text))
    )
    return Block(stage="unwrapped") if is_hidden else Allow()


def _forms(canary: str) -> list[str]:
    """Return expressions for a canary as it is, backwards, and inside base64 and hexadecimal."""
    data = canary.encode()
    forms = {canary, canary[::-1], data.hex(), data[::-1].hex(), _NO_WORD.sub(" ", canary)}
    for before in range(3):
        # What stands around the canary decides the digits at both ends.
        code = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        forms.add(code[(0, 2, 3)[before] : len(code) - bool((before + len(data)) % 3)])
    return [" ".join(map(literal, normalised(form).split())) for form in sorted(forms)]
