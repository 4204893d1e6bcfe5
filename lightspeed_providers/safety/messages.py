"""Which text of a message is screened, and which way it travels."""

from collections.abc import Sequence

from llama_stack_api import OpenAIAssistantMessageParam, OpenAIMessageParam

from lightspeed_providers.core.verdicts import Direction

_DIRECTIONS = {"assistant": Direction.OUTPUT, "tool": Direction.TOOL}


def direction_of_message(message: OpenAIMessageParam) -> Direction:
    """Return the direction that a message's role implies."""
    return _DIRECTIONS.get(message.role, Direction.INPUT)


def text_of_message(message: OpenAIMessageParam) -> str:
    """Return all text of a message: its text parts and the arguments of its tool calls."""
    content = message.content
    parts = [content] if isinstance(content, str) else [_text_of_part(p) for p in content or ()]
    if isinstance(message, OpenAIAssistantMessageParam):
        calls = [call.function for call in message.tool_calls or () if call.function]
        parts += [call.arguments or "" for call in calls]
    return "\n".join(part for part in parts if part)


def questions_before(messages: Sequence[OpenAIMessageParam]) -> list[str]:
    """Return the user's texts before the last message, oldest first."""
    return [text_of_message(message) for message in messages[:-1] if message.role == "user"]


def instructions_in(messages: Sequence[OpenAIMessageParam]) -> str:
    """Return the system prompt: what system and developer messages say."""
    return "\n".join(text_of_message(m) for m in messages if m.role in ("system", "developer"))


def _text_of_part(part: object) -> str:
    """Return a text part's text; images and files have none."""
    text = getattr(part, "text", "")
    return text if isinstance(text, str) else ""
