"""Every turn is kept, found again, and shown to nobody else."""

import json
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from databases import postgres, table
from fastapi.routing import APIRoute
from llama_stack.core.datatypes import User
from llama_stack.core.library_client import LlamaStackAsLibraryClient
from llama_stack_api import Api
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
    Server,
    as_user,
    locked,
    serve,
    serve_each,
    served,
    stored_questions,
    token_service,
    turn,
    turn_id,
    write_config,
)

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.turns import Outcome, Passage, Turn
from lightspeed_providers.core.verdicts import Action, Direction, Verdict
from lightspeed_providers.transcripts.api import Transcripts
from lightspeed_providers.transcripts.config import LightspeedTranscriptsConfig
from lightspeed_providers.transcripts.fastapi_routes import create_router
from lightspeed_providers.transcripts.registration import available_providers
from lightspeed_providers.transcripts.roles import Roles
from lightspeed_providers.transcripts.rows import FeedbackFilter, TurnFilter
from lightspeed_providers.transcripts.storable import storable_json
from lightspeed_providers.transcripts.user_ids import UserIds, load_or_create_key

__all__ = ["postgres", "serve", "serve_each", "table", "token_service"]


def test_a_turn_is_listed_with_all_that_was_recorded(serve_each: Serve, tmp_path: Path) -> None:
    passage = Passage(
        passage_id="p1", document_id="d1", title="T", doc_url="https://example.org/#a", content="c"
    )
    verdict = Verdict(
        shield="input_topic", kind="patterns", direction=Direction.INPUT, action=Action.ALLOW
    )
    recorded = turn(
        1, passages=[passage], verdicts=[verdict], input_tokens=7, output_tokens=9, streamed=True
    )
    with serve_each() as server:
        server.record(recorded)
        [listed] = server.client.get("/v1alpha/transcripts").json()["data"]
        got = server.client.get(f"/v1alpha/transcripts/{recorded.turn_id}").json()

    assert listed == got
    key = bytes.fromhex((tmp_path / "state/user_id.key").read_text())
    assert listed.pop("user_id") == UserIds(key).hash("anonymous")
    assert listed == recorded.model_dump(mode="json", exclude={"user_id"})


def test_pages_neither_skip_nor_repeat_while_turns_arrive(serve_each: Serve) -> None:
    same_moment = [turn(5, question=f"Same {n}?") for n in range(5)]
    before = [turn(n) for n in (1, 2, 3)] + same_moment + [turn(9)]
    with serve_each() as server:
        server.record(*before)
        seen: list[str] = []
        cursor, has_more = None, True
        while has_more:
            params = {"limit": 2} | ({"after": cursor} if cursor else {})
            page = server.client.get("/v1alpha/transcripts", params=params).json()
            seen += [each["turn_id"] for each in page["data"]]
            cursor, has_more = page["next"], page["has_more"]
            server.record(turn(100 + len(seen)))  # newer than everything that was there

    # Turns of the same moment stand in the order in which they came.
    assert seen == [each.turn_id for each in reversed(before)]
    assert cursor is None


def test_filters(serve_each: Serve) -> None:
    blocked = {"shield": "input_topic", "kind": "patterns", "direction": "input"}
    rewrote = {"shield": "inout_redaction", "kind": "redaction", "direction": "output"}
    with serve_each() as server:
        server.record(
            turn(1, turn_id=turn_id(1), question="How do I RESTART the pump?"),
            turn(2, conversation_id=OTHER_CONVERSATION, profile="pumps"),
            turn(
                3,
                outcome=Outcome.REFUSED,
                verdicts=[
                    Verdict.model_validate({**rewrote, "action": Action.ALLOW}),
                    Verdict.model_validate({**blocked, "action": Action.BLOCK}),
                ],
            ),
            turn(
                4,
                conversation_id=None,
                outcome=Outcome.ERROR,
                model="large",
                verdicts=[Verdict.model_validate({**rewrote, "action": Action.REPLACE})],
            ),
        )
        opinion = {"sentiment": 1}
        path = f"/v1alpha/transcripts/{turn_id(1)}/feedback"
        assert server.client.post(path, json=opinion).status_code == 200
        first = "How do I RESTART the pump?"
        second, third, fourth = (f"Question {number}?" for number in (2, 3, 4))
        for params, questions in [
            ({}, [fourth, third, second, first]),
            ({"conversation_id": CONVERSATION}, [third, first]),
            ({"conversation_id": "b" * 48}, [second]),
            ({"response_id": "resp_3"}, [third]),
            ({"profile": "pumps"}, [second]),
            ({"outcome": "error"}, [fourth]),
            ({"outcome": "error", "response_id": "resp_3"}, []),
            ({"shield": "input_topic"}, [third]),
            ({"shield": "inout_redaction"}, [fourth]),
            ({"model": "large"}, [fourth]),
            ({"has_feedback": True}, [first]),
            ({"has_feedback": False}, [fourth, third, second]),
            ({"text": "restart pump"}, [first]),
            ({"text": "restart valve"}, []),
            ({"text": "answer", "outcome": "refused"}, [third]),
            ({"since": "2026-01-02T03:04:08"}, [fourth, third]),
            ({"since": "2026-01-02T04:04:08+01:00", "until": "2026-01-02T03:04:09Z"}, [third]),
            ({"until": "2026-01-02T03:04:07.678901Z"}, [first]),
            ({"until": "2026-01-02T03:04:07.678902Z"}, [second, first]),
            ({"text": "' OR 1=1 --"}, []),
            ({"text": 'pump" OR question:*'}, []),
            ({"profile": "x' OR '1'='1"}, []),
            ({"shield": "%"}, []),
            ({"conversation_id": "conv_' UNION SELECT 1--"}, []),
        ]:
            assert server.questions(**params) == questions, params


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1alpha/transcripts?limit=0", 400),
        ("/v1alpha/transcripts?limit=201", 400),
        ("/v1alpha/transcripts?limit=many", 400),
        ("/v1alpha/transcripts?outcome=won", 400),
        ("/v1alpha/transcripts?after=nowhere", 400),
        ("/v1alpha/transcripts?after=99999999999999999999", 400),
        ("/v1alpha/transcripts?after=1%00", 400),
        ("/v1alpha/transcripts?after=1%0a", 400),
        ("/v1alpha/transcripts?after=١", 400),
        ("/v1alpha/transcripts?after=-5", 200),
        ("/v1alpha/transcripts?since=2026", 400),
        ("/v1alpha/transcripts?since=1767225600", 400),
        ("/v1alpha/transcripts?since=yesterday", 400),
        ("/v1alpha/transcripts?since=0001-01-01T00:00:00%2B23:59", 200),
        ("/v1alpha/transcripts?until=9999-12-31T23:59:59-23:59", 200),
        ("/v1alpha/transcripts?has_feedback=perhaps", 400),
        (f"/v1alpha/transcripts?text={'x' * 201}", 400),
        ("/v1alpha/transcripts?text=%00%ff%f0%9f%98%80", 200),
        ("/v1alpha/transcripts?conversation_id=%00%ff", 200),
        ("/v1alpha/transcripts?everyone=true", 403),
        ("/v1alpha/transcripts?user=somebody", 403),
        ("/v1alpha/transcripts/turn_unknown", 404),
        ("/v1alpha/transcripts/%00", 404),
        ("/v1alpha/transcripts/%0a%1b%5b31m", 404),
        ("/v1alpha/transcripts/..%2f..%2fetc", 404),
        (f"/v1alpha/transcripts/{'x' * 201}", 400),
        ("/v1alpha/transcripts/turn_unknown/feedback", 404),
        ("/v1alpha/conversations/conv_unknown/transcripts", 404),
        ("/v1alpha/conversations/%00/transcripts", 404),
        ("/v1alpha/conversations/..%2f..%2fetc/transcripts", 404),
        ("/v1alpha/transcripts-audit", 403),
        ("/v1alpha/feedback?sentiment=0", 400),
        ("/v1alpha/feedback?sentiment=1.0", 400),
        ("/v1alpha/feedback?category=boring", 400),
        ("/v1alpha/feedback/summary?everyone=true", 403),
    ],
)
def test_wrong_addresses(shared: Server, path: str, status: int) -> None:
    answer = shared.client.get(path)
    assert answer.status_code == status, answer.text
    if status != 200 and "%2f" not in path:
        message = answer.json()["error"]["message"]
        assert message
        assert len(message) < 300
        assert message.isprintable()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with one turn, for tables of requests that change nothing for each other."""
    with served(tmp_path_factory.mktemp("shared"), **ROLES) as server:
        server.record(turn(1, turn_id="turn_known"))
        yield server


def test_a_conversation_is_read_in_order(serve_each: Serve) -> None:
    with serve_each() as server:
        server.record(*(turn(number) for number in (3, 1, 5, 2, 4)))
        server.record(turn(9, conversation_id=OTHER_CONVERSATION), turn(8, user_id="somebody"))
        path = f"/v1alpha/conversations/{'a' * 48}/transcripts"
        seen: list[str] = []
        cursor, has_more = None, True
        while has_more:
            params = {"limit": 2} | ({"after": cursor} if cursor else {})
            page = server.client.get(path, params=params).json()
            seen += [each["question"] for each in page["data"]]
            cursor, has_more = page["next"], page["has_more"]
    assert seen == [f"Question {number}?" for number in (1, 2, 3, 4, 5)]


def test_readers_see_everybody_when_they_ask_for_it(
    serve: Serve, token_service: dict[str, Any]
) -> None:
    with serve(auth=token_service, **ROLES) as server:
        server.record(turn(1, user_id="alice"), turn(2, user_id="bob"), turn(3, user_id="rita"))
        everybody = [f"Question {number}?" for number in (3, 2, 1)]
        alice = server.client.get("/v1alpha/transcripts", headers=ALICE).json()["data"][0][
            "user_id"
        ]
        for headers in (READER, ADMIN):
            assert server.questions(headers, everyone=True) == everybody
            assert server.questions(headers, user=alice) == ["Question 1?"]
        assert server.questions(READER) == ["Question 3?"]
        assert server.questions(ADMIN) == []
        assert server.questions(ALICE, user=alice) == ["Question 1?"]
        for headers, params in [
            (ALICE, {"everyone": True}),
            (BOB, {"user": alice}),
            (as_user("eve", "Support", "support ", "compliance,support"), {"everyone": True}),
        ]:
            answer = server.client.get("/v1alpha/transcripts", params=params, headers=headers)
            assert answer.status_code == 403


def test_strangers_learn_nothing_and_change_nothing_on_any_route(
    serve: Serve, token_service: dict[str, Any]
) -> None:
    """Every route that names something of Alice's, asked by Bob and by a reader."""
    with serve(auth=token_service, **ROLES) as server:
        server.record(turn(1, user_id="alice", turn_id=turn_id(1), question="Alice's secret?"))
        server.record(turn(2, user_id="bob", conversation_id=OTHER_CONVERSATION))
        client = server.client
        alice = client.get("/v1alpha/transcripts", headers=ALICE).json()["data"][0]["user_id"]
        given = {"sentiment": -1, "user_feedback": "Alice's opinion"}
        own = f"/v1alpha/transcripts/{turn_id(1)}/feedback"
        feedback_id = client.post(own, json=given, headers=ALICE).json()["feedback_id"]
        named = {
            "turn_id": turn_id(1),
            "conversation_id": CONVERSATION,
            "user_hash": alice,
            "feedback_id": feedback_id,
        }
        unknown = {
            "turn_id": turn_id(7),
            "conversation_id": "conv_" + "7" * 48,
            "user_hash": "7" * 64,
            "feedback_id": "fb_" + "7" * 32,
        }

        async def everything_of_alice() -> list[str]:
            store, of_alice = server.impl._store, {"user_hash": alice}
            turns = await store.turns(TurnFilter(**of_alice), limit=9)
            return [
                each.record
                for each in turns + await store.feedback(FeedbackFilter(**of_alice), limit=9)
            ]

        before = server.run(everything_of_alice)
        asked: set[str] = set()
        for route in create_router(server.impl).routes:
            assert isinstance(route, APIRoute)
            [method] = route.methods - {"HEAD"}
            body = {"sentiment": 1} if method == "POST" else {"status": True}
            if route.path == "/v1/feedback":
                body = ABOUT | body
            for headers, is_reader in ((BOB, False), (READER, True)):
                answers = [
                    client.request(
                        method,
                        route.path.format(**names),
                        headers=headers,
                        json=body if method in ("POST", "PUT") else None,
                    )
                    for names in ((named, unknown) if "{" in route.path else (named,))
                ]
                claim = (method, route.path, headers)
                texts = [answer.text for answer in answers]
                if is_reader and method == "GET":
                    assert answers[0].status_code == 200, claim
                    continue
                assert "Alice" not in texts[0], claim
                assert alice not in texts[0] or alice in route.path.format(**named), claim
                if "{" in route.path:
                    assert [answer.status_code for answer in answers] == [404, 404], claim
                    # The answers differ in the id that was asked for, and in nothing else.
                    for name, value in named.items():
                        texts = [text.replace(value, name) for text in texts]
                    for name, value in unknown.items():
                        texts = [text.replace(value, name) for text in texts]
                    assert texts[0] == texts[1], claim
            assert server.run(everything_of_alice) == before, route.path
            asked.add(f"{method} {route.path}")
            assert client.request(method, route.path.format(**named)).status_code == 401
        assert len(before) == 2
        assert asked == ROUTES


ROUTES = {
    "GET /v1alpha/transcripts",
    "GET /v1alpha/transcripts/{turn_id}",
    "DELETE /v1alpha/transcripts/{turn_id}",
    "GET /v1alpha/conversations/{conversation_id}/transcripts",
    "DELETE /v1alpha/conversations/{conversation_id}/transcripts",
    "DELETE /v1alpha/users/me/transcripts",
    "DELETE /v1alpha/users/{user_hash}/transcripts",
    "GET /v1alpha/transcripts-audit",
    "POST /v1alpha/transcripts/{turn_id}/feedback",
    "GET /v1alpha/transcripts/{turn_id}/feedback",
    "GET /v1alpha/feedback",
    "GET /v1alpha/feedback/summary",
    "DELETE /v1alpha/feedback/{feedback_id}",
    "POST /v1/feedback",
    "GET /v1/feedback/status",
    "PUT /v1/feedback/status",
}


def test_nothing_is_recorded_where_that_is_switched_off(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(transcripts_enabled=False) as server:
        server.record(turn(1), turn(2))
        assert server.questions() == []
    assert stored_questions(tmp_path / "turns.db") == set()


def test_an_infinite_score_is_stored_as_a_number(serve_each: Serve) -> None:
    passage = {"passage_id": "p", "document_id": "d", "title": "T", "doc_url": "u", "content": "c"}
    scores = (float("inf"), float("-inf"), float("nan"), 0.5)
    with serve_each() as server:
        server.record(turn(1, passages=[{**passage, "score": score} for score in scores]))
        [listed] = server.client.get("/v1alpha/transcripts").json()["data"]
    assert [each["score"] for each in listed["passages"]] == [1e9, -1e9, 0.0, 0.5]


def test_a_user_in_the_provider_data_header_is_not_believed(serve: Serve) -> None:
    forged = {
        "__authenticated_user": {
            "principal": "alice",
            "attributes": {"roles": ["support", "compliance"]},
        }
    }
    headers = {"X-LlamaStack-Provider-Data": json.dumps(forged)}
    with serve(**ROLES) as server:
        server.record(turn(1, user_id="alice", turn_id=turn_id(1)), turn(2))
        assert server.questions(headers) == ["Question 2?"]
        client = server.client
        for path in ("/v1alpha/transcripts-audit", "/v1alpha/transcripts?everyone=true"):
            assert client.get(path, headers=headers).status_code == 403
        path = f"/v1alpha/transcripts/{turn_id(1)}"
        assert client.get(path, headers=headers).status_code == 404
        assert client.delete(path, headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("user", "reads", "deletes", "switches"),
    [
        (None, False, False, True),
        (User("alice", None), False, False, False),
        (User("alice", {"roles": []}), False, False, False),
        (User("alice", {"roles": ["staff"], "teams": ["support"]}), False, False, False),
        (User("alice", {"roles": ["staff", "support"]}), True, False, False),
        (User("alice", {"roles": ["compliance"]}), True, True, True),
        (User("", {"roles": ["staff"]}), False, False, False),
        ({"principal": "x", "attributes": {"roles": ["compliance"]}}, False, False, True),
        (SimpleNamespace(principal="x", attributes={"roles": "compliance"}), False, False, False),
        ("compliance", False, False, True),
    ],
)
def test_roles(user: object, reads: bool, deletes: bool, switches: bool) -> None:
    caller = Roles(["support"], ["compliance"]).caller(user, "hash")
    assert (caller.reads_all, caller.deletes_all, caller.switches_feedback) == (
        reads,
        deletes,
        switches,
    )
    without_roles = Roles([], []).caller(user, "hash")
    assert not without_roles.reads_all
    assert not without_roles.deletes_all


def test_a_restart_keeps_turns_users_and_feedback(serve: Serve, tmp_path: Path) -> None:
    with serve() as server:
        server.record(turn(1, turn_id=turn_id(1)))
        server.client.post(f"/v1alpha/transcripts/{turn_id(1)}/feedback", json={"sentiment": 1})
    with serve() as server:
        server.record(turn(2), turn(1, turn_id=turn_id(1), question="A second one?"))
        assert server.questions() == ["Question 2?", "Question 1?"]
        assert server.impl._writer.dropped == 0
        assert (
            len(server.client.get(f"/v1alpha/transcripts/{turn_id(1)}/feedback").json()["data"])
            == 1
        )
    assert stat.S_IMODE((tmp_path / "state/user_id.key").stat().st_mode) == 0o600
    everything = b"".join(path.read_bytes() for path in tmp_path.glob("turns.db*"))
    assert b"anonymous" not in everything


def test_the_routes_are_documented_and_the_key_stays_secret(serve: Serve) -> None:
    with serve(user_id_secret="0123456789abcdef") as server:
        paths = server.client.get("/openapi.json").json()["paths"]
        routes = server.client.get("/v1/inspect/routes").text
        providers = server.client.get("/v1/providers").text

    for route in ROUTES:
        method, path = route.split()
        operation = paths[path][method.lower()]
        assert path in routes
        assert operation["summary"]
        assert operation["description"]
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (route, parameter["name"])
        for status, answer in operation["responses"].items():
            assert answer["content"]["application/json"]["schema"], (route, status)
    assert "422" in paths["/v1/feedback"]["post"]["responses"]
    since = next(
        parameter["schema"]
        for parameter in paths["/v1alpha/transcripts"]["get"]["parameters"]
        if parameter["name"] == "since"
    )
    assert {"type": "string", "format": "date-time"} in since["anyOf"]
    assert "inline::lightspeed-transcripts" in providers
    assert "0123456789abcdef" not in providers


def test_the_library_client_has_the_routes_and_never_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path / "state"))
    config = write_config(tmp_path, durability="queued")
    with LlamaStackAsLibraryClient(str(config), skip_logger_removal=True) as client:
        impl = client.async_client.impls[Api("transcripts")]
        client.loop.run_until_complete(impl.record(turn(1, turn_id=turn_id(1))))
        got = client.get(f"/v1alpha/transcripts/{turn_id(1)}", cast_to=object)
        assert got["question"] == "Question 1?"
        with locked(tmp_path / "turns.db"):
            client.loop.run_until_complete(impl.record(turn(2)))
            page = client.get("/v1alpha/transcripts", cast_to=object)
            assert [each["question"] for each in page["data"]] == ["Question 1?"]
        filtered = client.get(
            "/v1alpha/transcripts",
            cast_to=object,
            options={"params": {"response_id": "resp_1", "limit": 1}},
        )
        assert [each["question"] for each in filtered["data"]] == ["Question 1?"]
        received = client.post(
            "/v1/feedback", body=ABOUT | {"categories": ["unsafe"]}, cast_to=object
        )
        assert received["response"] == "feedback received"
        path = f"/v1alpha/transcripts/{turn_id(1)}/feedback"
        client.post(path, body={"sentiment": 1}, cast_to=object)
        assert [each["sentiment"] for each in client.get(path, cast_to=object)["data"]] == [1]
    assert stored_questions(tmp_path / "turns.db") == {"Question 1?", "Question 2?"}


async def test_the_provider_keeps_what_it_promises() -> None:
    [spec] = available_providers()
    assert (spec.api.value, spec.provider_type) == ("transcripts", "inline::lightspeed-transcripts")
    from lightspeed_providers.transcripts.transcripts import LightspeedTranscriptsImpl

    promised = [name for name in vars(Transcripts) if not name.startswith("_")] + ["record"]
    for name in promised:
        assert getattr(LightspeedTranscriptsImpl, name) is not getattr(Transcripts, name), name


def test_the_key_is_made_once_by_whoever_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "user_id.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_or_create_key, [path] * 32))
    assert len(keys) == 1
    assert [file.name for file in path.parent.iterdir()] == ["user_id.key"]
    path.write_text("not a key")
    with pytest.raises(ConfigurationError, match="64 hex digits"):
        load_or_create_key(path)
    with pytest.raises(ConfigurationError, match="LIGHTSPEED_USER_ID_KEY"):
        load_or_create_key(path / "below-a-file")


def test_configuration() -> None:
    parse = LightspeedTranscriptsConfig.model_validate
    assert parse({"user_id_secret": ""}).user_id_secret is None
    from_number = parse({"user_id_secret": 12345678901234567890}).user_id_secret
    assert from_number is not None
    assert from_number.get_secret_value() == "12345678901234567890"
    assert "12345678" not in repr(from_number)
    for wrong in [{"user_id_secret": "short"}, {"durability": "maybe"}, {"unknown": 1}]:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            parse(wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"store": {"backend": "sql_gone", "table_name": "t"}}, "sql_gone"),
        ({"store": {"backend": "sql_turns", "table_name": "t; drop"}}, "t; drop"),
        ({"transcripts_storage": "/proc/nowhere"}, "'/proc/nowhere' can't be written"),
        ({"feedback_storage": "/dev/null/nowhere"}, "'/dev/null/nowhere' can't be written"),
    ],
)
def test_a_wrong_place_stops_the_start(
    serve: Serve, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message), serve(**settings):
        pass


@pytest.mark.parametrize("text", ["plain", "NUL \x00", "half \ud800", "literal \\u0000", "é 😀"])
def test_any_text_can_be_stored(text: str) -> None:
    stored = storable_json(turn(1, question=text))
    assert "\x00" not in json.loads(stored)["question"]
    expected = text.replace("\x00", "").replace("\ud800", "?")
    assert Turn.model_validate_json(stored).question == expected
