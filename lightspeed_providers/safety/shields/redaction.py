"""Rewrites personal data and secrets with typed placeholders, as in `<EMAIL_1>`."""

from functools import partial
from typing import Literal, get_args

from pydantic import Field

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Models,
    Replace,
    Scanner,
    Shield,
    ShieldOptions,
    scan,
)
from lightspeed_providers.safety.shields.redacting.entities import PLACEHOLDER, RULES
from lightspeed_providers.safety.shields.redacting.find import RuleSet
from lightspeed_providers.safety.shields.redacting.numbers import Conversations, Numbers
from lightspeed_providers.safety.shields.redacting.rewrite import Rewriter
from lightspeed_providers.safety.shields.redacting.stream import RedactionScanner

type EntityName = Literal["key", "email", "iban", "card", "ssn", "ip", "phone"]


class RedactionOptions(ShieldOptions):
    """Options of a shield of kind `redaction`."""

    kind: Literal["redaction"]
    entities: frozenset[EntityName] = Field(
        default=frozenset(get_args(EntityName.__value__)),
        min_length=1,
        description="What to rewrite: keys, tokens and passwords, e-mail addresses, account "
        "numbers (IBAN), card numbers, social security numbers of the United States, IP addresses, "
        "telephone numbers.",
    )

    def build(self, models: Models) -> Shield:
        """Return the shield."""
        return RedactionShield(self)


class RedactionShield(Shield):
    """Rewrites each entity; one value has one placeholder within a conversation."""

    replaces = True

    def __init__(self, options: RedactionOptions) -> None:
        chosen = [rule for rule in RULES if rule.label.lower() in options.entities]
        self._rules = RuleSet((PLACEHOLDER, *chosen))
        self._conversations = Conversations()

    async def check(self, text: str, direction: Direction, context: Context) -> Answer:
        """Replace where something was found."""
        numbers = self._numbers(context)
        if direction is not Direction.OUTPUT:
            numbers.taken_in([text])  # an answer's later placeholders are unknown in a stream
        redacted, replaced = await scan(partial(_rewritten, self._rules, numbers), text)
        return Replace(redacted, replaced) if replaced else Allow()

    def scanner(self, direction: Direction, context: Context) -> Scanner:
        """Return what rewrites a stream as `check` rewrites the whole text of an answer."""
        return RedactionScanner(Rewriter(self._rules, self._numbers(context)))

    def _numbers(self, context: Context) -> Numbers:
        numbers = self._conversations.numbers(context.thread)
        numbers.taken_in(context.history)
        return numbers


def _rewritten(rules: RuleSet, numbers: Numbers, text: str) -> tuple[str, dict[str, int]]:
    data, replaced = Rewriter(rules, numbers).push(text.encode(errors="surrogatepass"), final=True)
    return data.decode(errors="surrogatepass") if replaced else text, dict(replaced)
