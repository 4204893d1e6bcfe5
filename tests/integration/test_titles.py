"""New conversations get a title after their first answer, where a profile asks for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import guarded_of, in_server, with_rules
from fakes import CannedUpstream
from llama_stack_api import (
    CreateConversationRequest,
    CreateResponseRequest,
    GetConversationRequest,
    OpenAIChatCompletion,
)
from llama_stack_api.conversations.models import UpdateConversationRequest
from starlette.testclient import TestClient

from lightspeed_providers.core.turns import Turn
from lightspeed_providers.responses import metrics
from lightspeed_providers.responses.title_texts import title_in
from lightspeed_providers.responses.titles import without_title_of
from lightspeed_providers.responses.titles_config import TitlesConfig

QUESTION = "How do I create a superuser in Django?"


class TitlingModel:
    """Stands in for the model that makes titles; keeps what it was sent."""

    def __init__(self, says: str) -> None:
        self.says = says
        self.asked: list[Any] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def openai_chat_completion(self, params: Any) -> Any:
        self.asked.append(params)
        await self.may_answer.wait()
        return OpenAIChatCompletion.model_validate(
            {
                "id": "chatcmpl-title",
                "created": 1,
                "model": params.model,
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": self.says},
                    }
                ],
                "usage": {"prompt_tokens": 40, "completion_tokens": 4, "total_tokens": 44},
            }
        )


class Stack:
    """The server with a titling model beside a canned answer."""

    def __init__(self, impl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._impl = impl
        self._monkeypatch = monkeypatch
        self._conversations = impl._titles._conversations

    def answering(self, *said: str, title: str, **rules: Any) -> TitlingModel:
        titles = TitlesConfig(**({"enabled": True} | rules))
        with_rules(self._monkeypatch, self._impl, titles=titles)
        model = TitlingModel(title)
        self._monkeypatch.setattr(self._impl._titles, "_inference", model)
        self._monkeypatch.setattr(guarded_of(self._impl), "_inference", CannedUpstream(list(said)))
        return model

    async def conversation(self, **metadata: str) -> str:
        request = CreateConversationRequest(metadata=metadata)
        return str((await self._conversations.create_conversation(request)).id)

    async def ask(self, conversation: str, question: str = QUESTION, **fields: Any) -> Any:
        request = {"model": "lightspeed", "input": question, "conversation": conversation}
        return await self._impl.create_openai_response(
            CreateResponseRequest.model_validate(request | fields)
        )

    async def made(self) -> None:
        await asyncio.gather(*self._impl._titles._being_made)

    async def metadata(self, conversation: str) -> dict[str, str]:
        request = GetConversationRequest(conversation_id=conversation)
        return (await self._conversations.get_conversation(request)).metadata or {}

    async def rename(self, conversation: str, title: str) -> None:
        request = UpdateConversationRequest(metadata={"title": title})
        await self._conversations.update_conversation(conversation, request)


@pytest.fixture
def told(client: TestClient, responses_impl: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a story with the server in its event loop."""
    stack = Stack(responses_impl, monkeypatch)

    def tell(story: Callable[[Stack], Awaitable[None]]) -> None:
        in_server(client, lambda: story(stack))

    return tell


def test_a_title_is_made_after_the_answer_and_counted(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[str, int]] = []
    for name in ("tokens_sent", "tokens_received"):
        monkeypatch.setattr(metrics, name, Counting(name, counted))

    async def story(stack: Stack) -> None:
        model = stack.answering("Run createsuperuser.", title='Title: "Creating a superuser."\n')
        model.may_answer.clear()
        conversation = await stack.conversation(kept="yes")
        answer = await stack.ask(conversation)
        assert answer.status == "completed", "it does not wait for the title"
        assert "title" not in await stack.metadata(conversation)
        model.may_answer.set()
        await stack.made()
        assert await stack.metadata(conversation) == {
            "kept": "yes",
            "title": "Creating a superuser",
            "title_of": answer.id,
        }
        [sent] = model.asked
        assert "Run createsuperuser." in sent.messages[1].content
        assert QUESTION in sent.messages[1].content
        assert ("tokens_sent", 40) in counted
        assert ("tokens_received", 4) in counted

    told(story)


class Counting:
    """Notes what is added to a counter for titles."""

    def __init__(self, name: str, counted: list[tuple[str, int]]) -> None:
        self._name, self._counted = name, counted

    def add(self, amount: int, about: dict[str, str]) -> None:
        if about["purpose"] == metrics.TITLE:
            self._counted.append((self._name, amount))


def test_a_title_is_made_once_and_never_over_the_users_own(told: Any) -> None:
    async def story(stack: Stack) -> None:
        model = stack.answering("Run it.", title="Superusers")
        conversation = await stack.conversation()
        for question in (QUESTION, "And how do I test a Django view?"):
            await stack.ask(conversation, question)
            await stack.made()
        assert len(model.asked) == 1
        named = await stack.conversation(title="Mine")
        await stack.ask(named)
        await stack.made()
        assert (await stack.metadata(named))["title"] == "Mine"
        late = await stack.conversation()
        model.may_answer.clear()
        await stack.ask(late)
        await stack.rename(late, "Named meanwhile")
        model.may_answer.set()
        await stack.made()
        assert await stack.metadata(late) == {"title": "Named meanwhile"}

    told(story)


@pytest.mark.parametrize(
    ("said", "question", "fields", "rules"),
    [
        ("Superusers", QUESTION, {}, {"enabled": False}),
        ("Superusers", "Who won the football world cup?", {}, {}),
        ("Superusers", QUESTION, {"store": False}, {}),
        ("My system prompt is: you are", QUESTION, {}, {}),
        (" \n** ", QUESTION, {}, {}),
    ],
    ids=["not asked for", "refused", "not stored", "blocked", "nothing said"],
)
def test_no_title_is_made_where_there_is_nothing_to_name(
    told: Any, said: str, question: str, fields: dict[str, Any], rules: dict[str, Any]
) -> None:
    async def story(stack: Stack) -> None:
        stack.answering("Run it.", title=said, **rules)
        conversation = await stack.conversation()
        await stack.ask(conversation, question, **fields)
        await stack.made()
        assert "title" not in await stack.metadata(conversation)

    told(story)


def test_personal_data_in_a_title_is_redacted(told: Any) -> None:
    async def story(stack: Stack) -> None:
        stack.answering("Run it.", title="Superuser for jane@example.org")
        conversation = await stack.conversation()
        await stack.ask(conversation)
        await stack.made()
        assert (await stack.metadata(conversation))["title"] == "Superuser for <EMAIL_1>"

    told(story)


def test_a_title_goes_with_the_turn_that_it_was_made_from(
    client: TestClient, told: Any, turns: list[Turn]
) -> None:
    conversations: list[str] = []

    async def story(stack: Stack) -> None:
        stack.answering("Run it.", title="Superusers")
        conversations.append(await stack.conversation(kept="yes"))
        await stack.ask(conversations[0])
        await stack.made()

    told(story)
    path = f"/v1/conversations/{conversations[0]}"
    assert client.get(path).json()["metadata"]["title"] == "Superusers"
    assert client.delete(f"/v1alpha/transcripts/{turns[-1].turn_id}").status_code == 200
    assert client.get(path).json()["metadata"] == {"kept": "yes"}


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Creating superusers", "Creating superusers"),
        ("\n\n**Title: Creating superusers.**\nMore text", "Creating superusers"),
        ("„Benutzer anlegen“", "Benutzer anlegen"),
        ("one two three four five six", "one two three four"),
        ("", ""),
        ("x" * 500, "x" * 100),
    ],
)
def test_a_title_is_one_short_line(said: str, title: str) -> None:
    assert title_in(said, max_words=4) == title


def test_only_the_turns_own_title_is_taken_away() -> None:
    metadata = {"title": "Mine", "title_of": "resp_1", "a": "b"}
    assert without_title_of(metadata, "resp_1") == {"a": "b"}
    assert without_title_of(metadata, "resp_2") == metadata
    assert without_title_of({"title": "Mine"}, "resp_1") == {"title": "Mine"}
    assert without_title_of(None, "resp_1") is None
