"""Prompts that a client has stored and names in a request, found before the first event."""

from collections.abc import Callable
from typing import Any

from llama_stack_api import (
    OpenAIMessageParam,
    OpenAIResponsePrompt,
    OpenAISystemMessageParam,
)
from llama_stack_api.common.errors import LlamaStackError

from lightspeed_providers.core.errors import InvalidRequestError
from lightspeed_providers.responses.attachments import file_text, with_file_text
from lightspeed_providers.responses.client_texts import Rewrite
from lightspeed_providers.responses.request_texts import text_of


class StoredPrompts:
    """The host's stored prompts, with variables filled in as its loop does."""

    def __init__(self, loop: Callable[[], Any]) -> None:  # Any: the host's class is no contract
        self._loop = loop

    async def said_by(self, prompt: OpenAIResponsePrompt | None) -> str | None:
        """Return what a named prompt says, or None where none is named.

        Media variables stay with the loop, which sends them as a message of the user.
        """
        if prompt is None or not prompt.id:
            return None
        if prompt.version and not prompt.version.isdecimal():
            raise InvalidRequestError(
                f"Version '{prompt.version}' in `prompt` is no number: give one, or leave it out."
            )
        messages: list[OpenAIMessageParam] = []
        try:
            await self._loop()._prepend_prompt(messages, prompt)
        except LlamaStackError as fault:
            raise InvalidRequestError(str(fault)) from fault
        except ValueError as fault:
            version = f" in version {prompt.version}" if prompt.version else ""
            raise InvalidRequestError(  # the host's status for it
                f"Prompt '{prompt.id}' not found{version}: see `GET /v1/prompts`."
            ) from fault
        said = [m for m in messages if isinstance(m, OpenAISystemMessageParam)]
        return text_of(said[0].content) if said else None


async def rewritten_variables(
    prompt: OpenAIResponsePrompt | None, rewrite: Rewrite, screen: Rewrite
) -> OpenAIResponsePrompt | None:
    """Return a named prompt with its variables' texts rewritten, and those of files screened."""
    if prompt is None or not prompt.variables:
        return prompt
    variables = dict(prompt.variables)
    for name, value in variables.items():
        if isinstance(text := getattr(value, "text", None), str):
            variables[name] = value.model_copy(update={"text": await rewrite(text)})
        elif text := file_text(value):
            variables[name] = with_file_text(value, await screen(text))
    return prompt.model_copy(update={"variables": variables})
