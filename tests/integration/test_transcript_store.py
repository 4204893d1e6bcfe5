"""The store of turns and feedback: the same on SQLite and PostgreSQL, and nothing is left over."""

# ruff: noqa: S608 - the names of tables are the tests' own

import asyncio
import hashlib
import json
import sqlite3
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from databases import Place, place, postgres, psql, table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from lightspeed_providers.core.errors import ConfigurationError, NotFoundError
from lightspeed_providers.transcripts import database, migrations, schema
from lightspeed_providers.transcripts.opening import opened_store
from lightspeed_providers.transcripts.rows import (
    AuditRow,
    Change,
    FeedbackCount,
    FeedbackFilter,
    FeedbackRow,
    Kind,
    TurnFilter,
    TurnKey,
    TurnRow,
)
from lightspeed_providers.transcripts.store import StoreAwayError, TranscriptStore
from lightspeed_providers.transcripts.words import LONGEST, MOST_BYTES, words_of

__all__ = ["place", "postgres", "table"]

START = 1_767_323_045_678_901  # 2026-01-02 03:04:05.678901 UTC
SECOND = 1_000_000
AUDIT = AuditRow(START, "operator", "delete_turn", "somebody", turns=-1, feedback=-1)


def turn(number: int, **fields: Any) -> TurnRow:
    row = TurnRow(
        turn_id=f"turn_{number}",
        received_us=START + number * SECOND,
        first_token_us=None,
        finished_us=START + number * SECOND + 500,
        user_hash="alice",
        conversation_id="conv_a",
        response_id=f"resp_{number}",
        previous_response_id=None,
        profile="demo",
        prompt_version="0123456789ab",
        model="tiny",
        provider="local",
        outcome="answered",
        input_tokens=7,
        output_tokens=9,
        passages=4,
        best_score=0.5,
        shields=(),
        blocked_by=None,
        question=f"Question {number}?",
        answer=f"Answer {number}.",
        record=json.dumps({"n": number, "pad": "x" * 50}),
    )
    return replace(row, **fields)


def feedback(number: int, **fields: Any) -> FeedbackRow:
    row = FeedbackRow(
        feedback_id=f"fb_{number}",
        created_us=START + number * SECOND,
        user_hash="alice",
        conversation_id="conv_a",
        turn_id=f"turn_{number}",
        profile="demo",
        prompt_version="0123456789ab",
        sentiment=1,
        categories=(),
        record=json.dumps({"f": number}),
    )
    return replace(row, **fields)


def opened(place: Place, name: str | None = None) -> TranscriptStore:
    return TranscriptStore(place.create_engine, name or place.name, sync_commits=False)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[TranscriptStore]:
    store = opened(place)
    yield store
    await store.close()


async def numbers(store: TranscriptStore, limit: int = 200, **which: Any) -> list[int]:
    found = await store.turns(TurnFilter(**which), limit=limit)
    return [json.loads(each.record)["n"] for each in found]


async def test_a_record_comes_back_byte_for_byte_and_only_to_its_user(
    store: TranscriptStore,
) -> None:
    record = '{"question":"ä \U0001f600 \\u0000", "answer" : "\\n"}'
    await store.insert_turns([turn(1, record=record)])
    assert await store.record_of("turn_1", "alice") == record
    assert await store.record_of("turn_1", None) == record
    assert await store.record_of("turn_1", "bob") is None
    assert await store.record_of("turn_2", None) is None


async def test_pages_neither_skip_nor_repeat_while_turns_arrive(store: TranscriptStore) -> None:
    same_moment = [turn(100 + n, received_us=START) for n in range(7)]
    await store.insert_turns([turn(1), *same_moment[:3], turn(2)])
    await store.insert_turns(same_moment[3:])
    await store.insert_turns([turn(-5)])  # a clock that went backwards
    seen: list[int] = []
    before = None
    while page := await store.turns(TurnFilter(), limit=2, before=before):
        seen += [json.loads(each.record)["n"] for each in page]
        before = page[-1].position
        await store.insert_turns([turn(50 + len(seen))])
    assert seen == [2, 1, 106, 105, 104, 103, 102, 101, 100, -5]

    forwards: list[int] = []
    after = None
    whole = TurnFilter(conversation_id="conv_a", user_hash="alice")
    while page := await store.conversation(whole, limit=3, after=after):
        forwards += [json.loads(each.record)["n"] for each in page]
        after = page[-1].position
    assert forwards[:10] == seen[::-1]


async def test_many_turns_of_one_moment_each_have_a_place(store: TranscriptStore) -> None:
    for start in range(0, 2500, 500):
        await store.insert_turns([turn(start + n, received_us=START + n % 2) for n in range(500)])
    assert len(set(await numbers(store, limit=5000))) == 2500
    assert len(await numbers(store, limit=5000, since_us=START + 1)) == 1250
    assert len(await numbers(store, limit=5000, until_us=START + 1)) == 1250
    assert await numbers(store, until_us=START) == []


async def test_a_turn_is_stored_once(store: TranscriptStore) -> None:
    first = turn(1, answer="first", shields=("a",))
    await store.insert_turns([first, replace(first, answer="second"), turn(2)])
    await store.insert_turns([turn(2), turn(3), turn(1)])
    await store.insert_turns([])
    assert await numbers(store) == [3, 2, 1]
    assert await numbers(store, text="first") == [1]
    assert await numbers(store, text="second") == []
    await store.insert_feedback(feedback(1))
    await store.insert_feedback(feedback(1, sentiment=-1))
    assert len(await store.feedback(FeedbackFilter(), limit=9)) == 1


FILTERED: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [8, 7, 6, 5, 4, 3, 2, 1]),
    ({"user_hash": "bob"}, [8, 7]),
    ({"user_hash": "nobody"}, []),
    ({"conversation_id": "conv_b"}, [8, 7]),
    ({"conversation_id": "conv_b", "user_hash": "alice"}, []),
    ({"response_id": "resp_3"}, [3]),
    ({"response_id": "resp_3", "user_hash": "bob"}, []),
    ({"outcome": "refused"}, [8, 3]),
    ({"outcome": "refused", "user_hash": "alice"}, [3]),
    ({"profile": "other"}, [7, 4]),
    ({"profile": "other", "user_hash": "bob"}, [7]),
    ({"model": "large"}, [5]),
    ({"model": "large", "user_hash": "bob"}, []),
    ({"shield": "input_topic"}, [8, 3]),
    ({"shield": "redaction"}, [3, 2]),
    ({"shield": "redaction", "user_hash": "alice", "outcome": "refused"}, [3]),
    ({"shield": "redaction", "since_us": START + 3 * SECOND}, [3]),
    ({"has_feedback": True}, [6]),
    ({"has_feedback": False, "user_hash": "bob"}, [8, 7]),
    ({"since_us": START + 7 * SECOND}, [8, 7]),
    ({"until_us": START + 2 * SECOND}, [1]),
    ({"since_us": START + 2 * SECOND, "until_us": START + 4 * SECOND}, [3, 2]),
    ({"text": "ORANGE"}, [8, 4]),
    ({"text": "juice orange"}, [4]),
    ({"text": "orange", "user_hash": "bob"}, [8]),
    ({"text": "orange", "user_hash": "bob", "outcome": "answered"}, []),
    ({"text": "orange", "shield": "input_topic"}, [8]),
    ({"text": "orange", "until_us": START + 5 * SECOND}, [4]),
    ({"text": "question 3"}, [3]),
    ({"text": "straße"}, [5]),
    ({"text": "STRASSE"}, [5]),
    ({"text": "py"}, [6]),
    ({"text": "manage.py"}, [6]),
    ({"text": "orang"}, []),
    ({"text": "orange*"}, [8, 4]),
    ({"text": '"orange juice" OR question'}, []),
    ({"text": "NOT orange"}, []),
    ({"text": "answer: orange"}, [8]),
    ({"text": "orange' & 'juice"}, [4]),
    ({"text": "' OR 1=1 --"}, []),
    ({"text": "\\' | !juice"}, [4]),
    ({"text": ""}, []),
    ({"text": "?!*()"}, []),
    ({"text": "alice"}, []),
    ({"user_hash": "' OR ''='"}, []),
]


async def test_filters(filled: TranscriptStore) -> None:
    for which, found in FILTERED:
        assert await numbers(filled, **which) == found, which
        assert await numbers(filled, limit=1, **which) == found[:1], which
        in_order = await filled.conversation(TurnFilter(**which), limit=99)
        assert [json.loads(each.record)["n"] for each in in_order] == found[::-1], which


@pytest.fixture
async def filled(store: TranscriptStore) -> TranscriptStore:
    await store.insert_turns(
        [
            turn(1),
            turn(2, shields=("redaction",)),
            turn(3, outcome="refused", shields=("redaction", "input_topic")),
            turn(4, profile="other", question="An orange?", answer="Juice; of an Orange."),
            turn(5, model="large", question="Which Straße?"),
            turn(6, question="What does manage.py do?", conversation_id=None),
            turn(7, profile="other", user_hash="bob", conversation_id="conv_b"),
            turn(
                8,
                user_hash="bob",
                conversation_id="conv_b",
                outcome="refused",
                question="orange",
                shields=("input_topic", "input_topic"),
            ),
        ]
    )
    await store.insert_feedback(feedback(6))
    return store


async def test_postgresql_finds_common_words_of_a_crowd_and_rare_ones_behind_it(
    table: str, place: Place
) -> None:
    store = opened(place)
    await store.insert_turns([turn(n, answer="rare common") for n in (1, 2)])
    await store.insert_turns([turn(n, answer="common", user_hash="bob") for n in range(3, 400)])
    assert await numbers(store, limit=3, text="common") == [399, 398, 397]
    assert await numbers(store, limit=3, text="rare") == [2, 1]
    assert await numbers(store, limit=3, text="rare common", user_hash="alice") == [2, 1]
    assert await numbers(store, limit=3, text="rare", user_hash="bob") == []
    assert await numbers(store, limit=3, text="rare", outcome="answered") == [2, 1]
    await store.close()


async def test_no_filter_reads_the_whole_table(tmp_path: Path) -> None:
    """Each single filter, with or without a user, walks an index of SQLite in order."""
    asked: list[tuple[str, Any]] = []

    def create_engine() -> AsyncEngine:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/turns.db")

        @sa.event.listens_for(engine.sync_engine, "before_cursor_execute")
        def _note(*call: Any) -> None:
            asked.append((call[2], call[3]))

        return engine

    store = TranscriptStore(create_engine, "turns", sync_commits=False)
    await store.check_version()
    connection = sqlite3.connect(tmp_path / "turns.db")
    singles: dict[str, Any] = {
        "response_id": "x",
        "outcome": "x",
        "profile": "x",
        "model": "x",
        "shield": "x",
        "has_feedback": True,
        "text": "x",
        "since_us": 5,
        "until_us": 5,
    }
    for name, value in singles.items():
        for user in (None, "alice"):
            which = TurnFilter(**{name: value, "user_hash": user})
            await store.turns(which, limit=20, before=7)
            statement, values = asked[-1]
            assert "record" in statement
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            walked = [step for step in plan if step.startswith("SCAN") and "VIRTUAL" not in step]
            assert not walked, (which, plan)
            sorted_ = [step for step in plan[:-1] if "TEMP B-TREE" in step]
            assert not sorted_, (which, plan)
    connection.close()
    await store.close()


async def test_who_has_a_conversation_and_which_prompt_it_had(store: TranscriptStore) -> None:
    await store.insert_turns(
        [turn(1), turn(2, profile="new", prompt_version="v2"), turn(3, user_hash="bob")]
    )
    assert await store.owns_conversation("alice", "conv_a") is True
    assert await store.owns_conversation("carol", "conv_a") is False
    assert await store.owns_conversation("alice", "conv_z") is None
    assert await store.prompt_of("turn_1", None, "alice") == ("demo", "0123456789ab")
    assert await store.prompt_of("turn_3", "conv_a", "alice") is None
    assert await store.prompt_of(None, "conv_a", "alice") == ("new", "v2")
    assert await store.prompt_of(None, None, "alice") is None


async def test_feedback_is_listed_and_counted(store: TranscriptStore) -> None:
    day = 86_400 * SECOND
    await store.insert_turns([turn(1), turn(2)])
    for row in (
        feedback(1, categories=("incorrect", "other", "other")),
        feedback(2, sentiment=-1, categories=("other",), profile=None, prompt_version=None),
        feedback(3, user_hash="bob", sentiment=None, turn_id=None, created_us=START + day),
        feedback(4, created_us=START + SECOND),
    ):
        await store.insert_feedback(row)

    async def listed(**which: Any) -> list[int]:
        found = await store.feedback(FeedbackFilter(**which), limit=9)
        return [json.loads(each.record)["f"] for each in found]

    assert await listed() == [3, 2, 4, 1]
    assert await listed(user_hash="bob") == [3]
    assert await listed(turn_id="turn_1") == [1]
    assert await listed(sentiment=-1) == [2]
    assert await listed(category="other", profile="demo") == [1]
    assert await listed(since_us=START + 2 * SECOND, until_us=START + day) == [2]
    [newest, *_] = await store.feedback(FeedbackFilter(), limit=1)
    older = await store.feedback(FeedbackFilter(), limit=9, before=newest.position)
    assert [json.loads(each.record)["f"] for each in older] == [2, 4, 1]

    assert await store.feedback_counts(FeedbackFilter()) == [
        FeedbackCount("2026-01-02", None, None, -1, 1),
        FeedbackCount("2026-01-02", "demo", "0123456789ab", 1, 2),
        FeedbackCount("2026-01-03", "demo", "0123456789ab", None, 1),
    ]
    assert await store.category_counts(FeedbackFilter()) == {"incorrect": 1, "other": 2}
    assert await store.category_counts(FeedbackFilter(sentiment=-1)) == {"other": 1}
    assert await store.feedback_counts(FeedbackFilter(category="none")) == []


async def test_feedback_marks_its_turn_before_and_after_it_is_there(
    store: TranscriptStore,
) -> None:
    await store.insert_feedback(feedback(1))
    await store.insert_turns([turn(1), turn(2), turn(3)])
    await store.insert_feedback(feedback(3))
    await store.insert_feedback(feedback(33, turn_id="turn_3"))
    assert await numbers(store, has_feedback=True) == [3, 1]
    assert await store.remove_feedback(["fb_1", "fb_3", "fb_none"], AUDIT) == 2
    assert await numbers(store, has_feedback=True) == [3]
    [(_, line)] = await store.audit(limit=9)
    assert (line.turns, line.feedback) == (0, 2)


async def test_a_removal_takes_everything_and_leaves_marks(
    store: TranscriptStore, place: Place
) -> None:
    await store.insert_turns([turn(n, shields=("s",), answer=f"word{n} all") for n in range(5)])
    await store.insert_feedback(feedback(1, categories=("other",)))
    await store.insert_feedback(feedback(2, turn_id=None, conversation_id="conv_z"))
    await store.insert_feedback(feedback(3, turn_id=None, conversation_id=None))
    seen = await store.newest_seq()

    assert await store.remove(["turn_1", "turn_2", "turn_x"], audit=AUDIT) == (2, 1)
    assert await numbers(store) == [4, 3, 0]
    assert await numbers(store, text="all") == [4, 3, 0]
    assert await numbers(store, text="word1") == []
    assert await numbers(store, shield="s") == [4, 3, 0]
    assert await store.record_of("turn_1", None) is None
    assert await store.category_counts(FeedbackFilter()) == {}
    marks = await store.changes(seen, limit=99)
    assert {(mark.kind, mark.id, mark.record) for mark in marks} == {
        (Kind.TURN, "turn_1", None),
        (Kind.TURN, "turn_2", None),
        (Kind.FEEDBACK, "fb_1", None),
    }
    assert all(mark.user_hash == "alice" and mark.conversation_id == "conv_a" for mark in marks)

    last = AuditRow(START, "alice", "delete_user", "alice", turns=0, feedback=0)
    assert await store.remove([], feedback_of_conversation="conv_z", audit=None) == (0, 1)
    assert await store.remove(["turn_0"], feedback_of_user="alice", audit=last) == (1, 1)
    assert await store.remove(["turn_0"], audit=last) == (0, 0)
    lines = await store.audit(limit=9)
    assert [line for _, line in lines] == [
        last,
        replace(last, turns=1, feedback=1),
        replace(AUDIT, turns=2, feedback=1),
    ]
    assert [line for _, line in await store.audit(limit=9, before=lines[1][0])] == [
        replace(AUDIT, turns=2, feedback=1)
    ]


async def test_what_is_removed_stays_removed(store: TranscriptStore) -> None:
    await store.insert_turns([turn(1), turn(2)])
    await store.insert_feedback(feedback(2))
    await store.remove(["turn_1"], audit=None)
    await store.remove_feedback(["fb_2"], None)
    await store.insert_turns([turn(1), turn(3)])  # a batch that was tried once before
    await store.insert_feedback(feedback(2))
    assert await numbers(store) == [3, 2]
    assert await numbers(store, has_feedback=True) == []
    with pytest.raises(NotFoundError, match=r"No turn 'turn_1': it was deleted\."):
        await store.insert_feedback(feedback(9, turn_id="turn_1"))


async def test_nothing_of_a_removed_turn_is_left_in_sqlites_files(tmp_path: Path) -> None:
    store = TranscriptStore(
        lambda: create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/turns.db"),
        "turns",
        sync_commits=False,
    )
    secret = "geheimnisvoll"
    for start in range(0, 2000, 100):
        await store.insert_turns(
            [turn(n, answer=f"number{n} " + "pad " * 500) for n in range(start, start + 100)]
        )
    long = "pad " * 3000
    hidden = turn(-1, question=f"Is {secret}x?", answer=secret, record=f'{{"n": "{long}{secret}"}}')
    await store.insert_turns([hidden])
    await store.insert_turns([turn(n) for n in range(3000, 3100)])
    await store.insert_feedback(feedback(5, turn_id="turn_-1", record=f'{{"f": "{secret}"}}'))

    def left() -> int:
        return sum(file.read_bytes().count(secret.encode()) for file in tmp_path.iterdir())

    assert left() > 2
    assert await store.remove(["turn_-1"], audit=AUDIT) == (1, 1)
    while not await store.tidy(within_s=1):
        pass
    assert left() == 0
    assert await numbers(store, text="number1999") == [1999]
    connection = sqlite3.connect(tmp_path / "turns.db")
    connection.execute("INSERT INTO turns_search(turns_search) VALUES ('integrity-check')")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    await store.close()


async def test_later_turns_of_a_chain(store: TranscriptStore) -> None:
    await store.insert_turns(
        [
            turn(1),
            turn(2, previous_response_id="resp_1"),
            turn(3, conversation_id="conv_b", previous_response_id="resp_2"),
            turn(4, conversation_id=None, previous_response_id="resp_3"),
            turn(5, response_id=None),
            turn(6, conversation_id="conv_c"),
            turn(0, previous_response_id="resp_4"),  # a ring, and an earlier moment
        ]
    )

    async def later(number: int) -> set[str]:
        [key] = await store.keys(turn_id=f"turn_{number}", limit=1)
        return set(await store.later_in_chain(key))

    assert await later(1) == {"resp_2", "resp_3", "resp_4", "resp_0"}
    assert await later(3) == {"resp_4", "resp_0"}
    assert await later(5) == set()
    assert await later(6) == set()

    await store.remove(["turn_2", "turn_3"], audit=None)
    assert await later(1) == {"resp_4", "resp_0"}, "texts of the first are in the later ones still"
    await store.remove(["turn_0", "turn_4"], audit=None)
    assert await later(1) == set()


async def test_what_a_removal_is_about(store: TranscriptStore) -> None:
    await store.insert_turns([turn(0), turn(1), turn(3, previous_response_id="resp_2")])
    gone = TurnKey("turn_gone", "alice", "resp_2", None, "conv_a")
    assert "resp_3" in await store.later_in_chain(gone)
    assert [key.turn_id for key in await store.keys(conversation_id="conv_a", limit=2)] == [
        "turn_0",
        "turn_1",
    ]
    assert await store.keys(turn_id="turn_1", user_hash="bob", limit=2) == []
    with pytest.raises(ValueError, match="name a turn"):
        await store.keys(limit=2)


async def test_what_has_expired(store: TranscriptStore) -> None:
    await store.insert_turns([turn(n) for n in range(10)])
    for n in range(4):
        await store.insert_feedback(feedback(n))

    async def turns(**bounds: Any) -> list[str]:
        found = await store.expired(
            Kind.TURN, **({"older_than_us": None, "keep": None, "limit": 99} | bounds)
        )
        return [key.turn_id for key in found]

    assert await turns() == []
    assert await turns(keep=10) == []
    assert await turns(keep=8) == ["turn_0", "turn_1"]
    assert await turns(keep=0, limit=3) == ["turn_0", "turn_1", "turn_2"]
    assert await turns(older_than_us=START + 2 * SECOND) == ["turn_0", "turn_1"]
    assert await turns(older_than_us=START + SECOND, keep=8) == ["turn_0", "turn_1"]
    assert await turns(older_than_us=START) == []
    said = await store.expired(Kind.FEEDBACK, older_than_us=None, keep=2, limit=9)
    assert said == ["fb_0", "fb_1"]


async def test_facts_come_in_pieces(
    store: TranscriptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightspeed_providers.transcripts.store.FACTS_AT_ONCE", 3)
    await store.insert_turns([turn(n, blocked_by="b" if n == 2 else None) for n in range(10)])
    for number, sentiment in ((1, 1), (2, None), (3, -1)):
        await store.insert_feedback(feedback(number, turn_id="turn_4", sentiment=sentiment))
    pieces = [piece async for piece in store.facts(START + SECOND, START + 9 * SECOND)]
    assert [len(piece) for piece in pieces] == [3, 3, 2]
    facts = [each for piece in pieces for each in piece]
    assert [each.turn_id for each in facts] == [f"turn_{n}" for n in range(1, 9)]
    assert [list(each.sentiments) for each in facts][2:5] == [[], [1, -1], []]
    assert facts[1].blocked_by == "b"
    assert facts[1].best_score == 0.5
    assert [piece async for piece in store.facts(START - 9, START - 1)] == []


async def test_changes_are_numbered_in_the_order_of_commits(place: Place) -> None:
    """An export that keeps the last number it saw misses nothing, whoever writes beside it."""
    stores = [opened(place) for _ in range(3)]
    await stores[0].check_version()
    writing = [asyncio.create_task(_write(store, start)) for start, store in enumerate(stores[:2])]
    seen: list[Change] = []
    last = 0

    async def follow() -> None:
        nonlocal last
        for change in await stores[2].changes(last, limit=7):
            seen.append(change)
            last = change.seq

    while not all(task.done() for task in writing):
        await follow()
        await asyncio.sleep(0)
    await asyncio.gather(*writing)
    while last < await stores[2].newest_seq():
        before = last
        await follow()
        if last == before:
            break
    assert len({change.seq for change in seen}) == len(seen)
    added = {(change.kind, change.id) for change in seen if change.record is not None}
    removed = {change.id for change in seen if change.record is None}
    assert removed == {f"turn_{start}000" for start in (1, 2)}
    still = {(Kind.TURN, f"turn_{start}{n:03}") for start in (1, 2) for n in range(1, 20)}
    said = {(Kind.FEEDBACK, f"fb_{start}{n:03}") for start in (1, 2) for n in range(20)}
    assert still | said <= added
    for store in stores:
        await store.close()


async def _write(store: TranscriptStore, start: int) -> None:
    for number in range((start + 1) * 1000, (start + 1) * 1000 + 20):
        await _in_the_end(lambda number=number: store.insert_turns([turn(number)]))
        said = feedback(number, turn_id=None)
        await _in_the_end(lambda said=said: store.insert_feedback(said))
    await _in_the_end(lambda: store.remove([f"turn_{start + 1}000"], audit=None))


async def _in_the_end(write: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await write()
        except StoreAwayError:  # another process held SQLite's lock for longer than it is waited
            await asyncio.sleep(0.05)
        else:
            return


def old_turn(number: int, **fields: Any) -> dict[str, Any]:
    received = f"2026-01-02T03:{number // 60 % 60:02}:{number % 60:02}Z"
    return {
        "turn_id": f"turn_{number}",
        "conversation_id": "conv_a",
        "response_id": f"resp_{number}",
        "previous_response_id": None,
        "user_id": "alice",
        "profile": "demo",
        "prompt": "Answer'%s' \"from\" the documentation.",
        "prompt_version": "0123456789ab",
        "model_requested": "default",
        "model": "tiny",
        "provider": None,
        "question": f"Question {number}?",
        "answer": f"Answer {number}.",
        "passages": [{"score": 0.25}, {"score": 0.75}],
        "verdicts": [
            {"shield": "a", "action": "allow", "replaced": 0},
            {"shield": "b", "action": "replace", "replaced": 3},
            {"shield": "c", "action": "block", "replaced": 0},
        ],
        "input_tokens": 1,
        "output_tokens": 2,
        "received_at": received,
        "first_token_at": None,
        "finished_at": received,
        "outcome": "answered",
        "error": None,
        "streamed": False,
        **fields,
    }


async def write_old_layout(place: Place, count: int) -> None:
    """The tables as they were created and filled before layouts had numbers."""
    name = place.name
    await place.run(
        f"CREATE TABLE {name} (turn_id VARCHAR NOT NULL, received_us BIGINT NOT NULL, "
        "user_hash VARCHAR NOT NULL, conversation_id VARCHAR, response_id VARCHAR, "
        "outcome VARCHAR NOT NULL, model VARCHAR, record TEXT NOT NULL, PRIMARY KEY (turn_id))",
        f"CREATE INDEX ix_{name}_response_id ON {name} (response_id)",
        f"CREATE INDEX ix_{name}_user ON {name} (user_hash, received_us, turn_id)",
        f"CREATE TABLE {name}_feedback (feedback_id VARCHAR NOT NULL, created_us BIGINT NOT NULL, "
        "user_hash VARCHAR NOT NULL, conversation_id VARCHAR, turn_id VARCHAR, sentiment INTEGER, "
        "record TEXT NOT NULL, PRIMARY KEY (feedback_id))",
        f"CREATE INDEX ix_{name}_feedback_turn_id ON {name}_feedback (turn_id)",
    )
    engine = place.create_engine()
    async with engine.begin() as connection:
        await connection.execute(
            sa.text(
                f"INSERT INTO {name} VALUES (:turn_id, :received_us, 'alice', 'conv_a', "
                ":response_id, 'answered', 'tiny', :record)"
            ),
            [
                {
                    "turn_id": f"turn_{n}",
                    "received_us": START + (n // 3) * SECOND,  # three at a moment
                    "response_id": f"resp_{n}",
                    "record": json.dumps(old_turn(n)),
                }
                for n in range(count)
            ],
        )
        await connection.execute(
            sa.text(
                f"INSERT INTO {name}_feedback VALUES (:id, 5, 'alice', 'conv_a', :turn, 1, :record)"
            ),
            [
                {"id": "fb_1", "turn": "turn_1", "record": '{"categories": ["other"]}'},
                {"id": "fb_2", "turn": None, "record": '{"categories": null}'},
            ],
        )
    await engine.dispose()


async def test_the_unnumbered_layout_is_carried_over_by_one_of_many(place: Place) -> None:
    await write_old_layout(place, count=1234)
    stores = [opened(place) for _ in range(3)]
    await asyncio.gather(*(store.check_version() for store in stores))
    store = stores[0]
    found = await store.turns(TurnFilter(), limit=5000)
    records = {(record := json.loads(each.record))["turn_id"]: record for each in found}
    assert set(records) == {f"turn_{n}" for n in range(1234)}
    one = records["turn_7"]
    assert "prompt" not in one
    assert one["prompt_hash"] == hashlib.sha256(old_turn(7)["prompt"].encode()).hexdigest()
    assert [each["replaced"] for each in one["verdicts"]] == [{}, {"UNKNOWN": 3}, {}]
    kept = {"prompt", "verdicts"}
    assert {k: v for k, v in one.items() if k not in kept | {"prompt_hash"}} == {
        k: v for k, v in old_turn(7).items() if k not in kept
    }
    assert len(await store.turns(TurnFilter(shield="b", text="answer 7"), limit=9)) == 1
    assert await store.turns(TurnFilter(shield="a"), limit=9) == []
    [marked] = await store.turns(TurnFilter(has_feedback=True), limit=9)
    assert json.loads(marked.record)["turn_id"] == "turn_1"
    assert len(await store.feedback(FeedbackFilter(profile="demo"), limit=9)) == 2
    assert len(await store.feedback(FeedbackFilter(category="other"), limit=9)) == 1
    [piece] = [piece async for piece in store.facts(START, START + 9000 * SECOND)]
    assert len(piece) == 1234
    assert (piece[0].passages, piece[0].best_score, piece[0].blocked_by) == (2, 0.75, "c")
    assert len(await store.changes(0, limit=5000)) == 1236
    for each in stores:
        await each.close()


async def test_a_carry_over_that_fails_leaves_the_old_tables(place: Place) -> None:
    await write_old_layout(place, count=3)
    await place.run(f"UPDATE {place.name} SET record = 'no JSON' WHERE turn_id = 'turn_2'")
    wrong = rf"Table '{place.name}' has a record that is not one of ours.*mend or delete"
    with pytest.raises(ConfigurationError, match=wrong):
        await opened(place).check_version()
    assert await place.run(f"SELECT count(*) FROM {place.name}") == [(3,)]
    await place.run(f"DELETE FROM {place.name} WHERE turn_id = 'turn_2'")
    store = opened(place)
    assert len(await store.turns(TurnFilter(), limit=9)) == 2
    await store.close()


async def test_tables_of_a_newer_release_are_refused(place: Place) -> None:
    await opened(place).check_version()
    await place.run(f"UPDATE {place.name}_meta SET value = 7 WHERE name = 'layout'")
    store = opened(place)
    wanted = rf"Tables '{place.name}' .* layout 7, this release knows 1: .*table_name"
    with pytest.raises(ConfigurationError, match=wanted) as refused:
        await store.check_version()
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigurationError):
        await store.turns(TurnFilter(), limit=1)


async def test_steps_run_once_and_in_order(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(place)
    await store.insert_turns([turn(1)])
    await store.close()
    done: list[int] = []

    def step(number: int) -> migrations.Step:
        async def run(connection: Any, tables: schema.Tables) -> None:
            done.append(number)
            await connection.exec_driver_sql(
                f"ALTER TABLE {tables.name} ADD COLUMN new{number} TEXT"
            )

        return run

    monkeypatch.setattr(schema, "VERSION", 3)
    monkeypatch.setattr(migrations, "STEPS", {1: step(1), 2: step(2)})
    await asyncio.gather(*(opened(place).check_version() for _ in range(3)))
    assert done == [1, 2]
    assert await place.run(f"SELECT new1, new2 FROM {place.name}") == [(None, None)]


async def test_a_store_works_in_one_loop_after_another(place: Place) -> None:
    store = opened(place)
    await store.insert_turns([turn(1)])

    async def elsewhere() -> list[int]:
        found = await numbers(store)
        await store.close()
        return found

    assert await asyncio.to_thread(lambda: asyncio.run(elsewhere())) == [1]
    assert await numbers(store) == [1]
    await store.close()


async def test_a_row_that_a_database_refuses_is_not_a_database_that_is_away(
    store: TranscriptStore,
) -> None:
    await store.insert_turns([turn(1)])
    with pytest.raises((DBAPIError, OverflowError)) as refused:
        await store.insert_turns([turn(2), turn(3, input_tokens=2**70)])
    assert not isinstance(refused.value, StoreAwayError)
    await store.insert_turns([turn(4)])
    assert await numbers(store) == [4, 1]


async def test_postgresql_that_dropped_its_idle_connections_is_asked_again(table: str) -> None:
    engine = "postgresql+asyncpg://root@127.0.0.1:5432/test?application_name=" + table
    store = TranscriptStore(
        lambda: create_async_engine(
            engine.split("?")[0],
            pool_pre_ping=True,
            connect_args={"server_settings": {"application_name": table}},
        ),
        table,
        sync_commits=False,
    )
    await store.insert_turns([turn(1)])
    ended = psql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{table}'"
    )
    assert ended.split() == ["t"]
    assert await numbers(store) == [1]
    async with store._database.reading() as connection:
        [limit] = (await connection.exec_driver_sql("SHOW statement_timeout")).one()
    assert limit == "30s"
    with pytest.raises(DBAPIError) as refused:
        await store.insert_turns([turn(2, question="NUL \x00")])
    assert not isinstance(refused.value, StoreAwayError)
    await store.close()


# aiosqlite's thread tells a loop that may be closed that a file could not be opened.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite:////proc/nowhere/turns.db",
        "postgresql+asyncpg://root@127.0.0.1:1/test",
        "postgresql+asyncpg://root@127.0.0.1:5432/no_such_database",
    ],
)
async def test_a_database_that_is_away_stops_no_start(url: str) -> None:
    store = TranscriptStore(lambda: create_async_engine(url), "turns", sync_commits=False)
    await store.check_version()
    with pytest.raises(StoreAwayError, match="does not answer"):
        await store.turns(TurnFilter(), limit=1)
    with pytest.raises(StoreAwayError):
        await store.insert_turns([turn(1)])


async def test_a_locked_or_full_sqlite_is_away_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_MS", 50)
    room = 0
    tune = database._tune_sqlite

    def tune_and_limit(engine: sa.Engine, sync_commits: bool) -> None:
        tune(engine, sync_commits)

        @sa.event.listens_for(engine, "connect")
        def _limit(connection: Any, _: object) -> None:
            if room:
                connection.cursor().execute(f"PRAGMA max_page_count={room}")

    monkeypatch.setattr(database, "_tune_sqlite", tune_and_limit)
    address = f"sqlite+aiosqlite:///{tmp_path}/turns.db"
    store = TranscriptStore(lambda: create_async_engine(address), "turns", sync_commits=False)
    await store.insert_turns([turn(1)])
    other = sqlite3.connect(tmp_path / "turns.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreAwayError):
        await store.insert_turns([turn(2)])
    assert await numbers(store) == [1]  # readers don't wait for a writer
    assert await store.tidy(within_s=0) is False
    other.execute("ROLLBACK")
    [(pages,)] = other.execute("PRAGMA page_count").fetchall()
    other.close()
    await store.close()

    room = pages + 2
    with pytest.raises(StoreAwayError):
        await store.insert_turns([turn(3, answer="x " * 50_000)])
    assert await numbers(store) == [1]
    await store.close()
    room = 0
    await store.insert_turns([turn(2), turn(3)])
    assert await numbers(store) == [3, 2, 1]
    await store.close()


async def test_a_question_that_takes_too_long_is_given_up(
    store: TranscriptStore, monkeypatch: pytest.MonkeyPatch, place: Place
) -> None:
    await store.check_version()
    monkeypatch.setattr(database, "ANSWER_WITHIN_S", 0.3)
    endless = (
        "SELECT pg_sleep(60)"
        if place.file is None
        else "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    )
    began = asyncio.get_running_loop().time()
    with pytest.raises(StoreAwayError):
        async with store._database.reading() as connection:
            await connection.exec_driver_sql(endless)
    assert asyncio.get_running_loop().time() - began < 3
    assert await numbers(store) == []
    if place.file is None:
        running = psql(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = '"
            + endless
            + "'"
        )
        assert running.strip() == "0"


def run_configuration(tmp_path: Path, **changes: Any) -> str:
    path = tmp_path / "run.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "providers": {
                    "transcripts": [
                        {
                            "provider_id": "lightspeed",
                            "provider_type": "inline::lightspeed-transcripts",
                            "config": {
                                "store": {"backend": "sql", "table_name": "turns"},
                                "reader_roles": "${env.SOME_READERS:=support}",
                            }
                            | changes,
                        }
                    ]
                },
                "storage": {
                    "backends": {
                        "sql": {
                            "type": "sql_sqlite",
                            "db_path": "${env.SOME_DIRECTORY}/new/turns.db",
                        }
                    }
                },
            }
        )
    )
    return str(path)


async def test_a_command_opens_what_the_server_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_DIRECTORY", str(tmp_path))
    async with opened_store(run_configuration(tmp_path)) as (settings, store):
        assert settings.reader_roles == ["support"]
        await store.insert_turns([turn(1)])
    async with opened_store(run_configuration(tmp_path)) as (_, store):
        assert await numbers(store) == [1]
    mode = stat.S_IMODE((tmp_path / "new" / "turns.db").stat().st_mode)
    assert mode == 0o600


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"store": {"backend": "none", "table_name": "t"}}, r"Backend 'none' .* \(sql\)"),
        ({"store": {"backend": "sql", "table_name": "a;b"}}, "Table name 'a;b'"),
        ({"durability": "maybe"}, "Setting 'durability' .* is wrong"),
    ],
)
async def test_a_command_says_what_is_wrong_with_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], wanted: str
) -> None:
    monkeypatch.setenv("SOME_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigurationError, match=wanted) as error:
        async with opened_store(run_configuration(tmp_path, **changes)):
            pass
    assert "\n" not in str(error.value)


async def test_a_configuration_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_DIRECTORY", raising=False)
    with pytest.raises(ConfigurationError, match="No run configuration 'nowhere'"):
        async with opened_store("nowhere"):
            pass


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ((), []),
        (("", "?! \n"), []),
        (("Run manage.py_migrate", "RUN it"), ["run", "manage", "py", "migrate", "it"]),
        (("Größe STRASSE straße 42",), ["grösse", "strasse", "42"]),
        (("日本語 \U0001f600 x\x00y",), ["日本語", "x", "y"]),
        (("a" * 1000,), ["a" * LONGEST]),
    ],
)
def test_words(texts: tuple[str, ...], words: list[str]) -> None:
    assert words_of(*texts) == words


def test_of_very_many_words_the_first_are_kept() -> None:
    words = words_of(" ".join(f"word{number}" for number in range(200_000)))
    assert words[:2] == ["word0", "word1"]
    assert MOST_BYTES - 20 < sum(map(len, words)) <= MOST_BYTES


async def test_a_turn_of_very_many_words_is_stored(store: TranscriptStore) -> None:
    many: Callable[[str], str] = lambda letter: " ".join(f"{letter}{n}" for n in range(100_000))  # noqa: E731
    await store.insert_turns([turn(1, question=many("ü"), answer=many("y") + " \U0001f600" * 9)])
    assert await numbers(store, text="ü77") == [1]
    await store.remove(["turn_1"], audit=None)
    assert await numbers(store, text="ü77") == []
