"""The texts inside a request, and the same request with other texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_stack_api import CreateResponseRequest, OpenAIResponseMessage

from lightspeed_providers.core.turns import Attachment
from lightspeed_providers.responses.attachments import attachment_of, file_text, with_file_text

CONTENT = "content"

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "function_call": ("arguments",),
    "function_call_output": ("output",),
    "mcp_call": ("arguments", "output", "error"),
    "mcp_approval_request": ("arguments",),
    "mcp_approval_response": ("reason",),
    "file_search_call": ("results",),
    "reasoning": ("summary", CONTENT),
}
"""Where input items that are no messages have their texts."""


@dataclass(frozen=True)
class InputText:
    """One text that the client sent: where it stands, who is said to have written it."""

    item: int
    part: int | None
    role: str
    text: str
    in_file: bool = False
    field: str = CONTENT


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
        for field, content in _contents(value):
            texts += _texts_in(content, item, field, _role(value))
    return texts


def holds_something(request: CreateResponseRequest) -> bool:
    """Whether there is anything to answer: text, an image, a file, or what is no message."""
    if isinstance(request.input, str):
        return bool(request.input.strip())
    return any(
        not isinstance(item, OpenAIResponseMessage) or _is_something(item.content)
        for item in request.input
    )


def _is_something(content: Any) -> bool:  # Any: a message's content, text or parts of many kinds
    parts = [content] if isinstance(content, str) else content or []
    texts = (part if isinstance(part, str) else getattr(part, "text", None) for part in parts)
    return any(text is None or text.strip() for text in texts)


def _role(item: Any) -> str:  # Any: input items of many kinds
    return item.role if isinstance(item, OpenAIResponseMessage) else "tool"


def _contents(item: Any) -> list[tuple[str, Any]]:  # Any: input items of many kinds
    """Return an input item's fields that hold texts, with what they hold."""
    is_message = isinstance(item, OpenAIResponseMessage)
    fields = (CONTENT,) if is_message else _FIELDS.get(getattr(item, "type", ""), ())
    return [(field, getattr(item, field, None)) for field in fields]


def _texts_in(content: Any, item: int, field: str, role: str) -> list[InputText]:  # Any: as above
    if isinstance(content, str):
        return [InputText(item, None, role, content, field=field)]
    texts = []
    for number, part in enumerate(content or []):
        if text := _part_text(part):
            texts.append(InputText(item, number, role, text, field=field))
        elif in_file := file_text(part):
            texts.append(InputText(item, number, role, in_file, in_file=True, field=field))
    return texts


def joined_parts(texts: Sequence[InputText]) -> list[InputText]:
    """Return, of each message in several parts, its whole text: what is split over them counts."""
    of_item: dict[tuple[int, str], list[InputText]] = {}
    for text in texts:
        of_item.setdefault((text.item, text.field), []).append(text)
    return [
        InputText(item, None, parts[0].role, "\n".join(p.text for p in parts), field=field)
        for (item, field), parts in of_item.items()
        if len(parts) > 1
    ]


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
    if place.part is None:
        return item.model_copy(update={place.field: text})
    parts: list[Any] = list(getattr(item, place.field))
    part = parts[place.part]
    parts[place.part] = (
        with_file_text(part, text) if place.in_file else part.model_copy(update={"text": text})
    )
    return item.model_copy(update={place.field: parts})


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
