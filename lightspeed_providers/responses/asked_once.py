"""A model that says no is not asked again behind the client's back.

The host's clients of remote providers try twice more, and wait between for as long as the provider
asks for. Whoever waits for an answer learns of it at once, with the time to wait, and decides.
"""

from typing import Any

from llama_stack.providers.utils.inference import openai_mixin
from openai import AsyncOpenAI


class AskedOnce(AsyncOpenAI):
    """A client that gives back what a model's server answered; it repeats only other requests."""

    def _should_retry(self, response: Any) -> bool:  # Any: of the HTTP library that openai uses
        if response.request.url.path.endswith("/completions"):
            return False
        return super()._should_retry(response)


def ask_models_once() -> None:
    """Give the host's remote providers such clients; calling it again changes nothing."""
    openai_mixin.AsyncOpenAI = AskedOnce  # type: ignore[attr-defined]  # what it imports
