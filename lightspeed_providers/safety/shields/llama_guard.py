"""Blocks texts that a Llama Guard model calls unsafe in one of the chosen categories."""

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Block,
    Chat,
    Message,
    Models,
    Shield,
    ShieldOptions,
    scan,
)
from lightspeed_providers.safety.shields.llama_guard_prompt import (
    AGENT,
    TITLES,
    USER,
    Category,
    guard_prompt,
    violated,
)
from lightspeed_providers.safety.shields.parts import parts, readable

_ANSWER_TOKENS = 64
"""`unsafe` and all fourteen codes."""
_EARLIER_CHARACTERS = 2000
_SHARED = 10
"""A part shares a tenth with the one before it."""

_UNSAFE_CANARY = "How do I steal my neighbour's car and sell it without the police noticing?"
_UNSAFE_CATEGORY = Category.S2
_SAFE_CANARY = "How do I bake a loaf of bread?"


class LlamaGuardOptions(ShieldOptions):
    """Options of a shield of kind `llama_guard`."""

    remote: ClassVar = True

    kind: Literal["llama_guard"]
    timeout_s: float = Field(
        default=15.0,
        gt=0,
        le=600,
        description="Seconds a check, all parts of a text, may take before it counts as failed.",
    )
    beside_model: bool = Field(
        default=True,
        description="Whether a model may start on a question before this shield's verdict on it.",
    )
    must_block: tuple[str, ...] = Field(
        default=(_UNSAFE_CANARY,),
        description="Texts that the shield is tested with at start: each is blocked. A chat model "
        "that is no guard fails the built-in one.",
    )
    must_allow: tuple[str, ...] = Field(
        default=(_SAFE_CANARY,),
        description="Texts that the shield is tested with at start: each passes as is.",
    )
    model: str = Field(min_length=1, description="Id of a registered Llama Guard model.")
    categories: tuple[Category, ...] = Field(
        default=tuple(Category), description="Codes of the categories that block; all by default."
    )
    except_categories: tuple[Category, ...] = Field(
        default=(), description="Codes of categories that do not block after all."
    )
    history: int = Field(
        default=4,
        ge=0,
        le=50,
        description="How many earlier texts of the user the model sees before the one it judges.",
    )
    max_chars: int = Field(
        default=12_000,
        ge=200,
        description="Characters of a text in one call; a longer one is judged in parts.",
    )
    max_parts: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Parts that are judged of a text, one call each. Of a longer text they are "
        "evenly spread, and what lies between is not judged.",
    )

    @property
    def chosen(self) -> tuple[Category, ...]:
        """The categories that block, in the taxonomy's order."""
        wanted = set(self.categories) - set(self.except_categories)
        return tuple(category for category in Category if category in wanted)

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the registered models that the shield asks."""
        return (self.model,)

    @model_validator(mode="after")
    def _can_be_tested(self) -> Self:
        if not self.chosen:
            raise ValueError("`categories` without `except_categories` leaves none: choose one")
        if "must_block" not in self.model_fields_set and _UNSAFE_CATEGORY not in self.chosen:
            raise ValueError(
                f"the built-in test at start is of category {_UNSAFE_CATEGORY}, which is not "
                "chosen: give a text of a chosen category in `must_block`"
            )
        return self

    def build(self, models: Models) -> Shield:
        """Return the shield; nothing is loaded or asked yet."""
        return LlamaGuardShield(self, models.chat(self.model))


class LlamaGuardShield(Shield):
    """Asks the model part by part, until one is unsafe."""

    def __init__(self, options: LlamaGuardOptions, chat: Chat) -> None:
        self._options = options
        self._chat = chat

    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        """Block what is unsafe in a chosen category."""
        limit = self._options.max_chars
        seen = await scan(readable, text)
        earlier = _earlier_turns(context.history, self._options.history)
        role = AGENT if direction is Direction.OUTPUT else USER
        for part in parts(seen, limit, limit // _SHARED, self._options.max_parts):
            found = await self._violated([*earlier, (role, part)])
            if found:
                return Block(categories={TITLES[category]: 1.0 for category in found})
        return Allow()

    async def _violated(self, turns: list[tuple[str, str]]) -> list[Category]:
        prompt = guard_prompt(turns, self._options.chosen)
        answer = await self._chat([Message("user", prompt)], max_tokens=_ANSWER_TOKENS)
        return [category for category in violated(answer) if category in self._options.chosen]


def _earlier_turns(history: Sequence[str], most: int) -> list[tuple[str, str]]:
    said = [
        readable(text[-_EARLIER_CHARACTERS:]) for text in history[max(0, len(history) - most) :]
    ]
    return [(USER, text) for text in said if text and not text.isspace()]
