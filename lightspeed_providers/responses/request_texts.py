"""The texts inside a request, and the same request with other texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_stack_api import CreateResponseRequest, OpenAIResponseMessage


@dataclass(frozen=True)
class InputText:
    """One text that the client sent: where it stands, who is said to have written it."""

    item: int
    part: int | None
    role: str
    text: str


def text_of(content: Any) -> str:  # Any: the host's message contents, text or parts of many kinds
    """Return the text of a message's content, its parts joined by newlines."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(t for t in (_part_text(part) for part in content) if t)


def _part_text(part: Any) -> str:  # Any: content parts of many kinds
    text = part.get("text") if isinstance(part, Mapping) else getattr(part, "text", None)
    return text if isinstance(text, str) else ""


def input_texts(request: CreateResponseRequest) -> list[InputText]:
    """Return every text of the request's input in order, tool outputs included."""
    if isinstance(request.input, str):
        return [InputText(0, None, "user", request.input)]
    texts: list[InputText] = []
    for item, value in enumerate(request.input):
        if not isinstance(value, OpenAIResponseMessage):
            output = getattr(value, "output", None)
            if isinstance(output, str):
                texts.append(InputText(item, None, "tool", output))
            continue
        if isinstance(value.content, str):
            texts.append(InputText(item, None, value.role, value.content))
            continue
        for part, content in enumerate(value.content):
            if text := _part_text(content):
                texts.append(InputText(item, part, value.role, text))
    return texts


def with_texts(
    request: CreateResponseRequest, rewritten: Mapping[InputText, str]
) -> CreateResponseRequest:
    """Return the request with some texts rewritten; the given request stays as it is."""
    if not rewritten:
        return request
    if isinstance(request.input, str):
        return request.model_copy(update={"input": next(iter(rewritten.values()))})
    items: list[Any] = list(request.input)
    for place, text in rewritten.items():
        items[place.item] = _rewrite(items[place.item], place, text)
    return request.model_copy(update={"input": items})


def _rewrite(item: Any, place: InputText, text: str) -> Any:  # Any: input items of many kinds
    if not isinstance(item, OpenAIResponseMessage):
        return item.model_copy(update={"output": text})
    if place.part is None:
        return item.model_copy(update={"content": text})
    parts: list[Any] = list(item.content)
    parts[place.part] = parts[place.part].model_copy(update={"text": text})
    return item.model_copy(update={"content": parts})


def question_of(texts: Sequence[InputText]) -> str:
    """Return what the user asks: the last message of the user, its parts joined."""
    asked = [t for t in texts if t.role == "user"]
    if not asked:
        return ""
    last = asked[-1].item
    return "\n".join(t.text for t in asked if t.item == last)
