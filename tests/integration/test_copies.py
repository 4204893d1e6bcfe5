"""A deleted turn is gone from all that Llama Stack keeps itself, and the talk goes on without it.

The upstream model is a fake: it says what it is told to and remembers what it was asked.
"""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
import yaml
from conftest import in_server, run_config
from fakes import chunk
from llama_stack.core.request_headers import RequestProviderDataContext
from llama_stack.core.storage.datatypes import SqliteSqlStoreConfig
from llama_stack.core.storage.sqlstore.authorized_sqlstore import AuthorizedSqlStore
from llama_stack.core.storage.sqlstore.sqlalchemy_sqlstore import SqlAlchemySqlStoreImpl
from llama_stack.providers.inline.responses.builtin.responses.openai_responses import (
    BACKGROUND_NUM_WORKERS as WORKERS,
)
from llama_stack_api import (
    Api,
    CancelResponseRequest,
    CreateConversationRequest,
    CreateResponseRequest,
    OpenAIChatCompletionToolCall,
    OpenAIChatCompletionToolCallFunction,
)
from llama_stack_api.conversations import ListItemsRequest
from llama_stack_api.internal.sqlstore import ColumnDefinition, ColumnType
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from lightspeed_providers.core.errors import LightspeedError, UnavailableError
from lightspeed_providers.responses.copies import Copies
from lightspeed_providers.responses.history import HistoryStore
from lightspeed_providers.responses.host_rows import HostRows, Rows
from lightspeed_providers.responses.origins import MARK, kept

WORDS = ("Quetzal", "Axolotl", "Okapi", "Pangolin", "Tardigrade")
"""Planted in questions; the fake answers with the same word in capitals."""


TABLES = ("responses", "conversation_messages", "conversation_items", "openai_conversations")
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}


class FakeUpstream:
    """A fake model: answers a question by its planted word; may wait before it does."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.reached = asyncio.Event()

    async def openai_chat_completion(self, params: Any) -> AsyncIterator[Any]:
        texts = json.dumps([m.model_dump() for m in params.messages])
        self.asked.append(texts)
        if params.messages[-1].role == "tool":
            return self._stream(planted(params.messages[-1].content))
        return self._stream(planted(params.messages[-1].content), calls=bool(params.tools))

    async def _stream(self, word: str, *, calls: bool = False) -> AsyncIterator[Any]:
        self.reached.set()
        await self.go_on.wait()
        if calls:
            yield tool_call(word)
            yield chunk(None, "tool_calls")
            return
        yield chunk(f"{word.upper()} it is. ")
        yield chunk(None, "stop")


def tool_call(word: str) -> Any:
    """A chunk that calls the client's function with the planted word."""
    function = OpenAIChatCompletionToolCallFunction(name="look", arguments=f'{{"at": "{word}"}}')
    called = OpenAIChatCompletionToolCall(index=0, id=f"call_{len(word)}", function=function)
    whole = chunk(None)
    delta = whole.choices[0].delta.model_copy(update={"tool_calls": [called]})
    choice = whole.choices[0].model_copy(update={"delta": delta})
    return whole.model_copy(update={"choices": [choice]})


def planted(question: str) -> str:
    return next(word for word in WORDS if word in question)


class Talk:
    """A conversation partner of the server, with its copies."""

    def __init__(self, impl: Any, copies: Copies, upstream: FakeUpstream) -> None:
        self.impl = impl
        self.copies = copies
        self.upstream = upstream
        self.conversations = impl._deps[Api.conversations]

    async def ask(self, word: str, **fields: Any) -> Any:
        question = f"How do I add the field {word} to a model?"
        request = CreateResponseRequest(model="lightspeed", input=question, **fields)
        return await self.impl.create_openai_response(request)

    async def call(self, word: str, **fields: Any) -> Any:
        """Ask a question that is answered with a call of the client's function."""
        return await self.ask(word, tools=[LOOK], **fields)

    async def give(self, call: Any, word: str, **fields: Any) -> Any:
        """Give the result of a call."""
        [called] = [item for item in call.output if item.type == "function_call"]
        given = {
            "type": "function_call_output",
            "call_id": called.call_id,
            "output": f"There is a {word}.",
        }
        request = CreateResponseRequest(model="lightspeed", input=[given], tools=[LOOK], **fields)
        return await self.impl.create_openai_response(request)

    async def conversation(self) -> str:
        made = await self.conversations.create_conversation(CreateConversationRequest())
        return str(made.id)

    async def completed(self, response_id: str, conversation: str | None = None) -> None:
        """Wait until a background answer is there, and in its conversation."""
        store = self.impl._stock.openai_responses_impl.responses_store
        async with asyncio.timeout(10):
            # The host tells nobody when it is.
            while (  # noqa: ASYNC110
                await store.get_response_object(response_id)
            ).status != "completed" or (conversation and not known(await self.items(conversation))):
                await asyncio.sleep(0.02)

    async def stored(self) -> set[str]:
        """Planted words in what the stack keeps: any byte of SQLite's files, or any row."""
        if self.copies._history.rows._store._is_sqlite_backend:
            return in_files()
        async with self.copies._history.rows.transaction() as rows:
            return known(str([await rows.all(table) for table in TABLES]))

    async def items(self, conversation: str) -> str:
        asked = ListItemsRequest(conversation_id=conversation, limit=100, order="asc")
        listed = await self.conversations.list_items(asked)
        return json.dumps([item.model_dump() for item in listed.data])

    def known_to_model(self) -> set[str]:
        """Planted words, of questions and of answers, that the model was last asked with."""
        return known(self.upstream.asked[-1])


def known(text: str) -> set[str]:
    return {form for word in WORDS for form in (word, word.upper()) if form in text}


def exchange(*words: str) -> set[str]:
    return {form for word in words for form in (word, word.upper())}


def in_files() -> set[str]:
    """Planted words in any byte of any file of the stack, databases' logs included."""
    files = [f for f in Path(os.environ["LIGHTSPEED_STATE_DIR"]).rglob("*") if f.is_file()]
    held = b"".join(f.read_bytes() for f in files)
    return known(held.decode("utf-8", "replace"))


Story = Callable[[Talk], Any]
Tell = Callable[[Story], None]


@contextmanager
def telling(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tell]:
    """Give what runs a story in a server; no planted word is stored before each."""
    impls = client.app.stack.impls  # type: ignore[attr-defined]  # the host's StackApp
    impl = impls[Api.responses]
    loop = impl._stock.openai_responses_impl
    copies = impls[Api("transcripts")]._copies

    class Elsewhere:
        """Transcripts have their own tests; nothing of these turns shall be theirs."""

        async def record(self, turn: Any) -> None: ...

    def run(story: Story) -> None:
        async def told() -> None:
            upstream = FakeUpstream()
            monkeypatch.setattr(loop.inference_api, "_inference", upstream)
            monkeypatch.setattr(impl._recorder, "sink", Elsewhere())
            talk = Talk(impl, copies, upstream)
            assert await talk.stored() == set()
            try:
                await story(talk)
            finally:
                await _emptied(copies._history)

        in_server(client, told)

    yield run


@pytest.fixture
def tell(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tell]:
    """Run a story in the server as it comes, over SQLite."""
    with telling(client, monkeypatch) as run:
        yield run


@pytest.fixture
def tell_postgres(
    index: Path, upstream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tell]:
    """Run a story in a server whose responses and conversations are in PostgreSQL."""
    from llama_stack.core.server.server import create_app

    database = f"copies_{uuid4().hex}"
    try:
        admin = psycopg2.connect(host="127.0.0.1", port=5432, user="root", dbname="test")
    except psycopg2.OperationalError:
        pytest.skip("needs a PostgreSQL at 127.0.0.1:5432")
    admin.autocommit = True
    config = run_config()
    config["storage"]["backends"]["sql_default"] = {
        "type": "sql_postgres",
        "host": "127.0.0.1",
        "port": 5432,
        "db": database,
        "user": "root",
    }
    del config["vector_stores"]  # a second stack in a process finds no embedding model listed
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config))
    environment = {
        "LIGHTSPEED_STATE_DIR": str(tmp_path),
        "LIGHTSPEED_INDEX": str(index),
        "LLAMA_CPP_URL": upstream,
        "LLAMA_STACK_CONFIG": str(file),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    admin.cursor().execute(f'CREATE DATABASE "{database}"')
    try:
        with TestClient(create_app()) as client, telling(client, monkeypatch) as run:
            yield run
    finally:
        admin.cursor().execute(f'DROP DATABASE "{database}" WITH (FORCE)')
        admin.close()


async def _emptied(history: HistoryStore) -> None:
    """Leave nothing for the next story to stumble over."""
    async with history.rows.transaction() as rows:
        for table in TABLES:
            await rows.delete(table)
    await history.rows.empty_log()


def test_where_a_turn_lies(tell: Tell) -> None:
    async def story(talk: Talk) -> None:
        conversation = await talk.conversation()
        await talk.ask("Quetzal", conversation=conversation)
        await talk.ask("Axolotl", store=False)
        assert await talk.stored() == exchange("Quetzal")
        state = Path(os.environ["LIGHTSPEED_STATE_DIR"])
        database = sqlite3.connect(state / "sql_store.db")
        tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
        holding = {
            name
            for (name,) in database.execute(tables).fetchall()
            if known(str(database.execute(f'SELECT * FROM "{name}"').fetchall()))  # noqa: S608
        }
        database.close()
        assert holding == {
            "responses",
            "conversation_messages",
            "conversation_items",
        }, holding

    tell(story)


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_turn_goes_from_its_conversation_and_the_rest_stays(tell: Tell, gone: int) -> None:
    async def story(talk: Talk) -> None:
        conversation = await talk.conversation()
        words = WORDS[:3]
        responses = [await talk.ask(word, conversation=conversation) for word in words]
        later = [r.id for r in responses[gone + 1 :]]
        for _ in range(2):  # repeating it is harmless
            await talk.copies.forget_turn(responses[gone].id, conversation, later)

        kept = exchange(*(w for w in words if w != words[gone]))
        assert await talk.stored() == kept
        assert known(await talk.items(conversation)) == kept
        await talk.ask("Pangolin", conversation=conversation)
        assert talk.known_to_model() == kept | {"Pangolin"}
        for n, response in enumerate(responses):
            if n != gone:
                await talk.ask("Tardigrade", previous_response_id=response.id)
                before = {w for w in words[: n + 1] if w != words[gone]}
                assert talk.known_to_model() == exchange(*before) | {"Tardigrade"}

    tell(story)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 2), (2, 0)])
def test_turns_go_from_a_chain_of_responses(tell: Tell, order: tuple[int, int]) -> None:
    async def story(talk: Talk) -> None:
        words, chain = WORDS[:4], []
        for word in words:
            previous = chain[-1].id if chain else None
            chain.append(await talk.ask(word, previous_response_id=previous))
        for gone in order:
            await talk.copies.forget_turn(chain[gone].id, None, [r.id for r in chain[gone + 1 :]])
        kept = exchange(*(w for n, w in enumerate(words) if n not in order))
        assert await talk.stored() == kept
        await talk.ask("Tardigrade", previous_response_id=chain[-1].id)
        assert talk.known_to_model() == kept | {"Tardigrade"}

    tell(story)


def test_of_two_same_exchanges_only_one_goes(tell: Tell) -> None:
    async def story(talk: Talk) -> None:
        conversation = await talk.conversation()
        first = await talk.ask("Okapi", conversation=conversation)
        second = await talk.ask("Okapi", conversation=conversation)
        for _ in range(2):
            await talk.copies.forget_turn(first.id, conversation, [second.id])
        assert (await talk.items(conversation)).count("field Okapi") == 1
        assert second.output[0].id in await talk.items(conversation)
        await talk.ask("Axolotl", conversation=conversation)
        assert talk.upstream.asked[-1].count("field Okapi") == 1

    tell(story)


@pytest.mark.parametrize("by", ["conversation", "previous_response_id"])
@pytest.mark.parametrize("gone", [0, 1])
def test_a_turn_that_goes_on_does_not_bring_a_deleted_one_back(
    tell: Tell, by: str, gone: int
) -> None:
    async def story(talk: Talk) -> None:
        conversation = await talk.conversation() if by == "conversation" else None
        if conversation:
            chain = [await talk.ask(w, conversation=conversation) for w in WORDS[:2]]
        else:
            chain = [await talk.ask("Quetzal")]
            chain.append(await talk.ask("Axolotl", previous_response_id=chain[0].id))
        talk.upstream.go_on.clear()
        talk.upstream.reached.clear()
        to = {by: conversation or chain[1].id}
        going_on = asyncio.create_task(talk.ask("Okapi", **to))
        await asyncio.wait_for(talk.upstream.reached.wait(), 5)
        assert talk.known_to_model() == exchange("Quetzal", "Axolotl") | {"Okapi"}

        # Nobody but this process knows yet that there is a third turn.
        later = [r.id for r in chain[gone + 1 :]]
        await talk.copies.forget_turn(chain[gone].id, conversation, later)
        kept = exchange(WORDS[1 - gone])
        assert await talk.stored() == kept | {"Okapi"}
        talk.upstream.go_on.set()
        last = await going_on

        assert await talk.stored() == kept | exchange("Okapi")
        await talk.ask("Pangolin", **{by: conversation or last.id})
        assert talk.known_to_model() == kept | exchange("Okapi") | {"Pangolin"}

    tell(story)


@pytest.mark.parametrize("gone", [0, 1])
def test_a_call_and_its_result_go_together_from_what_a_model_gets(tell: Tell, gone: int) -> None:
    async def story(talk: Talk) -> None:
        conversation = await talk.conversation()
        call = await talk.call("Quetzal", conversation=conversation)
        result = await talk.give(call, "Axolotl", conversation=conversation)
        await talk.ask("Okapi", conversation=conversation)
        assert {"Quetzal", "Axolotl", "AXOLOTL", "Okapi"} == talk.known_to_model()
        turns = [call, result]
        later = [result.id][gone:]
        await talk.copies.forget_turn(turns[gone].id, conversation, later)

        items = known(await talk.items(conversation))
        assert items == exchange("Okapi") | ({"Quetzal"} if gone else exchange("Axolotl"))
        await talk.ask("Pangolin", conversation=conversation)
        asked = json.loads(talk.upstream.asked[-1])
        assert not any(m["role"] == "tool" or m.get("tool_calls") for m in asked)
        assert known(json.dumps(asked)) == exchange("Okapi") | {"Pangolin"} | (
            {"Quetzal"} if gone else {"AXOLOTL"}
        )

    tell(story)


def test_two_turns_of_a_conversation_at_one_time_are_both_remembered(
    tell: Tell,
) -> None:
    async def story(talk: Talk) -> None:
        conversation = await talk.conversation()
        await talk.ask("Quetzal", conversation=conversation)
        await asyncio.gather(*(talk.ask(w, conversation=conversation) for w in WORDS[1:4]))
        await talk.ask("Tardigrade", conversation=conversation)
        assert talk.known_to_model() == exchange(*WORDS[:4]) | {"Tardigrade"}

    tell(story)


def test_an_interrupted_turn_goes_from_what_it_continued(
    tell: Tell,
) -> None:
    async def story(talk: Talk) -> None:
        first = await talk.ask("Quetzal")
        talk.upstream.go_on.clear()
        talk.upstream.reached.clear()
        events = await talk.ask("Axolotl", stream=True, previous_response_id=first.id)
        created = await anext(events)
        waiting = asyncio.create_task(_read_all(events))
        await asyncio.wait_for(talk.upstream.reached.wait(), 5)
        waiting.cancel()
        await asyncio.wait({waiting})
        await events.aclose()
        assert await talk.stored() == exchange("Quetzal") | {"Axolotl"}

        await talk.copies.forget_turn(first.id, None, [created.response.id])
        assert await talk.stored() == {"Axolotl"}
        await talk.copies.forget_turn(created.response.id, None, [])
        assert await talk.stored() == set()

    async def _read_all(events: Any) -> None:
        async for _ in events:
            pass

    tell(story)


def test_a_cancelled_turn_goes_from_what_continues_it(tell: Tell) -> None:
    async def story(talk: Talk) -> None:
        first = await talk.ask("Quetzal")
        talk.upstream.go_on.clear()
        talk.upstream.reached.clear()
        # All of the host's workers are busy: one that has begun can't be cancelled in this version.
        busy = [await talk.ask("Tardigrade", background=True) for _ in range(WORKERS)]
        queued = await talk.ask("Axolotl", background=True, previous_response_id=first.id)
        await talk.impl.cancel_openai_response(CancelResponseRequest(response_id=queued.id))
        talk.upstream.go_on.set()
        last = await talk.ask("Okapi", previous_response_id=queued.id)
        # The host keeps no more of what a turn continues when it is cancelled in the queue.
        assert talk.known_to_model() == {"Axolotl", "Okapi"}
        for each in busy:
            await talk.completed(each.id)

        await talk.copies.forget_turn(queued.id, None, [last.id])
        assert await talk.stored() == exchange("Quetzal", "Okapi", "Tardigrade")
        await talk.ask("Pangolin", previous_response_id=last.id)
        assert talk.known_to_model() == exchange("Okapi") | {"Pangolin"}

    tell(story)


def test_a_background_turn_goes_too(tell: Tell) -> None:
    async def story(talk: Talk) -> None:
        conversation = await talk.conversation()
        queued = await talk.ask("Quetzal", conversation=conversation, background=True)
        await talk.completed(queued.id, conversation)
        last = await talk.ask("Axolotl", conversation=conversation)
        assert talk.known_to_model() == exchange("Quetzal") | {"Axolotl"}
        await talk.copies.forget_turn(queued.id, conversation, [last.id])
        assert await talk.stored() == exchange("Axolotl")

    tell(story)


def test_a_conversation_goes_whole_even_while_a_turn_goes_on(
    tell: Tell,
) -> None:
    async def story(talk: Talk) -> None:
        conversation = await talk.conversation()
        first = await talk.ask("Quetzal", conversation=conversation)
        talk.upstream.go_on.clear()
        talk.upstream.reached.clear()
        going_on = asyncio.create_task(talk.ask("Okapi", conversation=conversation))
        await asyncio.wait_for(talk.upstream.reached.wait(), 5)
        for _ in range(2):
            await talk.copies.forget_conversation(conversation, [first.id])
        assert not await talk.copies.may_use_conversation(conversation)
        talk.upstream.go_on.set()
        await asyncio.wait({going_on})
        assert isinstance(going_on.exception(), LightspeedError)
        assert await talk.stored() <= exchange("Okapi"), (
            "the turn that went on has its own texts at most"
        )

    tell(story)


def test_anybodys_turn_can_be_deleted_and_only_ones_own_conversation_be_used(
    tell: Tell,
) -> None:
    from llama_stack.core.datatypes import User

    def as_user(name: str) -> RequestProviderDataContext:
        return RequestProviderDataContext({}, User(principal=name, attributes={}))

    async def story(talk: Talk) -> None:
        with as_user("alice"):
            conversation = await talk.conversation()
            first = await talk.ask("Quetzal", conversation=conversation)
            second = await talk.ask("Axolotl", conversation=conversation)
            assert await talk.copies.may_use_conversation(conversation)
        with as_user("bob"):
            assert not await talk.copies.may_use_conversation(conversation)
            await talk.copies.forget_turn(first.id, conversation, [second.id])
        assert await talk.stored() == exchange("Axolotl")
        with as_user("alice"):  # it is still hers
            await talk.ask("Okapi", conversation=conversation)
            assert talk.known_to_model() == exchange("Axolotl") | {"Okapi"}
            await talk.ask("Okapi", previous_response_id=second.id)
        await talk.copies.forget_conversation(conversation, [second.id])
        assert not known(await _all_items(talk))
        for unknown in ("conv_" + "0" * 48, "none", ""):
            assert not await talk.copies.may_use_conversation(unknown)

    async def _all_items(talk: Talk) -> str:
        async with talk.copies._conversation_rows.transaction() as rows:
            return str(await rows.all("conversation_items"))

    tell(story)


def test_what_cannot_be_deleted_now_is_told_and_deleted_by_a_repetition(
    tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(talk: Talk) -> None:
        conversation = await talk.conversation()
        first = await talk.ask("Quetzal", conversation=conversation)
        second = await talk.ask("Axolotl", conversation=conversation)
        with monkeypatch.context() as patch:
            broken = OperationalError("UPDATE", {}, Exception("Quetzal"))

            async def fails(*_: Any, **__: Any) -> None:
                raise broken

            patch.setattr(Rows, "update", fails)
            with pytest.raises(UnavailableError) as fault:
                await talk.copies.forget_turn(first.id, conversation, [second.id])
        assert fault.value.status_code == 503
        assert "Quetzal" not in str(fault.value)
        assert "\n" not in str(fault.value)
        await talk.copies.forget_turn(first.id, conversation, [second.id])
        assert await talk.stored() == exchange("Axolotl")
        assert known(await talk.items(conversation)) == exchange("Axolotl")

    tell(story)


def message(role: str, of: str, **fields: Any) -> dict[str, Any]:
    return {"role": role, MARK: of, **fields}


ASK, CALL, RESULT = (
    message("user", "a"),
    message("assistant", "a", tool_calls=[{"id": "1"}, {"id": "2"}]),
    message("tool", "a", tool_call_id="1"),
)
OTHER_RESULT = message("tool", "b", tool_call_id="2")
NEXT, PENDING = message("user", "c"), message("assistant", "c", tool_calls=[{"id": "3"}])


@pytest.mark.parametrize(
    ("said", "gone", "left"),
    [
        ([], "a", []),
        ([ASK, CALL, RESULT, OTHER_RESULT], "none", [ASK, CALL, RESULT, OTHER_RESULT]),
        ([ASK, CALL, RESULT, OTHER_RESULT, NEXT], "a", [NEXT]),
        ([ASK, CALL, RESULT, OTHER_RESULT, NEXT], "b", [ASK, NEXT]),
        ([ASK, CALL, RESULT, OTHER_RESULT, NEXT], "c", [ASK, CALL, RESULT, OTHER_RESULT]),
        ([ASK, NEXT, PENDING], "a", [NEXT, PENDING]),
        ([{"role": "user"}, NEXT], "c", [{"role": "user"}]),
    ],
)
def test_no_call_stays_without_its_result_nor_a_result_without_its_call(
    said: list[dict[str, Any]], gone: str, left: list[dict[str, Any]]
) -> None:
    assert kept(said, lambda mark: mark != gone) == left


def test_it_is_the_same_in_postgresql(tell_postgres: Tell) -> None:
    test_a_turn_goes_from_its_conversation_and_the_rest_stays(tell_postgres, 1)
    test_turns_go_from_a_chain_of_responses(tell_postgres, (1, 0))
    test_a_turn_that_goes_on_does_not_bring_a_deleted_one_back(tell_postgres, "conversation", 0)
    test_two_turns_of_a_conversation_at_one_time_are_both_remembered(tell_postgres)
    test_a_conversation_goes_whole_even_while_a_turn_goes_on(tell_postgres)
    test_anybodys_turn_can_be_deleted_and_only_ones_own_conversation_be_used(tell_postgres)


async def test_sqlite_overwrites_what_is_deleted_in_any_build(tmp_path: Path) -> None:
    file = tmp_path / "host.db"

    async def left_behind(*, ours: bool) -> bool:
        store = SqlAlchemySqlStoreImpl(SqliteSqlStoreConfig(db_path=str(file)))
        of_host = store.create_engine

        def create_engine() -> Any:
            engine = of_host()
            event.listen(
                engine.sync_engine,
                "connect",
                lambda connection, _: connection.execute("PRAGMA secure_delete=OFF").close(),
            )
            return engine

        monkey_built = "create_engine"  # a build of SQLite without SECURE_DELETE
        setattr(store, monkey_built, create_engine)
        authorized = AuthorizedSqlStore(store, [])
        if ours:
            HostRows(authorized)
        await authorized.create_table(
            "t", {"id": ColumnDefinition(type=ColumnType.STRING, primary_key=True)}
        )
        await authorized.insert("t", {"id": "Quetzal" * 2000})
        await authorized.insert("t", {"id": "other"})
        await authorized.delete("t", {"id": "Quetzal" * 2000})
        await store.shutdown()
        return b"Quetzal" in file.read_bytes()

    assert await left_behind(ours=False), "or this test proves nothing"
    file.unlink()
    assert not await left_behind(ours=True)
