"""The models that shields ask, as Llama Stack's providers really answer."""

from typing import Any

import pytest
from llama_stack_api import OpenAIChatCompletion
from openai.types.chat import ChatCompletion

from lightspeed_providers.safety.asking import models_of
from lightspeed_providers.safety.shields.base import Message

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "judge",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "safe"}}
    ],
}


class AnsweringJudge:
    """Stands in for a provider of inference; answers in the types it was given."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def openai_chat_completion(self, params: Any) -> Any:
        return self._answer


@pytest.mark.parametrize("kind", [ChatCompletion, OpenAIChatCompletion])
async def test_a_judge_is_heard_whoever_serves_it(kind: Any) -> None:
    """Remote providers hand on what OpenAI's client gave them, others the host's own type."""
    models = models_of(AnsweringJudge(kind.model_validate(ANSWER)))  # type: ignore[arg-type]
    chat = models.chat("openai/judge")
    assert await chat([Message(role="user", content="Is it?")], max_tokens=4) == "safe"


async def test_an_answer_without_a_choice_is_no_verdict() -> None:
    models = models_of(AnsweringJudge(ChatCompletion.model_validate(ANSWER | {"choices": []})))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no choice"):
        await models.chat("openai/judge")([Message(role="user", content="?")], max_tokens=4)
