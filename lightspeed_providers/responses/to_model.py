"""What a model gets: messages that every shield has cleared, with the retrieved passages."""

import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from llama_stack_api import (
    OpenAIAssistantMessageParam,
    OpenAIChatCompletionContentPartTextParam,
    OpenAIMessageParam,
    OpenAIToolMessageParam,
    OpenAIUserMessageParam,
)

from lightspeed_providers.core.verdicts import Direction, ShieldRunner
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.prompts import documentation, question_with_passages
from lightspeed_providers.responses.request_texts import text_of

WITHHELD = "[withheld by a shield]"

_REMEMBERED = 50_000


class ClearedTexts:
    """Which texts shields have cleared lately, as keyed hashes, so that history costs nothing."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def note(self, runner: ShieldRunner, direction: Direction, text: str) -> None:
        """Remember that a text may pass these shields as it is."""
        self._known[self._hash(runner, direction, text)] = None
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def holds(self, runner: ShieldRunner, direction: Direction, text: str) -> bool:
        """Tell whether a text is known to pass as it is."""
        known = self._hash(runner, direction, text)
        if known not in self._known:
            return False
        self._known.move_to_end(known)
        return True

    def _hash(self, runner: ShieldRunner, direction: Direction, text: str) -> bytes:
        data = f"{runner.version}:{direction}:{text}".encode(errors="surrogatepass")
        return hashlib.blake2b(data, key=self._key, digest_size=16).digest()


async def screened_messages(
    messages: Sequence[OpenAIMessageParam],
    turn: OpenTurn,
    runner: ShieldRunner,
    cleared: ClearedTexts,
) -> list[OpenAIMessageParam]:
    """Return messages as the shields leave them; one that is blocked is withheld.

    What came with this request has been cleared before; what is left is what tools gave, and
    history that did not come through a turn of this process.
    """
    out: list[OpenAIMessageParam] = []
    asked: list[str] = []
    for message in messages:
        direction = _direction_of(message)
        if direction is not None and runner.screens(direction):
            message = await _screened(message, direction, tuple(asked), turn, runner, cleared)
        if isinstance(message, OpenAIUserMessageParam):
            asked.append(text_of(message.content))
        if isinstance(message, OpenAIToolMessageParam):
            turn.tools.gave(message.tool_call_id, text_of(message.content))
        out.append(message)
    return out


def _direction_of(message: OpenAIMessageParam) -> Direction | None:
    """Return how a message is screened; the system prompt is the operator's or the client's own."""
    match message:
        case OpenAIUserMessageParam():
            return Direction.INPUT
        case OpenAIToolMessageParam() | OpenAIAssistantMessageParam():
            return Direction.TOOL
    return None


async def _screened(
    message: OpenAIMessageParam,
    direction: Direction,
    asked: tuple[str, ...],
    turn: OpenTurn,
    runner: ShieldRunner,
    cleared: ClearedTexts,
) -> OpenAIMessageParam:
    changed: dict[str, Any] = {}
    context = turn.context_with(asked)

    async def clear(text: str) -> str:
        if not text.strip() or cleared.holds(runner, direction, text):
            return text
        screening = await runner.screen(direction, text, context)
        turn.verdicts.extend(screening.verdicts)
        passing = WITHHELD if screening.blocked_by else screening.text
        cleared.note(runner, direction, passing)
        return passing

    content = message.content
    if isinstance(content, str):
        changed["content"] = await clear(content)
    elif content:
        changed["content"] = [await _cleared_part(part, clear) for part in content]
    if isinstance(message, OpenAIAssistantMessageParam) and message.tool_calls:
        changed["tool_calls"] = [await _cleared_call(call, clear) for call in message.tool_calls]
    return message.model_copy(update=changed) if changed else message


async def _cleared_part(part: Any, clear: Any) -> Any:  # Any: the host's content parts
    text = getattr(part, "text", None)
    return part.model_copy(update={"text": await clear(text)}) if isinstance(text, str) else part


async def _cleared_call(call: Any, clear: Any) -> Any:  # Any: the host's tool calls
    function = call.function
    if function is None or not function.arguments:
        return call
    arguments = await clear(function.arguments)
    if arguments == WITHHELD:
        arguments = "{}"  # it has to stay a call
    return call.model_copy(
        update={"function": function.model_copy(update={"arguments": arguments})}
    )


def without_refused_turns(
    messages: Sequence[OpenAIMessageParam], refusals: frozenset[str]
) -> list[OpenAIMessageParam]:
    """Return messages without exchanges that ended in a refusal: a blocked text stays blocked."""
    kept: list[OpenAIMessageParam] = []
    for message in messages:
        if isinstance(message, OpenAIAssistantMessageParam) and _is_refusal(message, refusals):
            while kept and not isinstance(kept[-1], OpenAIUserMessageParam):
                kept.pop()
            if kept:
                kept.pop()
            continue
        kept.append(message)
    return kept


def _is_refusal(message: OpenAIAssistantMessageParam, refusals: frozenset[str]) -> bool:
    text = text_of(message.content).strip()
    return any(text.endswith(refusal) for refusal in refusals)


def texts_sent(asked: Any) -> list[str]:  # Any: the host's request of a chat completion
    """Return every text that counts against what the model can read."""
    texts = [text_of(message.content) for message in asked.messages]
    for message in asked.messages:
        for call in getattr(message, "tool_calls", None) or ():
            texts.append(call.function.model_dump_json() if call.function else "")
    return [*texts, json.dumps(asked.tools)] if asked.tools else texts


def with_passages(
    messages: Sequence[OpenAIMessageParam], turn: OpenTurn
) -> list[OpenAIMessageParam]:
    """Return messages with the retrieved passages in front of the last question."""
    passages = turn.grounding.before_question
    if turn.truncated and not passages:
        return list(messages)
    asked = max(
        (n for n, m in enumerate(messages) if isinstance(m, OpenAIUserMessageParam)), default=None
    )
    if asked is None:
        return list(messages)
    question = messages[asked]
    content: Any  # text, or the host's content parts with a text part added in front
    if isinstance(question.content, str):
        content = question_with_passages(question.content, passages)
    else:
        part = OpenAIChatCompletionContentPartTextParam(text=documentation(passages))
        content = [part, *(question.content or [])]
    grounded = question.model_copy(update={"content": content})
    return [*messages[:asked], grounded, *messages[asked + 1 :]]
