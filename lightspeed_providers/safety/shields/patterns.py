"""Blocks texts that hold a forbidden phrase or match a forbidden regular expression."""

from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Block,
    Models,
    Scanner,
    Shield,
    ShieldOptions,
    scan,
)
from lightspeed_providers.safety.shields.matching.injection_expressions import INJECTION
from lightspeed_providers.safety.shields.matching.linear import LinearPattern
from lightspeed_providers.safety.shields.matching.normalise import (
    normal_bytes,
    normalised,
    prepare,
    with_capitals_seen,
)
from lightspeed_providers.safety.shields.matching.partial_syntax import folded
from lightspeed_providers.safety.shields.matching.rules import Rules, rules
from lightspeed_providers.safety.shields.matching.scanner import PatternsScanner
from lightspeed_providers.safety.shields.matching.unwrap import respelled, spaced_words, unwrapped

_FORM = (
    "in the text's normal form: in lower case, Unicode variants and look-alikes as the letter they "
    "pass for, without decorating marks and invisible characters, white space made one blank"
)


type ListName = Literal["injection"]

_LISTS: dict[ListName, tuple[str, ...]] = {"injection": INJECTION}


class PatternsOptions(ShieldOptions):
    """Options of a shield of kind `patterns`."""

    kind: Literal["patterns"]
    phrases: tuple[str, ...] = Field(
        default=(),
        description="Words that block as a whole, in any case and spacing and in Unicode variants.",
    )
    expressions: tuple[str, ...] = Field(
        default=(),
        description=f"Regular expressions in RE2 syntax that block, matched in any case {_FORM}. "
        "`\\b` knows ASCII letters only. In a stream, a match of more than 4,096 characters may be "
        "missed: write `.{0,100}` rather than `.*`.",
    )
    lists: tuple[ListName, ...] = Field(
        default=(),
        description="Lists of expressions that come with this package: `injection` has what is "
        "said only to change or reveal an assistant's instructions, in several languages.",
    )
    allow_phrases: tuple[str, ...] = Field(
        default=(),
        description="Phrases within which nothing blocks: a forbidden match counts unless it lies "
        "wholly within one of them.",
    )
    allow_expressions: tuple[str, ...] = Field(
        default=(),
        description="Regular expressions in RE2 syntax within whose matches nothing blocks: a "
        "forbidden match counts unless it lies wholly within one of them.",
    )
    unwrap: bool = Field(
        default=True,
        description="Whether to look also at what the text says when read backwards, as ROT13, "
        "with digits and signs as letters, with spaced letters closed up, and with base64, "
        "hexadecimal, percent, HTML and backslash codes decoded.",
    )

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        if not self.phrases and not self.expressions and not self.lists:
            raise ValueError("give at least one of `phrases`, `expressions` and `lists`")
        for phrase in (*self.phrases, *self.allow_phrases):
            if not normalised(phrase).strip():
                raise ValueError(f"phrase {phrase!r} has no visible character")
        for expression in (*self.expressions, *self.allow_expressions):
            try:
                matches_nothing = LinearPattern(folded(expression)).found_in(b"")
            except ValueError as fault:
                raise ValueError(f"expression {expression!r}: {fault}") from fault
            if matches_nothing:
                raise ValueError(f"expression {expression!r} matches the empty text, so any text")
        _ = self.rules
        return self

    @cached_property
    def rules(self) -> Rules:
        """What is forbidden and allowed, compiled."""
        listed = (expression for name in self.lists for expression in _LISTS[name])
        expressions = (*self.expressions, *listed)
        return rules(self.phrases, expressions, self.allow_phrases, self.allow_expressions)

    def build(self, models: Models) -> Shield:
        """Return the shield."""
        return PatternsShield(self.rules, unwraps=self.unwrap)


class PatternsShield(Shield):
    """Looks for all patterns at once, in time linear in the text."""

    def __init__(self, rules: Rules, *, unwraps: bool) -> None:
        self._rules = rules
        self._unwraps = unwraps
        prepare()

    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        """Block where a pattern is found."""
        return await scan(self.answer, text)

    def scanner(self, direction: Direction, context: Context) -> Scanner:
        """Return what blocks a stream before anything of a match has gone on."""
        return PatternsScanner(self._rules, unwraps=self._unwraps)

    def answer(self, text: str) -> Allow | Block:
        """Block where a pattern is found."""
        form = normal_bytes(text)
        if self._breaks(text, form):
            return Block()
        return Block(stage="unwrapped") if self._unwraps and self._hides(text, form) else Allow()

    def _breaks(self, text: str, form: bytes) -> bool:
        """Look at the text as it stands."""
        if self._rules.broken_by(form) is not None:
            return True
        seen = with_capitals_seen(text)
        return seen is not None and self._rules.broken_by(normal_bytes(seen)) is not None

    def _hides(self, text: str, form: bytes) -> bool:
        """Look at what else the text may be read as."""
        return (
            any(self._rules.broken_by(spelling) is not None for spelling in respelled(form))
            or any(self._breaks(reading, normal_bytes(reading)) for reading in unwrapped(text))
            or any(self._rules.broken_by_words(words) for words in spaced_words(text))
        )
