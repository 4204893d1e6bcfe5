"""Text completions: where a request has its texts, and what answers and chunks are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

from llama_stack_api import OpenAICompletionRequestWithExtraBody
from openai.types import Completion

from lightspeed_providers.core.errors import InvalidRequestError
from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.responses.doors.answers import Said, about, begun, dumped
from lightspeed_providers.responses.doors.chat import refused_choices, settings_in, with_settings
from lightspeed_providers.responses.doors.places import Text

_NOT_SETTINGS = frozenset({"model", "prompt", "suffix"})
_ABOUT = ("id", "created", "model", "system_fingerprint")

type Request = OpenAICompletionRequestWithExtraBody


class TextCompletions:
    """Reads and writes text completions."""

    field = "text"

    def texts(self, request: Request) -> list[Text]:
        """Return every text of the request that may reach the model, in order."""
        texts: list[Text] = []
        for number, prompt in enumerate(_prompts(request)):
            place = ("prompt",) if isinstance(request.prompt, str) else ("prompt", number)
            texts.append(Text(place, prompt, Direction.INPUT, number, asked=True))
            if request.suffix:
                # It stands on the other side of the hole that the model fills.
                texts.append(Text(("suffix",), request.suffix, Direction.INPUT, number, asked=True))
        return [*texts, *settings_in(request, _NOT_SETTINGS)]

    def with_texts(self, request: Request, rewritten: Mapping[Text, str]) -> Request:
        """Return the request with some texts rewritten; the given one stays as it is."""
        prompt: Any = request.prompt
        suffix = request.suffix
        for text, changed in rewritten.items():
            match text.place:
                case ("prompt",):
                    prompt = changed
                case ("prompt", int(number)):
                    prompt = [*prompt[:number], changed, *prompt[number + 1 :]]
                case ("suffix",):
                    suffix = changed
        changed_request = with_settings(request, rewritten)
        return changed_request.model_copy(update={"prompt": prompt, "suffix": suffix})

    def choices(self, request: Request) -> int:
        """Return how many answers the request asks for."""
        return len(_prompts(request)) * (request.n or 1)

    def refused_choices(self, request: Request) -> range:
        """Return the numbers of the choices that a refusal answers."""
        return refused_choices(self.choices(request), len(_prompts(request)))

    def names(self, request: Request) -> frozenset[str]:
        """Return the names of tools: there are none."""
        return frozenset()

    def refused(self, request: Request, refusal: str) -> Completion:
        """Return the answer to a request that no model was asked.

        One prompt of several that is refused refuses all.
        """
        return Completion.construct(
            **begun("cmpl", request.model),
            object="text_completion",
            choices=[self.refused_choice(n, refusal) for n in self.refused_choices(request)],
            usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        )

    def said(self, choice: Any) -> Said:  # Any: the host's choices or an SDK's
        """Return what a choice of a whole answer holds that was said by the model."""
        return Said({"text": choice.text} if choice.text else {})

    def answer(self, completion: Any, choices: Sequence[Any]) -> Completion:  # Any: as above
        """Return an answer with these choices, and nothing that is not known here."""
        return Completion.construct(
            **about(completion, _ABOUT),
            object="text_completion",
            choices=list(choices),
            usage=dumped(getattr(completion, "usage", None)),
        )

    def choice(self, choice: Any, said: Said) -> dict[str, Any]:  # Any: as above
        """Return a choice that says this."""
        return {
            "index": choice.index,
            "finish_reason": choice.finish_reason,
            "text": said.texts.get("text", ""),
            "logprobs": None,
        }

    def refused_choice(self, index: int, refusal: str) -> dict[str, Any]:
        """Return a choice that is the refusal."""
        return {
            "index": index,
            "finish_reason": "content_filter",
            "text": refusal,
            "logprobs": None,
        }

    delta = said

    def begin(self, request: Request) -> Completion:
        """Return a chunk to make others of, where no model gave one."""
        return Completion.construct(**begun("cmpl", request.model))

    def chunk(
        self, like: Any, index: int, said: Said | None = None, finish_reason: str | None = None
    ) -> Completion:  # Any: as above
        """Return a chunk of a choice: what it adds, or its end."""
        text = "" if said is None else said.texts.get("text", "")
        choices = [{"index": index, "text": text, "finish_reason": finish_reason, "logprobs": None}]
        return Completion.construct(
            **about(like, _ABOUT), object="text_completion", choices=choices
        )

    def role_chunk(self, like: Any, index: int) -> None:  # Any: as above
        """Return nothing: texts have no roles."""

    def usage_chunk(self, like: Any, usage: Any) -> Completion:  # Any: as above
        """Return the chunk that says what the answer cost."""
        return Completion.construct(
            **about(like, _ABOUT), object="text_completion", choices=[], usage=dumped(usage)
        )

    def with_usage(self, chunk: Completion, usage: Any) -> Completion:  # Any: as above
        """Return a chunk that says what the answer cost, too."""
        return Completion.construct(**{**chunk.to_dict(), "usage": dumped(usage)})


def _prompts(request: Request) -> list[str]:
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise InvalidRequestError(
            "`prompt` holds token ids, which shields can't read: send it as text."
        )
    return [str(prompt) for prompt in prompts]
