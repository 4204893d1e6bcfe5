"""Feedback by the contract: who may say what about which answer, and what it adds up to."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from databases import postgres, table
from transcript_server import (
    ABOUT,
    ADMIN,
    ALICE,
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
    served,
    token_service,
    turn,
    turn_id,
)

from lightspeed_providers.transcripts.feedback import following_id, was_sent_twice
from lightspeed_providers.transcripts.feedback_summary import summary_of
from lightspeed_providers.transcripts.models import Category, Feedback, Sentiments
from lightspeed_providers.transcripts.rows import FeedbackCount

__all__ = ["postgres", "serve", "serve_each", "table", "token_service"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with two turns, for tables of requests that change nothing for each other."""
    with served(tmp_path_factory.mktemp("shared")) as server:
        server.record(turn(1, turn_id=turn_id(1)))
        server.record(turn(2, user_id="somebody", conversation_id="conv_" + "c" * 48))
        yield server


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (ABOUT | {"sentiment": 1}, 200),
        (ABOUT | {"sentiment": -1, "user_feedback": "x" * 4096}, 200),
        (ABOUT | {"user_feedback": "bad\x00 \x07"}, 200),
        (ABOUT | {"categories": ["incorrect", "unsafe", "incorrect"]}, 200),
        (ABOUT | {"sentiment": 1, "conversation_id": "a" * 48}, 200),
        (ABOUT | {"sentiment": 1, "turn_id": turn_id(1)}, 200),
        (ABOUT, 422),
        (ABOUT | {"user_feedback": ""}, 422),
        (ABOUT | {"categories": []}, 422),
        (ABOUT | {"sentiment": 0}, 422),
        (ABOUT | {"sentiment": "good"}, 422),
        (ABOUT | {"user_feedback": "x" * 4097}, 422),
        (ABOUT | {"categories": ["boring"]}, 422),
        (ABOUT | {"sentiment": 1, "stars": 5}, 422),
        (ABOUT | {"sentiment": 1, "llm_response": "x" * 10_000_000}, 422),
        ({"conversation_id": CONVERSATION, "sentiment": 1}, 422),
        ([], 422),
        (ABOUT | {"sentiment": 1, "conversation_id": "conv_unknown"}, 404),
        (ABOUT | {"sentiment": 1, "turn_id": "turn_unknown"}, 404),
        (ABOUT | {"sentiment": 1, "conversation_id": "c" * 48}, 403),
    ],
)
def test_feedback_rules(shared: Server, body: object, status: int) -> None:
    answer = shared.client.post("/v1/feedback", json=body)
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json()["response"] == "feedback received"
    else:
        assert 0 < len(answer.json()["error"]["message"]) < 500


@pytest.mark.parametrize("path", ["/v1/feedback", f"/v1alpha/transcripts/{turn_id(1)}/feedback"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"null", 422),
        (b'{"sentiment":NaN}', 422),
        (b'{"sentiment":1,"x\\ud800":1}', 422),
        (b"\xff\xfe", 422),
        (b'{"user_feedback":"half \\ud800"}', 422),
        (b"[" * 100_000, 400),
        (b'{"sentiment":1' + b" " * 10_000_000, 422),
        (b'{"sentiment":' + b"9" * 5000 + b"}", 400),
    ],
    ids=["empty", "half", "null", "nan", "key", "bytes", "character", "deep", "long", "number"],
)
def test_broken_bodies_are_answered(shared: Server, path: str, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    answer = shared.client.post(path, content=body, headers=headers)
    assert answer.status_code == status
    message = answer.json()["error"]["message"]
    assert 0 < len(message) < 500
    assert "\n" not in message


def test_odd_characters_are_kept_as_they_are(shared: Server) -> None:
    path = f"/v1alpha/transcripts/{turn_id(1)}/feedback"
    answer = shared.client.post(
        path,
        content=b'{"user_feedback":"NUL \\u0000, bell \\u0007, =1+1, \\u202e"}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200
    said = [each["user_feedback"] for each in shared.client.get(path).json()["data"]]
    assert "NUL , bell \x07, =1+1, \u202e" in said


def test_feedback_on_a_turn_carries_its_texts(serve: Serve) -> None:
    with serve() as server:
        server.record(turn(1, turn_id=turn_id(1)))
        path = f"/v1alpha/transcripts/{turn_id(1)}/feedback"
        first = server.client.post(path, json={"sentiment": -1, "categories": ["other", "other"]})
        server.client.post("/v1/feedback", json=ABOUT | {"sentiment": 1, "turn_id": turn_id(1)})
        server.client.post("/v1/feedback", json=ABOUT | {"sentiment": 1})
        empty = server.client.post(path, json={})
        listed = server.client.get(path).json()["data"]

    assert empty.status_code == 422
    assert [each["user_question"] for each in listed] == ["Question 1?", "Q?"]
    assert listed[0]["feedback_id"] == first.json()["feedback_id"]
    assert listed[0]["llm_response"] == "Answer 1."
    assert listed[0]["categories"] == ["other"]
    assert listed[0]["conversation_id"] == CONVERSATION


def test_feedback_can_be_switched_off(serve: Serve) -> None:
    with serve(feedback_enabled=False) as server:
        server.record(turn(1, turn_id=turn_id(1)))
        client = server.client
        status = client.get("/v1/feedback/status").json()
        assert status == {"functionality": "feedback", "status": {"enabled": False}}
        for path, body in [
            ("/v1/feedback", ABOUT | {"sentiment": 1}),
            ("/v1/feedback", {"sentiment": "wrong"}),  # disabled comes before what is wrong
            (f"/v1alpha/transcripts/{turn_id(1)}/feedback", {"sentiment": 1}),
            (f"/v1alpha/transcripts/{turn_id(1)}/feedback", {}),
        ]:
            answer = client.post(path, json=body)
            assert answer.status_code == 403
            assert "disabled" in answer.json()["error"]["message"]

        changed = client.put("/v1/feedback/status", json={"status": True}).json()["status"]
        assert (changed["previous_status"], changed["updated_status"]) == (False, True)
        assert client.post("/v1/feedback", json=ABOUT | {"sentiment": 1}).status_code == 200
        for wrong in ({"status": "perhaps"}, {"status": 1}, {}, {"status": False, "x": 1}):
            assert client.put("/v1/feedback/status", json=wrong).status_code == 422


def test_only_administrators_switch_feedback(serve: Serve, token_service: dict[str, Any]) -> None:
    with serve(auth=token_service, **ROLES) as server:
        for headers, status in ((ALICE, 403), (READER, 403), (ADMIN, 200)):
            answer = server.client.put(
                "/v1/feedback/status", json={"status": False}, headers=headers
            )
            assert answer.status_code == status
        status = server.client.get("/v1/feedback/status", headers=ALICE).json()
        assert status["status"]["enabled"] is False


def test_feedback_that_is_sent_twice_is_stored_once(serve_each: Serve) -> None:
    with serve_each() as server:
        server.record(turn(1, turn_id=turn_id(1)))
        client = server.client

        def give(**said: Any) -> str:
            answer = client.post("/v1/feedback", json=ABOUT | said)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["feedback_id"])

        first = give(sentiment=1)
        assert give(sentiment=1) == first
        of_turn = give(sentiment=1, turn_id=turn_id(1))
        assert of_turn != first
        changed = give(sentiment=-1)
        again = give(sentiment=1)  # a changed mind is no repetition
        assert len({first, of_turn, changed, again}) == 4
        with ThreadPoolExecutor(8) as pool:
            at_once = set(pool.map(lambda _: give(user_feedback="At once."), range(8)))
        assert len(at_once) == 1
        listed = [each["feedback_id"] for each in client.get("/v1alpha/feedback").json()["data"]]
        assert listed == [*at_once, again, changed, of_turn, first]

        path = f"/v1alpha/feedback/{again}"
        assert client.delete(path).json() == {"object": "removed", "turns": 0, "feedback": 1}
        assert client.delete(path).status_code == 404
        assert give(user_feedback="At once.") == at_once.pop()
        said_anew = give(sentiment=1)
        assert said_anew not in (first, again)
        listed = [each["feedback_id"] for each in client.get("/v1alpha/feedback").json()["data"]]
        assert listed[0] == said_anew


def test_removed_feedback_can_be_given_again(serve_each: Serve) -> None:
    with serve_each() as server:
        server.record(turn(1, turn_id=turn_id(1)))
        path = f"/v1alpha/transcripts/{turn_id(1)}/feedback"
        for _ in range(3):
            given = server.client.post(path, json={"sentiment": 1}).json()["feedback_id"]
            listed = server.client.get(path).json()["data"]
            assert [each["feedback_id"] for each in listed] == [given]
            assert server.questions(has_feedback=True) == ["Question 1?"]
            assert server.client.delete(f"/v1alpha/feedback/{given}").status_code == 200
            assert server.questions(has_feedback=True) == []


def test_feedback_is_listed_and_counted(serve_each: Serve) -> None:
    with serve_each() as server:
        server.record(
            turn(1, turn_id=turn_id(1)),
            turn(2, turn_id=turn_id(2), profile="pumps", prompt_version="abcdefabcdef"),
            turn(3, turn_id=turn_id(3), conversation_id=OTHER_CONVERSATION),
        )
        for number, opinion in [
            (1, {"sentiment": 1}),
            (2, {"sentiment": -1, "categories": ["incorrect", "unsafe"]}),
            (2, {"sentiment": -1, "categories": ["incorrect"], "user_feedback": "Wrong."}),
            (3, {"user_feedback": "Hm."}),
        ]:
            path = f"/v1alpha/transcripts/{turn_id(number)}/feedback"
            assert server.client.post(path, json=opinion).status_code == 200

        def listed(**params: Any) -> list[tuple[str, str]]:
            answer = server.client.get("/v1alpha/feedback", params=params)
            assert answer.status_code == 200, answer.text
            return [(each["profile"], each["user_question"]) for each in answer.json()["data"]]

        first, third = ("demo", "Question 1?"), ("demo", "Question 3?")
        second = ("pumps", "Question 2?")
        today = datetime.now(UTC)
        for params, expected in [
            ({}, [third, second, second, first]),
            ({"turn_id": turn_id(2)}, [second, second]),
            ({"conversation_id": "b" * 48}, [third]),
            ({"profile": "demo"}, [third, first]),
            ({"prompt_version": "abcdefabcdef"}, [second, second]),
            ({"sentiment": 1}, [first]),
            ({"sentiment": -1}, [second, second]),
            ({"category": "unsafe"}, [second]),
            ({"since": (today - timedelta(hours=1)).isoformat()}, [third, second, second, first]),
            ({"until": (today - timedelta(hours=1)).isoformat()}, []),
            ({"profile": "x' OR '1'='1"}, []),
        ]:
            assert listed(**params) == expected, params

        seen: list[tuple[str, str]] = []
        params: dict[str, Any] = {"limit": 3}
        while params:
            page = server.client.get("/v1alpha/feedback", params=params).json()
            seen += [(each["profile"], each["user_question"]) for each in page["data"]]
            params = {"limit": 3, "after": page["next"]} if page["has_more"] else {}
        assert seen == [third, second, second, first]

        summary = server.client.get("/v1alpha/feedback/summary").json()
        of_unsafe = server.client.get(
            "/v1alpha/feedback/summary", params={"category": "unsafe"}
        ).json()

    assert summary["total"] == 4
    assert summary["sentiments"] == {"good": 1, "bad": 2, "unsaid": 1}
    named = {name: count for name, count in summary["categories"].items() if count}
    assert named == {"incorrect": 2, "unsafe": 1}
    assert sum(each["good"] + each["bad"] + each["unsaid"] for each in summary["by_day"]) == 4
    assert summary["by_prompt"] == [
        {"profile": "demo", "prompt_version": "0123456789ab", "good": 1, "bad": 0, "unsaid": 1},
        {"profile": "pumps", "prompt_version": "abcdefabcdef", "good": 0, "bad": 2, "unsaid": 0},
    ]
    assert of_unsafe["total"] == 1


def test_readers_see_and_count_everybodys_feedback(
    serve: Serve, token_service: dict[str, Any]
) -> None:
    with serve(auth=token_service, **ROLES) as server:
        server.record(
            turn(1, user_id="alice", turn_id=turn_id(1)), turn(2, user_id="bob", turn_id=turn_id(2))
        )
        for number, headers in ((1, ALICE), (2, BOB)):
            path = f"/v1alpha/transcripts/{turn_id(number)}/feedback"
            body = {"sentiment": 1}
            assert server.client.post(path, json=body, headers=headers).status_code == 200
        # A reader sees feedback on another's turn, and gives none.
        path = f"/v1alpha/transcripts/{turn_id(1)}/feedback"
        assert len(server.client.get(path, headers=READER).json()["data"]) == 1
        assert server.client.post(path, json={"sentiment": 1}, headers=READER).status_code == 404

        def total(headers: dict[str, str], **params: Any) -> tuple[int, int]:
            paths = ("/v1alpha/feedback", "/v1alpha/feedback/summary")
            page, summary = (
                server.client.get(path, params=params, headers=headers).json() for path in paths
            )
            return len(page["data"]), summary["total"]

        assert total(ALICE) == (1, 1)
        assert total(READER) == (0, 0)
        assert total(READER, everyone=True) == (2, 2)
        assert total(ADMIN, everyone=True, sentiment=1) == (2, 2)


class Conversations:
    """Keeps one conversation of the caller's."""

    async def may_use_conversation(self, conversation_id: str) -> bool:
        return conversation_id == CONVERSATION


def test_without_transcripts_feedback_goes_by_the_conversations_themselves(serve: Serve) -> None:
    with serve(transcripts_enabled=False) as server:
        body = ABOUT | {"sentiment": 1}
        assert server.client.post("/v1/feedback", json=body).status_code == 404
        server.impl.copies_are_kept_by(Conversations())
        assert server.client.post("/v1/feedback", json=body).status_code == 200
        another = body | {"conversation_id": OTHER_CONVERSATION}
        assert server.client.post("/v1/feedback", json=another).status_code == 404
        [listed] = server.client.get("/v1alpha/feedback").json()["data"]
    assert (listed["conversation_id"], listed["profile"]) == (CONVERSATION, None)


COUNTS = [
    FeedbackCount("2026-01-02", "demo", "v1", 1, 3),
    FeedbackCount("2026-01-02", "demo", "v1", None, 1),
    FeedbackCount("2026-01-01", None, None, -1, 2),
]


def test_counts_add_up() -> None:
    summary = summary_of(COUNTS, {"other": 5})
    assert summary.total == 6
    assert summary.sentiments == Sentiments(good=3, bad=2, unsaid=1)
    assert summary.categories[Category.OTHER] == 5
    assert [
        (each.day.isoformat(), each.good, each.bad, each.unsaid) for each in summary.by_day
    ] == [
        ("2026-01-01", 0, 2, 0),
        ("2026-01-02", 3, 0, 1),
    ]
    assert [(each.profile, each.prompt_version) for each in summary.by_prompt] == [
        (None, None),
        ("demo", "v1"),
    ]
    assert summary_of([], {}).total == 0


def feedback(**fields: Any) -> Feedback:
    values: dict[str, Any] = {
        "feedback_id": "fb_1",
        "created_at": START,
        "user_id": "u",
        "turn_id": "turn_1",
        "user_question": "Q?",
        "llm_response": "A.",
        "sentiment": 1,
    }
    return Feedback.model_validate(values | fields)


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({}, True),
        ({"feedback_id": "fb_2"}, True),
        ({"created_at": START + timedelta(minutes=10)}, True),
        ({"created_at": START - timedelta(seconds=5)}, True),  # a clock that went back
        ({"created_at": START + timedelta(minutes=11)}, False),
        ({"sentiment": -1}, False),
        ({"turn_id": "turn_2"}, False),
        ({"turn_id": None}, False),
        ({"categories": ["other"]}, False),
        ({"llm_response": "B."}, False),
    ],
)
def test_what_is_sent_twice(fields: dict[str, Any], same: bool) -> None:
    assert was_sent_twice(feedback(), feedback(**fields)) is same


def test_what_arrives_together_has_one_id() -> None:
    before, given = feedback(), feedback(sentiment=-1)
    later = given.model_copy(update={"created_at": START + timedelta(seconds=2)})
    assert following_id(before, given) == following_id(before, later)
    assert following_id(before, given) != following_id(None, given)
    assert following_id(before, given) != following_id(before, given, 1)
    assert following_id(before, given) != following_id(before, feedback(turn_id="turn_2"))
