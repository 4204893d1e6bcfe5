"""Chat completions: where a request has its texts, and what answers and chunks are made of."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llama_stack_api import (
    OpenAIChatCompletionRequestWithExtraBody,
    OpenAIFileFile,
)
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from lightspeed_providers.core.errors import InvalidRequestError
from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.responses.attachments import file_text, with_file_text
from lightspeed_providers.responses.doors.answers import Said, about, begun, dumped
from lightspeed_providers.responses.doors.places import Place, Text, is_name, replaced, strings

_NOT_SENT_AS_TEXT = frozenset({"model", "messages", "service_tier", "reasoning_effort"})
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
"""Where a model's message has text; what else a provider adds has not been screened."""
_ABOUT = ("id", "created", "model", "service_tier", "system_fingerprint")
_MOST_REFUSED = 128
_REFUSED = frozenset({"prompt_embeds", "prompt_token_ids"})
_DIRECTIONS = {
    "user": Direction.INPUT,
    "assistant": Direction.TOOL,  # as history it is text from outside
    "tool": Direction.TOOL,
}

type Request = OpenAIChatCompletionRequestWithExtraBody


class Chats:
    """Reads and writes chat completions."""

    field = "content"

    def texts(self, request: Request) -> list[Text]:
        """Return every text of the request that may reach the model, in order."""
        said = [message.model_dump() for message in request.messages]
        asked_from = max((n + 1 for n, m in enumerate(said) if m["role"] == "assistant"), default=0)
        texts = [
            text
            for number, message in enumerate(said)
            for text in _of_message(message, number, asked=number >= asked_from)
        ]
        return [*texts, *settings_in(request, _NOT_SENT_AS_TEXT)]

    def with_texts(self, request: Request, rewritten: Mapping[Text, str]) -> Request:
        """Return the request with some texts rewritten; the given one stays as it is."""
        messages = list(request.messages)
        of_message: dict[int, dict[Place, str]] = {}
        for text, changed in rewritten.items():
            match text.place:
                case ("messages", int(number), *rest):
                    value = _in_file(messages[number], rest, changed) if text.in_file else changed
                    of_message.setdefault(number, {})[tuple(rest)] = value
        for number, texts in of_message.items():
            message = messages[number]
            messages[number] = type(message).model_validate(replaced(message.model_dump(), texts))
        changed_request = with_settings(request, rewritten)
        return changed_request.model_copy(update={"messages": messages})

    def choices(self, request: Request) -> int:
        """Return how many answers the request asks for."""
        return request.n or 1

    def refused_choices(self, request: Request) -> range:
        """Return the numbers of the choices that a refusal answers."""
        return refused_choices(self.choices(request))

    def names(self, request: Request) -> frozenset[str]:
        """Return the names that the request gives its tools."""
        offered = [*(request.tools or []), *(request.functions or [])]
        return frozenset(text for place, text in strings(offered) if place[-1] == "name")

    def refused(self, request: Request, refusal: str) -> ChatCompletion:
        """Return the answer to a request that no model was asked.

        The refusal is the answer's text, so that every client shows it; `content_filter` tells
        those who ask. `message.refusal` is a model's own word and comes without text.
        """
        return ChatCompletion.construct(
            **begun("chatcmpl", request.model),
            object="chat.completion",
            choices=[refused_choice(n, refusal) for n in self.refused_choices(request)],
            usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        )

    def said(self, choice: Any) -> Said:  # Any: the host's choices or an SDK's
        """Return what a choice of a whole answer holds that was said by the model."""
        return _said(choice.message)

    def answer(self, completion: Any, choices: Sequence[Any]) -> ChatCompletion:  # Any: as above
        """Return an answer with these choices, and nothing that is not known here."""
        return ChatCompletion.construct(
            **about(completion, _ABOUT),
            object="chat.completion",
            choices=list(choices),
            usage=dumped(completion.usage),
        )

    def choice(self, choice: Any, said: Said) -> dict[str, Any]:  # Any: as above
        """Return a choice that says this."""
        message = {"role": "assistant", "content": None, **_message(said)}
        return {
            "index": choice.index,
            "finish_reason": choice.finish_reason,
            "message": message,
            "logprobs": None,
        }

    def refused_choice(self, index: int, refusal: str) -> dict[str, Any]:
        """Return a choice that is the refusal."""
        return refused_choice(index, refusal)

    def delta(self, choice: Any) -> Said:  # Any: as above
        """Return what a choice of a chunk adds."""
        return _said(choice.delta)

    def begin(self, request: Request) -> ChatCompletionChunk:
        """Return a chunk to make others of, where no model gave one."""
        return ChatCompletionChunk.construct(**begun("chatcmpl", request.model))

    def chunk(
        self, like: Any, index: int, said: Said | None = None, finish_reason: str | None = None
    ) -> ChatCompletionChunk:  # Any: as above
        """Return a chunk of a choice: what it adds, or its end."""
        delta = {} if said is None else _message(said)
        choices = [{"index": index, "delta": delta, "finish_reason": finish_reason}]
        return ChatCompletionChunk.construct(
            **about(like, _ABOUT), object="chat.completion.chunk", choices=choices
        )

    def role_chunk(self, like: Any, index: int) -> ChatCompletionChunk:  # Any: as above
        """Return the chunk that a choice begins with."""
        choices = [{"index": index, "delta": {"role": "assistant", "content": ""}}]
        return ChatCompletionChunk.construct(
            **about(like, _ABOUT), object="chat.completion.chunk", choices=choices
        )

    def usage_chunk(self, like: Any, usage: Any) -> ChatCompletionChunk:  # Any: as above
        """Return the chunk that says what the answer cost."""
        return ChatCompletionChunk.construct(
            **about(like, _ABOUT), object="chat.completion.chunk", choices=[], usage=dumped(usage)
        )

    def with_usage(self, chunk: ChatCompletionChunk, usage: Any) -> ChatCompletionChunk:
        """Return a chunk that says what the answer cost, too."""
        return ChatCompletionChunk.construct(**{**chunk.to_dict(), "usage": dumped(usage)})


def settings_in(request: Any, skipped: frozenset[str]) -> Iterator[Text]:  # Any: both requests
    """Yield the texts of a request's settings; names that other fields refer to are none."""
    settings = request.model_dump(exclude=skipped)
    for place, text in strings(settings):
        if place[0] in _REFUSED:
            raise InvalidRequestError(
                f"`{place[0]}` can't be screened, so it is not taken: send text."
            )
        if not is_name(place, text) and place != ("tool_choice",):
            yield Text(place, text)


def with_settings[R: Any](request: R, rewritten: Mapping[Text, str]) -> R:  # Any: as above
    """Return the request with some texts of its settings rewritten."""
    of_field: dict[str, dict[Place, str]] = {}
    for text, changed in rewritten.items():
        if text.direction is None and text.place[0] != "messages":
            of_field.setdefault(str(text.place[0]), {})[text.place[1:]] = changed
    update = {}
    for field, texts in of_field.items():
        value = getattr(request, field)
        if hasattr(value, "model_dump"):
            update[field] = type(value).model_validate(replaced(value.model_dump(), texts))
        else:
            update[field] = replaced(value, texts)
    return request.model_copy(update=update)  # type: ignore[no-any-return]  # see R


def refused_choices(wanted: int, at_least: int = 1) -> range:
    """Return the numbers of the choices that a refusal answers; a client may ask for millions."""
    return range(min(wanted, max(at_least, _MOST_REFUSED)))


def refused_choice(index: int, refusal: str) -> dict[str, Any]:
    """Return a choice of a chat that is a refusal."""
    return {
        "index": index,
        "finish_reason": "content_filter",
        "message": {"role": "assistant", "content": refusal},
        "logprobs": None,
    }


def _of_message(message: dict[str, Any], number: int, *, asked: bool) -> Iterator[Text]:
    """Yield a message's texts; whoever takes part is named to the model with them."""
    direction = _DIRECTIONS.get(message["role"])
    if name := message.get("name"):
        yield Text(("messages", number, "name"), name, group=number, asked=asked)
    for place, text in strings(message):
        at = ("messages", number, *place)
        match place:
            case ("name",):
                pass
            case ("content", int(), "image_url", "url"):
                if not text.startswith("data:image/"):
                    yield Text(at, text)
            case ("content", int(part), "file", "file_data"):
                file = OpenAIFileFile.model_validate(message["content"][part]["file"])
                if (inside := file_text(file)) is not None:
                    yield Text(at, inside, direction, number, asked, in_file=True)
            case ("content", int(), "file", _):
                if not is_name(place, text):
                    yield Text(at, text)
            case _ if is_name(place, text):
                pass
            case _ if direction is None:
                yield Text(at, text, prompt=True)
            case _:
                yield Text(at, text, direction, number, asked)


def _in_file(message: Any, place: Sequence[str | int], text: str) -> str:  # Any: the host's
    part = message.content[place[1]]
    return str(with_file_text(part.file, text).file_data)


def _said(message: Any) -> Said:  # Any: messages and deltas, the host's or an SDK's
    texts = {name: text for name in _TEXTS if isinstance(text := getattr(message, name, None), str)}
    audio = dumped(getattr(message, "audio", None)) or {}
    if isinstance(transcript := audio.get("transcript"), str):
        texts["transcript"] = transcript
    return Said(
        texts={name: text for name, text in texts.items() if text},
        calls=[dumped(call) for call in getattr(message, "tool_calls", None) or []],
        function_call=dumped(getattr(message, "function_call", None)),
        rest={
            "annotations": [dumped(a) for a in getattr(message, "annotations", None) or []],
            "audio": audio,
        },
    )


def _message(said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {n: t for n, t in said.texts.items() if n in _TEXTS}
    if said.calls:
        message["tool_calls"] = said.calls
    if said.function_call:
        message["function_call"] = said.function_call
    if said.rest.get("annotations"):
        message["annotations"] = said.rest["annotations"]
    audio = said.rest.get("audio")
    if audio and audio.get("transcript") and audio["transcript"] == said.texts.get("transcript"):
        message["audio"] = audio  # rewritten words are still spoken as they were
    elif "transcript" in said.texts and "content" not in message:
        message["content"] = said.texts["transcript"]
    return message
