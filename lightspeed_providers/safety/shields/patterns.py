"""Blocks texts that hold a forbidden phrase or match a forbidden regular expression."""

from collections.abc import Iterable, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Block,
    Embedder,
    Shield,
    ShieldOptions,
    scan,
)
from lightspeed_providers.safety.shields.linear import LinearPattern, literal
from lightspeed_providers.safety.shields.normalise import normalised

_FIRST_UNSPACED = "\u0e00"
"""Scripts from Thai on may put words side by side, so their words need no gap around them."""


class PatternsOptions(ShieldOptions):
    """Options of a shield of kind `patterns`."""

    kind: Literal["patterns"]
    phrases: tuple[str, ...] = Field(
        default=(),
        description="Words that block as a whole, in any case and spacing and in Unicode variants.",
    )
    expressions: tuple[str, ...] = Field(
        default=(),
        description="Regular expressions in RE2 syntax, matched in any case on the text in NFKC "
        "form, without invisible characters, white space made one blank.",
    )

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        if not self.phrases and not self.expressions:
            raise ValueError("give at least one of `phrases` and `expressions`")
        for phrase in self.phrases:
            if not normalised(phrase).strip():
                raise ValueError(f"phrase {phrase!r} has no visible character")
        for expression in self.expressions:
            try:
                matches_nothing = _any_of([expression]).found_in(b"")
            except ValueError as fault:
                raise ValueError(f"expression {expression!r}: {fault}") from fault
            if matches_nothing:
                raise ValueError(f"expression {expression!r} matches the empty text, so any text")
        return self

    def build(self, embedder: Embedder | None) -> Shield:
        """Return the shield."""
        return PatternsShield(self)


class PatternsShield(Shield):
    """Looks for all patterns at once, in time linear in the text."""

    def __init__(self, options: PatternsOptions) -> None:
        phrases = (_phrase_expression(phrase) for phrase in options.phrases)
        self._forbidden = _any_of([*phrases, *options.expressions])

    async def check(self, text: str, direction: Direction, history: Sequence[str]) -> Answer:
        """Block where a pattern is found."""
        return Block() if await scan(self._found, text) else Allow()

    def _found(self, text: str) -> bool:
        # A lone surrogate has no UTF-8 form; what it hides between is still looked at.
        return self._forbidden.found_in(normalised(text).encode(errors="replace"))


def _phrase_expression(phrase: str) -> str:
    """Return an expression for the phrase where no letter or digit touches it."""
    words = normalised(phrase).split()
    before = r"(?:^|[^\pL\pN_])" if _needs_gap(words[0][0]) else ""
    after = r"(?:$|[^\pL\pN_])" if _needs_gap(words[-1][-1]) else ""
    return before + r"\s".join(map(literal, words)) + after


def _needs_gap(edge: str) -> bool:
    return edge.isalnum() and edge < _FIRST_UNSPACED


def _any_of(expressions: Iterable[str]) -> LinearPattern:
    alternatives = "|".join(f"(?:{expression})" for expression in expressions)
    return LinearPattern(alternatives, ignore_case=True)
