"""Which system prompt holds, and how passages reach the model."""

import hashlib
from collections.abc import Sequence

from lightspeed_providers.core.errors import UnprocessableError
from lightspeed_providers.core.turns import Passage

NOTHING_FOUND = "No passage of the documentation matches this question."


def effective_prompt(requested: str | None, profile_prompt: str, *, may_request: bool) -> str:
    """Return the request's prompt, or the profile's where the request brings none.

    An empty string counts as absent (see the Lightspeed contract on system prompts).
    """
    if not requested or not requested.strip():
        return profile_prompt
    if not may_request:
        raise UnprocessableError(
            "This instance does not support customizing the system prompt: "
            "remove `instructions` from the request."
        )
    return requested


def sha256_of(prompt: str) -> str:
    """Return the sha256 of a prompt in hex."""
    return hashlib.sha256(prompt.encode(errors="surrogatepass")).hexdigest()


def prompt_version(prompt: str) -> str:
    """Return the version of a profile's prompt: the first 12 hex digits of its sha256."""
    return sha256_of(prompt)[:12]


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
    numbered = (f"[{n}] {_address(p)}\n{p.content}" for n, p in enumerate(weakest_first, start=1))
    return "Documentation:\n\n" + "\n\n".join(numbered)


def _address(passage: Passage) -> str:
    headings = [h for h in passage.heading_path if h != passage.title]
    return " › ".join([passage.title, *headings])
