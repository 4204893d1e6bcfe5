"""What is kept too long or too much is removed with every copy, and a line says so."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from databases import postgres, table
from transcript_copies import audit, chain, keep_copies
from transcript_server import (
    BOB,
    CONVERSATION,
    OTHER_CONVERSATION,
    READER,
    ROLES,
    START,
    Serve,
    Server,
    serve,
    serve_each,
    token_service,
    turn,
    turn_id,
)

from lightspeed_providers.core.turns import Turn
from lightspeed_providers.transcripts.config import KeepConfig
from lightspeed_providers.transcripts.retention import Bound, bound_of, said
from lightspeed_providers.transcripts.rows import microseconds

__all__ = ["postgres", "serve", "serve_each", "table", "token_service"]


def ages(*days: float) -> list[datetime]:
    return [datetime.now(UTC) - timedelta(days=each) for each in days]


def aged(number: int, received_at: datetime, **fields: Any) -> Turn:
    return turn(number, received_at=received_at, finished_at=received_at, **fields)


@pytest.fixture
def quick_retention(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("lightspeed_providers.transcripts.retention.PIECE", 3)
    return


@pytest.mark.usefixtures("quick_retention")
def test_what_is_too_old_expires_by_itself(
    serve: Serve, token_service: dict[str, Any], tmp_path: Path
) -> None:
    settings = {"retention": {"turns": {"max_age_days": 30}, "interval_s": 1}}
    with serve(
        auth=token_service, **ROLES, **settings, transcripts_storage=str(tmp_path / "export")
    ) as server:
        copies = keep_copies(server)
        old = ages(*range(40, 31, -1))
        server.record(*(aged(number, at, user_id="bob") for number, at in enumerate(old)))
        server.record(aged(90, ages(29)[0], user_id="bob", conversation_id=OTHER_CONVERSATION))
        wait_until(lambda: server.questions(BOB) == ["Question 90?"])
        assert [conversation for conversation, _ in copies.conversations] == [CONVERSATION]
        forgotten = [response for response, _, _ in copies.turns]
        forgotten += [each for _, responses in copies.conversations for each in responses]
        assert sorted(forgotten) == [f"resp_{number}" for number in range(9)]
        lines = audit(server, READER)
        assert {line[:2] for line in lines} == {("expire_turns", "max_age_days=30")}
        assert sum(line[2] for line in lines) == 9
        server.run(server.impl._export.finish)
        assert len(list((tmp_path / "export").rglob("[!.]*.json"))) == 1


@pytest.mark.usefixtures("quick_retention")
def test_what_is_too_much_expires_by_kind(serve_each: Serve) -> None:
    keep = {"turns": {"max_count": 5}, "feedback": {"max_count": 2}, "interval_s": 3600}
    with serve_each(retention=keep, admin_roles=["x"]) as server:
        server.record(*(turn(number, turn_id=turn_id(number)) for number in range(12)))
        for number in (8, 9, 10, 11):
            path = f"/v1alpha/transcripts/{turn_id(number)}/feedback"
            assert server.client.post(path, json={"sentiment": 1}).status_code == 200
        server.run(retention(server).look)
        assert server.questions() == [f"Question {number}?" for number in (11, 10, 9, 8, 7)]
        listed = server.client.get("/v1alpha/feedback").json()["data"]
        assert [each["turn_id"] for each in listed] == [turn_id(11), turn_id(10)]
        before = server.run(newest_change(server))
        server.run(retention(server).look)  # nothing is left to do
        assert server.run(newest_change(server)) == before


def test_two_processes_that_look_at_once_count_each_turn_once(serve_each: Serve) -> None:
    keep = {"turns": {"max_count": 1}, "interval_s": 3600}
    with serve_each(retention=keep) as server:
        server.record(*(turn(number) for number in range(30)))

        async def look_at_once() -> list[tuple[str, int]]:
            look = retention(server).look
            await asyncio.gather(*(look() for _ in range(4)))
            return [(row.action, row.turns) for _, row in await server.impl._store.audit(limit=99)]

        lines = server.run(look_at_once)
        assert sum(count for _, count in lines) == 29
        assert server.questions() == ["Question 29?"]


def test_an_expired_turn_whose_copies_stay_is_kept_until_they_are_gone(serve: Serve) -> None:
    keep = {"turns": {"max_count": 2}, "interval_s": 3600}
    with serve(retention=keep) as server:
        copies = keep_copies(server)
        server.record(*chain(range(6)))
        copies.stuck = {"resp_1"}
        server.run(retention(server).look)
        assert "Question 1?" in server.questions()
        assert "Question 0?" not in server.questions()
        copies.stuck = set()
        server.run(retention(server).look)
        assert server.questions() == ["Question 5?", "Question 4?"]


def retention(server: Server) -> Any:
    return server.impl._retention


def newest_change(server: Server) -> Any:
    return server.impl._store.newest_seq


def wait_until(is_so: Any) -> None:
    deadline = time.monotonic() + 15
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("keep", "older_than", "count", "words"),
    [
        ({}, None, None, ""),
        ({"max_count": 7}, None, 7, "max_count=7"),
        ({"max_age_days": 2}, START - timedelta(days=2), None, "max_age_days=2"),
        (
            {"max_age_days": 1, "max_count": 3},
            START - timedelta(days=1),
            3,
            "max_age_days=1 max_count=3",
        ),
        ({"max_age_days": 36_500}, START - timedelta(days=36_500), None, "max_age_days=36500"),
    ],
)
def test_limits(
    keep: dict[str, int], older_than: datetime | None, count: int | None, words: str
) -> None:
    config = KeepConfig(**keep)
    expected = Bound(None if older_than is None else microseconds(older_than), count)
    assert bound_of(config, START) == expected
    assert expected.holds_all is not bool(keep)
    assert said(config) == words
