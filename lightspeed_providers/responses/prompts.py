"""Which system prompt holds, and how passages reach the model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lightspeed_providers.core.errors import UnprocessableError
from lightspeed_providers.core.turns import Passage

type ClientPolicy = Literal["replace", "append", "ignore"]

NOTHING_FOUND = "No passage of the documentation matches this question."


@dataclass(frozen=True)
class Prompting:
    """The product's prompt, a client's own, and what is made of them."""

    product: str = ""
    client: tuple[str, ...] = ()
    """The stored prompt that a request names, then its `instructions`."""
    policy: ClientPolicy = "replace"
    inserted: int = 0
    """How many system messages the stock loop puts first because of them."""
    keeps_messages: bool = True
    """Whether system messages among the others may stay."""

    @property
    def effective(self) -> str:
        """What the model is told first.

        An empty string counts as absent (see the Lightspeed contract on system prompts).
        """
        asked = [text for text in self.client if text.strip()]
        if self.policy == "ignore" or not asked:
            return self.product
        first = [self.product] if self.policy == "append" and self.product else []
        return "\n\n".join([*first, *asked])


def customizing_disabled(remove: str) -> UnprocessableError:
    """Return the refusal of a request that brings its own prompt."""
    return UnprocessableError(
        "This instance does not support customizing the system prompt: "
        f"remove {remove} from the request."
    )


def sha256_of(prompt: str) -> str:
    """Return the sha256 of a prompt in hex."""
    return hashlib.sha256(prompt.encode(errors="surrogatepass")).hexdigest()


def question_with_passages(question: str, passages: Sequence[Passage]) -> str:
    """Return the user message that the model gets: numbered passages, then the question."""
    return f"{documentation(passages)}\n\nQuestion: {question}"


def documentation(passages: Sequence[Passage]) -> str:
    """Return passages, given best first, as numbered text that ends with the best.

    Small models copy from what stands nearest to the question.
    """
    if not passages:
        return f"Documentation:\n\n{NOTHING_FOUND}"
    weakest_first = reversed(passages)
    numbered = (f"[{n}] {address(p)}\n{p.content}" for n, p in enumerate(weakest_first, start=1))
    return "Documentation:\n\n" + "\n\n".join(numbered)


def address(passage: Passage) -> str:
    """Return where a passage stands: its document's title and the headings above it."""
    headings = [h for h in passage.heading_path if h != passage.title]
    return " › ".join([passage.title, *headings])
