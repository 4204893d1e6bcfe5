"""The texts inside a request, and the same request with other texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_stack_api import CreateResponseRequest, OpenAIResponseMessage

from lightspeed_providers.core.turns import Attachment
from lightspeed_providers.responses.attachments import attachment_of, file_text, with_file_text


@dataclass(frozen=True)
class InputText:
    """One text that the client sent: where it stands, who is said to have written it."""

    item: int
    part: int | None
    role: str
    text: str
    in_file: bool = False


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
    """Return every text of the request's input in order, tool outputs and text files included."""
    if isinstance(request.input, str):
        return [InputText(0, None, "user", request.input)]
    texts: list[InputText] = []
    for item, value in enumerate(request.input):
        role = value.role if isinstance(value, OpenAIResponseMessage) else "tool"
        content = getattr(value, _field(value), None)
        if isinstance(content, str):
            texts.append(InputText(item, None, role, content))
            continue
        for number, part in enumerate(content or []):
            if text := _part_text(part):
                texts.append(InputText(item, number, role, text))
            elif in_file := file_text(part):
                texts.append(InputText(item, number, role, in_file, in_file=True))
    return texts


def _field(item: Any) -> str:  # Any: input items of many kinds
    """Return where an input item has its text: a message's content or a tool's output."""
    return "content" if isinstance(item, OpenAIResponseMessage) else "output"


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
    field = _field(item)
    if place.part is None:
        return item.model_copy(update={field: text})
    parts: list[Any] = list(getattr(item, field))
    part = parts[place.part]
    parts[place.part] = (
        with_file_text(part, text) if place.in_file else part.model_copy(update={"text": text})
    )
    return item.model_copy(update={field: parts})


def question_of(texts: Sequence[InputText]) -> str:
    """Return what the user asks: the last message of the user, its parts joined."""
    asked = [t for t in texts if t.role == "user" and not t.in_file]
    if not asked:
        return ""
    last = asked[-1].item
    return "\n".join(t.text for t in asked if t.item == last)


def attachments_of(request: CreateResponseRequest) -> tuple[Attachment, ...]:
    """Return the files and images of the request's input, as they are recorded."""
    if isinstance(request.input, str):
        return ()
    parts = (
        part
        for item in request.input
        if isinstance(item, OpenAIResponseMessage) and not isinstance(item.content, str)
        for part in item.content
    )
    return tuple(found for part in parts if (found := attachment_of(part)) is not None)


def function_names(request: CreateResponseRequest) -> frozenset[str]:
    """Return the names of the functions that the client would run itself."""
    functions = (t for t in request.tools or [] if t.type == "function")
    return frozenset(f.name for f in functions)


def client_results(request: CreateResponseRequest) -> list[tuple[str, str]]:
    """Return the results of tools that the client ran: the call's id and the text."""
    if isinstance(request.input, str):
        return []
    outputs = (i for i in request.input if getattr(i, "type", None) == "function_call_output")
    return [(item.call_id, text_of(item.output)) for item in outputs]  # type: ignore[union-attr]  # by type
