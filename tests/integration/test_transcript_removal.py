"""What is deleted, or has expired, is gone with every copy, and a line says so."""

import json
import sqlite3
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from databases import postgres, table
from transcript_copies import audit, chain, delete, keep_copies
from transcript_server import (
    ABOUT,
    ADMIN,
    ALICE,
    BOB,
    CONVERSATION,
    OTHER_CONVERSATION,
    READER,
    ROLES,
    Serve,
    locked,
    serve,
    serve_each,
    token_service,
    turn,
    turn_id,
)

__all__ = ["postgres", "serve", "serve_each", "table", "token_service"]


def everything_in(directory: Path) -> bytes:
    """All bytes of the database and of the exported files, with their names."""
    paths = [
        *directory.glob("turns.db*"),
        *directory.glob("export/**/*"),
        *directory.glob("said/**/*"),
    ]
    return b"".join(
        str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in paths
    )


def checkpoint(database: Path) -> None:
    """Have what is committed in the database's file itself."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def test_a_deleted_turn_leaves_nothing_but_an_audit_line(
    serve: Serve, token_service: dict[str, Any], tmp_path: Path
) -> None:
    places = {
        "transcripts_storage": str(tmp_path / "export"),
        "feedback_storage": str(tmp_path / "said"),
        "export_interval_s": 0.1,
    }
    with serve(auth=token_service, **ROLES, **places) as server:
        copies = keep_copies(server)
        server.record(
            turn(1, turn_id=turn_id(1), user_id="alice"),
            turn(2, turn_id=turn_id(2), user_id="alice", question="What was zebra47?"),
            turn(3, turn_id=turn_id(3), user_id="alice"),
        )
        path = f"/v1alpha/transcripts/{turn_id(2)}"
        opinion = {"user_feedback": "No giraffe53 here.", "sentiment": -1}
        server.client.post(f"{path}/feedback", json=opinion, headers=ALICE)
        server.run(server.impl._export.finish)
        name = f"{UUID(turn_id(2).removeprefix('turn_'))}.json"
        assert len(list((tmp_path / "export").rglob(name))) == 1
        assert b"zebra47" in everything_in(tmp_path)

        assert delete(server, path, ALICE) == (200, (1, 1))
        assert copies.turns == [("resp_2", CONVERSATION, ["resp_3"])]
        assert copies.conversations == []
        assert not list((tmp_path / "export").rglob(name))
        assert not list((tmp_path / "said").rglob("[!.]*.json"))
        assert delete(server, path, ALICE)[0] == 404
        assert server.client.get(path, headers=ALICE).status_code == 404
        assert server.questions(ALICE, text="zebra47") == []
        assert server.questions(ALICE) == ["Question 3?", "Question 1?"]
        assert audit(server, READER) == [("delete_turn", turn_id(2), 1, 1)]
        checkpoint(tmp_path / "turns.db")
        left = everything_in(tmp_path)
        assert b"zebra47" not in left
        assert b"giraffe53" not in left
        assert len(list((tmp_path / "export").rglob("[!.]*.json"))) == 2

        # A late second copy of the turn does not bring it back.
        server.record(turn(2, turn_id=turn_id(2), user_id="alice"))
        assert server.questions(ALICE) == ["Question 3?", "Question 1?"]


def test_a_turn_that_others_follow_is_forgotten_in_all_of_them(serve_each: Serve) -> None:
    with serve_each() as server:
        copies = keep_copies(server)
        server.record(*chain(range(1, 6)), turn(9))
        assert delete(server, f"/v1alpha/transcripts/{turn_id(2)}") == (200, (1, 0))
        [(response_id, conversation_id, later)] = copies.turns
        assert (response_id, conversation_id) == ("resp_2", None)
        assert sorted(later) == ["resp_3", "resp_4", "resp_5"]


def test_a_conversation_goes_whole(serve_each: Serve) -> None:
    with serve_each() as server:
        copies = keep_copies(server)
        server.record(*(turn(number) for number in range(1, 8)))
        server.record(turn(8, conversation_id=OTHER_CONVERSATION))
        server.client.post("/v1/feedback", json=ABOUT | {"sentiment": 1})
        path = f"/v1alpha/conversations/{'a' * 48}/transcripts"
        assert delete(server, path) == (200, (7, 1))
        [(conversation_id, responses)] = copies.conversations
        assert conversation_id == CONVERSATION
        assert sorted(responses) == [f"resp_{number}" for number in range(1, 8)]
        assert copies.turns == []
        assert server.questions() == ["Question 8?"]
        assert delete(server, path)[0] == 404
        assert server.client.get("/v1alpha/feedback").json()["data"] == []


def test_all_of_a_user_goes_in_pieces_and_nobody_elses(
    serve_each: Serve, token_service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightspeed_providers.transcripts.forgetting.PIECE", 2)
    monkeypatch.setattr("lightspeed_providers.transcripts.forgetting.KEYS_AT_ONCE", 5)
    with serve_each(auth=token_service, **ROLES) as server:
        copies = keep_copies(server)
        server.record(*(turn(number, user_id="alice") for number in range(1, 12)))
        server.record(*chain(range(20, 23), user_id="alice"))
        server.record(turn(30, user_id="bob"))  # in the same conversation
        server.record(turn(31, user_id="bob", conversation_id=OTHER_CONVERSATION))
        for headers in (ALICE, BOB):
            answer = server.client.post(
                "/v1/feedback", json=ABOUT | {"sentiment": 1}, headers=headers
            )
            assert answer.status_code == 200

        assert delete(server, "/v1alpha/users/me/transcripts", ALICE) == (200, (14, 1))
        # Bob's turn is in that conversation too: it stays, and Alice's go one by one.
        assert copies.conversations == []
        assert len({response for response, _, _ in copies.turns}) == 14
        assert all("resp_30" in later for _, named, later in copies.turns if named == CONVERSATION)
        assert server.questions(ALICE) == []
        assert server.questions(BOB) == ["Question 31?", "Question 30?"]
        assert len(server.client.get("/v1alpha/feedback", headers=BOB).json()["data"]) == 1
        assert sum(line[2] for line in audit(server, READER)) == 14
        assert sum(line[3] for line in audit(server, READER)) == 1
        assert delete(server, "/v1alpha/users/me/transcripts", ALICE) == (200, (0, 0))


def test_an_owner_removes_only_their_part_of_a_shared_conversation(
    serve: Serve, token_service: dict[str, Any]
) -> None:
    with serve(auth=token_service, **ROLES) as server:
        copies = keep_copies(server)
        server.record(turn(1, user_id="alice"), turn(2, user_id="bob"))
        for headers in (ALICE, BOB):
            server.client.post("/v1/feedback", json=ABOUT | {"sentiment": 1}, headers=headers)
        path = f"/v1alpha/conversations/{CONVERSATION}/transcripts"
        assert delete(server, path, ALICE) == (200, (1, 1))
        assert (copies.turns, copies.conversations) == ([("resp_1", CONVERSATION, ["resp_2"])], [])
        assert server.questions(BOB) == ["Question 2?"]
        assert len(server.client.get("/v1alpha/feedback", headers=BOB).json()["data"]) == 1


def test_administrators_remove_what_is_anybodys(
    serve: Serve, token_service: dict[str, Any]
) -> None:
    with serve(auth=token_service, **ROLES) as server:
        server.record(turn(1, turn_id=turn_id(1), user_id="alice"), turn(2, user_id="alice"))
        server.record(turn(3, user_id="bob", conversation_id=OTHER_CONVERSATION))
        bob = server.client.get("/v1alpha/transcripts", headers=BOB).json()["data"][0]["user_id"]
        alone = f"/v1alpha/transcripts/{turn_id(1)}"
        whole = f"/v1alpha/conversations/{CONVERSATION}/transcripts"
        user = f"/v1alpha/users/{bob}/transcripts"
        for path in (alone, whole, user):
            assert delete(server, path, READER)[0] == 404
        assert delete(server, alone, ADMIN) == (200, (1, 0))
        assert delete(server, whole, ADMIN) == (200, (1, 0))
        assert delete(server, user, ADMIN) == (200, (1, 0))
        assert delete(server, user, ADMIN) == (200, (0, 0))
        assert server.questions(ADMIN, everyone=True) == []
        removed = [line for line in audit(server, ADMIN) if line[2]]
        assert removed == [
            ("delete_user", bob, 1, 0),
            ("delete_conversation", CONVERSATION, 1, 0),
            ("delete_turn", turn_id(1), 1, 0),
        ]


@pytest.mark.parametrize(
    "path",
    [
        f"/v1alpha/transcripts/{turn_id(1)}",
        f"/v1alpha/conversations/{CONVERSATION}/transcripts",
        "/v1alpha/users/me/transcripts",
    ],
)
def test_where_copies_cannot_be_removed_the_record_stays_for_another_try(
    serve: Serve, path: str
) -> None:
    with serve() as server:
        copies = keep_copies(server)
        server.record(turn(1, turn_id=turn_id(1)), turn(2))
        copies.away = True
        status, message = delete(server, path)
        assert status == 503
        assert "the record is kept" in message
        assert "secret words" not in message
        assert server.questions() == ["Question 2?", "Question 1?"]
        copies.away = False
        assert delete(server, path)[0] == 200
        assert "Question 1?" not in server.questions()


def test_a_database_that_is_away_is_a_503_that_can_be_repeated(
    serve: Serve, tmp_path: Path
) -> None:
    with serve() as server:
        server.record(turn(1, turn_id=turn_id(1)))
        path = f"/v1alpha/transcripts/{turn_id(1)}"
        with locked(tmp_path / "turns.db"):
            assert delete(server, path)[0] == 503
        assert delete(server, path) == (200, (1, 0))


def test_files_that_cannot_be_removed_are_said_and_removed_later(
    serve: Serve, tmp_path: Path
) -> None:
    storage = tmp_path / "export"
    with serve(transcripts_storage=str(storage), export_interval_s=3600) as server:
        server.record(turn(1, turn_id=turn_id(1)), turn(2, turn_id=turn_id(2)))
        server.run(server.impl._export.finish)
        aside = tmp_path / "aside"
        storage.rename(aside)
        storage.write_text("a file where the directory should be")
        first, second = (f"/v1alpha/transcripts/{turn_id(number)}" for number in (1, 2))
        status, message = delete(server, first)
        assert status == 503
        assert "exported files" in message
        assert delete(server, second)[0] == 503  # nothing more before that is mended
        assert server.questions() == ["Question 2?"]
        storage.unlink()
        aside.rename(storage)
        assert delete(server, second) == (200, (1, 0))
        assert not list(storage.rglob("[!.]*.json"))


def test_a_turn_that_is_still_queued_can_be_deleted(serve: Serve) -> None:
    with serve(durability="queued") as server:
        server.record(turn(1, turn_id=turn_id(1)))
        assert delete(server, f"/v1alpha/transcripts/{turn_id(1)}") == (200, (1, 0))
        assert server.questions() == []


def test_removed_turns_are_exported_no_more_after_a_restart(serve: Serve, tmp_path: Path) -> None:
    storage = {"transcripts_storage": str(tmp_path / "export")}
    with serve(**storage) as server:
        server.record(turn(1, turn_id=turn_id(1)), turn(2))
    assert len(list((tmp_path / "export").rglob("[!.]*.json"))) == 2  # shutdown exports
    with serve() as server:  # without the directory for a while
        assert delete(server, f"/v1alpha/transcripts/{turn_id(1)}")[0] == 200
    with serve(**storage) as server:
        server.run(server.impl._export.keep_up)
        [left] = (tmp_path / "export").rglob("[!.]*.json")
        assert json.loads(left.read_text())["redacted_query"] == "Question 2?"
