"""Alice's responses, conversations and everything around them, asked for by others on every route.

Two servers of their own: one authenticates, one knows its users by a header.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from identity_server import SLOWLY, Served, canned_model, run_config, served, token_service

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.identity.header import MAX_CHARS, know_users_by, user_named_in

SECRET = "bicycle"
"""A word that Alice alone has said; the canned model repeats whatever it is told."""
HEADER = "X-Remote-User"
MODEL = "llama-cpp/gemma-3-270m"
Who = Callable[[str], dict[str, str]]


def by_token(name: str) -> dict[str, str]:
    """Headers of a user whom the server authenticates."""
    return {"Authorization": f"Bearer {name}"}


def by_header(name: str) -> dict[str, str]:
    """Headers of a user whom a proxy names; of nobody for an empty name."""
    return {HEADER: name} if name else {}


@dataclass(frozen=True)
class Ask:
    """A request about something of Alice's: `{name}` stands for an id of hers."""

    method: str
    path: str
    body: Any = None  # Any: JSON
    params: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] | None = None
    hers: int = 200
    """What Alice gets herself: the request is right, and only its sender is wrong."""
    stranger: int | None = None
    """What a stranger gets, where it isn't what an unknown id gives."""

    @property
    def is_shared(self) -> bool:
        """Whether the host's access policy lets those of the same role do it."""
        named = f"{self.path} {json.dumps(self.body)}"
        return "{vector_store_id}" in named or "{prompt_id}" in named

    @property
    def route(self) -> tuple[str, str]:
        """The route as the server's table has it."""
        return self.method, re.sub(r"\{(my|her)_(\w+)\}", r"{\2}", self.path)

    def sent(self, client: httpx.Client, names: Mapping[str, str]) -> httpx.Response:
        """Send it with these ids."""

        def filled(value: Any) -> Any:  # Any: JSON
            if isinstance(value, str):
                return re.sub(r"\{(\w+)\}", lambda m: names[m[1]], value)
            if isinstance(value, dict):
                return {name: filled(inner) for name, inner in value.items()}
            return [filled(inner) for inner in value] if isinstance(value, list) else value

        return client.request(
            self.method,
            filled(self.path),
            json=filled(self.body),
            params=filled(self.params),
            data=filled(self.form),
        )


def message(text: str, **fields: str) -> dict[str, str]:
    """A conversation's item of a user."""
    return {"type": "message", "role": "user", "content": text, **fields}


def response(**fields: Any) -> dict[str, Any]:  # Any: JSON
    """A request for a response."""
    return {"model": "lightspeed", "input": "What did I say before?", **fields}


_CONVERSATION = "/v1/conversations/{conversation_id}"
_STORE = "/v1/vector_stores/{vector_store_id}"
_BATCH = _STORE + "/file_batches/{batch_id}"
_PROMPT = "/v1/prompts/{prompt_id}"
_SEARCH = {"type": "file_search", "vector_store_ids": ["{vector_store_id}"]}
_FILE = {"role": "user", "content": [{"type": "input_text", "text": "What is in this file?"}]}

_OPINION = {
    "conversation_id": "{conversation_id}",
    "user_question": "Q?",
    "llm_response": "A.",
    "sentiment": 1,
}

READING = [
    Ask("GET", "/v1/responses/{response_id}"),
    Ask("GET", "/v1/responses/{running_id}"),
    Ask("GET", "/v1/responses/{response_id}/input_items"),
    Ask("GET", "/v1/responses", params={"after": "{response_id}"}),
    Ask("GET", _CONVERSATION),
    Ask("GET", _CONVERSATION + "/items"),
    Ask("GET", _CONVERSATION + "/items/{item_id}"),
    Ask("GET", "/v1/chat/completions/{completion_id}"),
    Ask("GET", "/v1/chat/completions", params={"after": "{completion_id}"}),
    Ask("GET", "/v1/files/{file_id}"),
    Ask("GET", "/v1/files/{file_id}/content"),
    Ask("GET", "/v1/files", params={"after": "{file_id}"}),
    # The host's processor fails at what is no PDF; what matters is that it finds the file.
    Ask("POST", "/v1alpha/file-processors/process", form={"file_id": "{file_id}"}, hers=500),
    Ask("GET", _STORE),
    Ask("GET", _STORE + "/files"),
    Ask("GET", _STORE + "/files/{file_id}"),
    Ask("GET", _STORE + "/files/{file_id}/content"),
    Ask("GET", _BATCH),
    Ask("GET", _BATCH + "/files"),
    Ask("POST", _STORE + "/search", {"query": SECRET}),
    Ask("POST", "/v1/vector-io/query", {"vector_store_id": "{vector_store_id}", "query": SECRET}),
    Ask("GET", _PROMPT),
    Ask("GET", _PROMPT, params={"version": "1"}),
    Ask("GET", _PROMPT + "/versions"),
    Ask("GET", "/v1alpha/transcripts/{turn_id}"),
    Ask("GET", "/v1alpha/transcripts/{turn_id}/feedback"),
    Ask("GET", "/v1alpha/transcripts", params={"conversation_id": "{conversation_id}"}),
    Ask("GET", "/v1alpha/transcripts", params={"response_id": "{response_id}"}),
    Ask("GET", "/v1alpha/conversations/{conversation_id}/transcripts"),
    Ask("GET", "/v1alpha/feedback", params={"conversation_id": "{conversation_id}"}),
]
"""Requests that show something of Alice's to her."""

CHANGING = [
    Ask("POST", "/v1/responses", response(previous_response_id="{response_id}")),
    Ask("POST", "/v1/responses", response(previous_response_id="{response_id}", stream=True)),
    Ask("POST", "/v1/responses", response(previous_response_id="{response_id}", background=True)),
    Ask("POST", "/v1/responses", response(prompt={"id": "{prompt_id}"})),
    Ask("POST", "/v1/responses", response(tools=[_SEARCH])),
    Ask("POST", _CONVERSATION, {"metadata": {"of": "somebody else"}}),
    Ask("POST", _CONVERSATION + "/items", {"items": [message("Somebody was here.")]}),
    Ask("POST", _STORE, {"name": "renamed"}),
    Ask("POST", _STORE + "/files", {"file_id": "{file_id}"}),
    Ask("POST", _STORE + "/files/{file_id}", {"attributes": {"of": "somebody else"}}),
    Ask("POST", _STORE + "/file_batches", {"file_ids": ["{file_id}"]}),
    Ask("POST", _BATCH + "/cancel", hers=400),  # it is done
    Ask("PUT", _PROMPT, {"prompt": "Another.", "version": 1}),
    Ask("PUT", _PROMPT + "/set-default-version", {"version": 1}),
    Ask("POST", "/v1alpha/transcripts/{turn_id}/feedback", {"sentiment": 1}),
    Ask("POST", "/v1/feedback", _OPINION, stranger=403),  # as Lightspeed's clients know it
    Ask("POST", "/v1/responses/{running_id}/cancel"),
    Ask("DELETE", "/v1/responses/{response_id}"),
    Ask("DELETE", _CONVERSATION + "/items/{item_id}"),
    Ask("DELETE", _CONVERSATION),
    Ask("DELETE", _STORE + "/files/{file_id}"),
    Ask("DELETE", _STORE),
    Ask("DELETE", "/v1/files/{file_id}"),
    Ask("DELETE", _PROMPT),
    Ask("DELETE", "/v1alpha/feedback/{feedback_id}"),
    Ask("DELETE", "/v1alpha/transcripts/{turn_id}"),
    Ask("DELETE", "/v1alpha/conversations/{conversation_id}/transcripts"),
    Ask("DELETE", "/v1alpha/users/{user_hash}/transcripts"),
]
"""Requests that change or delete something of Alice's, in an order that she could send them in."""

CONTINUING = [
    Ask("POST", "/v1/responses", response(conversation="{conversation_id}")),
    Ask("POST", "/v1/responses", response(conversation="{conversation_id}", stream=True)),
    Ask("POST", "/v1/responses", response(conversation="{conversation_id}", background=True)),
]
"""Requests that continue Alice's conversation, which are recorded as turns once admitted."""

IN_OWN = [
    Ask(
        "POST",
        "/v1/conversations/{my_conversation_id}/items",
        {"items": [message("Mine.", id="{item_id}")]},
    ),
    Ask("GET", "/v1/conversations/{my_conversation_id}/items/{item_id}"),
    Ask("DELETE", "/v1/conversations/{my_conversation_id}/items/{item_id}"),
    Ask("POST", "/v1/conversations", {"items": [message("Mine.", id="{item_id}")]}),
    Ask(
        "POST",
        "/v1/responses",
        response(conversation="{my_conversation_id}", input=[message("Mine.", id="{item_id}")]),
    ),
    Ask(
        "POST",
        "/v1/responses",
        response(
            input=[
                {
                    **_FILE,
                    "content": [*_FILE["content"], {"type": "input_file", "file_id": "{file_id}"}],
                }
            ]
        ),
    ),
    Ask("POST", "/v1/vector_stores", {"name": "mine", "file_ids": ["{file_id}"]}),
    Ask("POST", "/v1/vector_stores/{my_vector_store_id}/files", {"file_id": "{file_id}"}),
    Ask("GET", "/v1/vector_stores/{my_vector_store_id}/files/{file_id}"),
    Ask("GET", "/v1/vector_stores/{my_vector_store_id}/file_batches/{batch_id}"),
    Ask("GET", "/v1/vector_stores/{my_vector_store_id}/file_batches/{batch_id}/files"),
    Ask("POST", "/v1/vector_stores/{my_vector_store_id}/file_batches/{batch_id}/cancel"),
    Ask("GET", "/v1/vector_stores/{my_vector_store_id}/files/{file_id}/content"),
]
"""Requests about something of the sender's own that name something of Alice's beside it."""

SHARED = ("/v1/vector_stores", "/v1/prompts")
AUDIT = "/v1alpha/transcripts-audit"
LISTS = [
    "/v1/responses",
    "/v1/chat/completions",
    "/v1/files",
    "/v1/vector_stores",
    "/v1/prompts",
    "/v1alpha/transcripts",
    "/v1alpha/feedback",
    "/v1alpha/feedback/summary",
    AUDIT,
]
"""Everybody sees what is theirs."""

OWN_ONLY = {
    ("DELETE", "/v1alpha/users/me/transcripts"): {},
    ("POST", "/v1/chat/completions"): {"model": MODEL, "messages": [message("Hello?")]},
    ("POST", "/v1/completions"): {"model": MODEL, "prompt": "Hello?"},
    ("POST", "/v1/prompts"): {"prompt": "Mine."},
}
"""Requests that name nothing, and make or remove something of the sender's own."""

NOBODYS = {
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/oauth2-redirect"),
    ("GET", "/redoc"),
    ("GET", "/liveness"),
    ("GET", "/readiness"),
    ("GET", "/v1/health"),
    ("GET", "/v1/version"),
    ("GET", "/v1/inspect/routes"),
    ("GET", "/v1/providers"),
    ("GET", "/v1/providers/{provider_id}"),
    ("GET", "/v1alpha/admin/health"),
    ("GET", "/v1alpha/admin/version"),
    ("GET", "/v1alpha/admin/inspect/routes"),
    ("GET", "/v1alpha/admin/providers"),
    ("GET", "/v1alpha/admin/providers/{provider_id}"),
    # The server's own: whoever operates it closes them with a `route_policy`.
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model_id:path}"),
    ("GET", "/v1/shields"),
    ("GET", "/v1/shields/{identifier:path}"),
    ("POST", "/v1/shields"),
    ("DELETE", "/v1/shields/{identifier:path}"),
    ("GET", "/v1/tools"),
    ("GET", "/v1beta/connectors"),
    ("GET", "/v1beta/connectors/{connector_id}"),
    ("GET", "/v1beta/connectors/{connector_id}/tools"),
    ("GET", "/v1beta/connectors/{connector_id}/tools/{tool_name}"),
    ("GET", "/v1/feedback/status"),
    ("PUT", "/v1/feedback/status"),
    # Answer from what is in the request, and keep nothing.
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/moderations"),
    ("POST", "/v1/safety/run-shield"),
    ("POST", "/v1alpha/inference/rerank"),
    # Uploads are the sender's; the matrix uploads.
    ("POST", "/v1/files"),
    ("POST", "/v1/vector-io/insert"),
}
"""Routes that touch nobody's responses, conversations or files."""


@dataclass
class Stage:
    """A server, and how it knows its users."""

    server: Served
    who: Who

    def client(self, name: str, role: str = "") -> httpx.Client:
        """An HTTP client of a new user, or of nobody."""
        user = f"{name}-{secrets.token_hex(4)}" if name else ""
        return self.server.client(self.who(f"{user}+{role}" if role else user))


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    """The address of the canned model."""
    with canned_model() as url:
        yield url


@pytest.fixture(scope="module")
def authenticating(
    index: Path, model: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A server that authenticates, and listens to the header too."""
    with token_service() as endpoint:
        auth = {"provider_config": {"type": "custom", "endpoint": endpoint}}
        directory = tmp_path_factory.mktemp("authenticating")
        with served(directory, index, model, run_config(auth), HEADER) as server:
            yield Stage(server, by_token)


@pytest.fixture(scope="module")
def trusting(index: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server that knows its users by the header alone."""
    directory = tmp_path_factory.mktemp("trusting")
    with served(directory, index, model, run_config(), HEADER) as server:
        yield Stage(server, by_header)


@pytest.fixture(params=["authenticating", "trusting"])
def stage(request: pytest.FixtureRequest) -> Stage:
    """Each server in turn."""
    chosen: Stage = request.getfixturevalue(request.param)
    return chosen


def json_of(answer: httpx.Response) -> Any:  # Any: JSON
    """The body of an answer that is no error."""
    assert answer.status_code == 200, answer.text
    return answer.json()


def belongings(client: httpx.Client) -> dict[str, str]:
    """Make one of everything for a user, all about the secret; return the ids."""

    def made(path: str, body: Any) -> str:  # Any: JSON
        return str(json_of(client.post(path, json=body))["id"])

    about = f"Where is my {SECRET}?"
    conversation_id = made(
        "/v1/conversations", {"metadata": {"about": SECRET}, "items": [message(about)]}
    )
    response_id = made("/v1/responses", response(input=about, conversation=conversation_id))
    running_id = made("/v1/responses", response(input=f"{about} {SLOWLY}", background=True))
    file = {"file": (f"{SECRET}.txt", f"My {SECRET} is in the cellar.".encode(), "text/plain")}
    file_id = json_of(client.post("/v1/files", files=file, data={"purpose": "assistants"}))["id"]
    vector_store_id = made("/v1/vector_stores", {"name": f"My {SECRET}", "file_ids": [file_id]})
    batch = f"/v1/vector_stores/{vector_store_id}/file_batches"
    batch_id = made(batch, {"file_ids": [file_id]})
    completion_id = made("/v1/chat/completions", {"model": MODEL, "messages": [message(about)]})
    prompt = client.post("/v1/prompts", json={"prompt": f"Look for the {SECRET}."}).json()
    items = json_of(client.get(f"/v1/conversations/{conversation_id}/items"))["data"]
    [turn] = eventually(
        lambda: json_of(client.get("/v1alpha/transcripts", params={"response_id": response_id}))[
            "data"
        ]
    )
    opinion = {"sentiment": -1, "user_feedback": f"No {SECRET} there."}
    feedback = client.post(f"/v1alpha/transcripts/{turn['turn_id']}/feedback", json=opinion)
    eventually(
        lambda: (
            json_of(client.get(f"{batch}/{batch_id}"))["status"] == "completed"
            and json_of(client.get(f"/v1/chat/completions/{completion_id}"))
        )
    )
    return {
        "conversation_id": conversation_id,
        "item_id": items[0]["id"],
        "response_id": response_id,
        "running_id": running_id,
        "file_id": file_id,
        "vector_store_id": vector_store_id,
        "batch_id": batch_id,
        "completion_id": completion_id,
        "prompt_id": prompt["prompt_id"],
        "turn_id": turn["turn_id"],
        "user_hash": turn["user_id"],
        "feedback_id": feedback.json()["feedback_id"],
    }


def own(client: httpx.Client) -> dict[str, str]:
    """Ids of something that a stranger has too."""
    return {
        "my_conversation_id": json_of(client.post("/v1/conversations", json={}))["id"],
        "my_vector_store_id": json_of(client.post("/v1/vector_stores", json={}))["id"],
    }


def unknown(names: Mapping[str, str]) -> dict[str, str]:
    """Ids of the same form that nobody has."""

    def other(value: str) -> str:
        kind = re.match(r"([a-z]+[-_])?", value)
        assert kind is not None
        digits = re.sub("[0-9a-f]", lambda _: secrets.choice("0123456789abcdef"), value)
        return kind[0] + digits[kind.end() :]

    return {name: other(value) for name, value in names.items()}


def eventually[Found](look: Callable[[], Found]) -> Found:
    """What is found, as soon as it is."""
    deadline = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def told(answer: httpx.Response, names: Mapping[str, str]) -> tuple[int, str]:
    """Status and text of an answer; ids of the request and of what it made are all the same."""
    text = answer.text
    for name, value in names.items():
        text = text.replace(value, name)
    text = re.sub(r"\b(resp|msg|conv|item|vs|chatcmpl|pmpt|fb)[-_][0-9a-f-]{10,}", r"\1", text)
    return answer.status_code, re.sub(r'_at":\s?\d+', '_at":0', text)


def everything_of(client: httpx.Client, names: Mapping[str, str]) -> dict[str, str]:
    """All that a user can see of what is theirs."""
    # What is in the other lists others may add to.
    seen = {path: client.get(path).text for path in LISTS if path not in SHARED}
    for ask in READING:
        if ask.method == "GET":
            seen[f"{ask.path} {ask.params}"] = ask.sent(client, names).text
    return {
        path: re.sub(r'"last_active_at":\s?\d+|"usage_bytes":\s?\d+', "", text)
        for path, text in seen.items()
    }


def changed(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str, str]]:
    """What is no longer as it was."""
    return {name: (text, after[name]) for name, text in before.items() if text != after[name]}


def test_no_stranger_reaches_what_is_alices_on_any_route(stage: Stage) -> None:
    """Every route that can name something of Alice's, asked by Bob and, where they may, nobody."""
    with stage.client("alice") as alice, stage.client("bob") as bob, stage.client("") as nobody:
        hers = belongings(alice)
        for stranger in [bob] if stage.who is by_token else [bob, nobody]:
            keep_apart(alice, hers, stranger, [*READING, *CHANGING, *IN_OWN], LISTS)
        for ask in [*READING, *CONTINUING, *CHANGING]:
            answer = ask.sent(alice, hers)
            assert answer.status_code == ask.hers, (ask, answer.text)
            if ask in READING and "after" not in ask.params and ask.hers == 200:
                assert SECRET in answer.text or any(v in answer.text for v in hers.values()), ask


def test_no_colleague_reaches_what_is_alices(authenticating: Stage) -> None:
    """Those of the same role share vector stores and prompts, as the host has it, and no more."""
    with (
        authenticating.client("alice", "staff") as alice,
        authenticating.client("bob", "staff") as bob,
    ):
        hers = belongings(alice)
        asks = [ask for ask in [*READING, *CHANGING, *IN_OWN] if not ask.is_shared]
        assert len(asks) > 40
        keep_apart(alice, hers, bob, asks, [path for path in LISTS if path not in SHARED])
        for path in SHARED:
            assert SECRET in bob.get(path).text


def keep_apart(
    alice: httpx.Client,
    hers: Mapping[str, str],
    stranger: httpx.Client,
    asks: list[Ask],
    lists: list[str],
) -> None:
    """See that a stranger learns and changes nothing, whatever they ask."""
    before = everything_of(alice, hers)
    assert sum(SECRET in text for text in before.values()) > 20
    for path in lists:
        answer = stranger.get(path)
        assert answer.status_code == (403 if path == AUDIT else 200), path
        assert not [name for name, value in hers.items() if value in answer.text], path
    pairs = [dict(hers) | own(stranger), unknown(hers) | own(stranger)]
    for ask in asks:
        answers = [told(ask.sent(stranger, ids), ids) for ids in pairs]
        if ask.stranger is None:
            assert answers[0] == answers[1], f"{ask}: {answers}"
        else:
            assert answers[0][0] == ask.stranger, f"{ask}: {answers}"
        assert SECRET not in answers[0][1] or SECRET in json.dumps(ask.body), ask
        if ask not in READING:
            after = changed(before, everything_of(alice, hers))
            assert not after, f"{ask}: {after}"
    for (method, path), body in OWN_ONLY.items():
        answer = stranger.request(method, path, json=body or None)
        assert answer.status_code == 200, (path, answer.text)
    for path in [*lists, "/v1/responses?limit=100"]:
        assert SECRET not in stranger.get(path).text, path
    assert changed(before, everything_of(alice, hers)) == {}


def test_every_route_of_the_server_is_in_the_matrix(stage: Stage) -> None:
    """A new route has to be asked for as Bob, or named as one that touches nobody's data."""
    asked = {ask.route for ask in [*READING, *CONTINUING, *CHANGING, *IN_OWN]}
    asked = {(m, p.replace("{running_id}", "{response_id}")) for m, p in asked}
    known = asked | {("GET", path) for path in LISTS} | OWN_ONLY.keys() | NOBODYS
    served_routes = set(stage.server.routes)
    assert served_routes - known == set()
    assert known - served_routes == set()


def test_who_may_not_continue_a_conversation_gets_no_right_over_it(stage: Stage) -> None:
    """A refused attempt leaves nothing behind by which the conversation could be deleted."""
    with stage.client("carol") as carol, stage.client("dave") as dave:
        hers = belongings(carol)
        before = everything_of(carol, hers)
        for ask in CONTINUING:
            names = unknown(hers)
            answers = [told(ask.sent(dave, names), names) for names in (hers, names)]
            assert answers[0] == answers[1]
            assert answers[0][0] == 404
        for method in ("GET", "DELETE"):
            ask = Ask(method, "/v1alpha/conversations/{conversation_id}/transcripts")
            names = unknown(hers)
            answers = [told(ask.sent(dave, names), names) for names in (hers, names)]
            assert answers[0] == answers[1]
        assert json_of(dave.get("/v1alpha/transcripts"))["data"] == []
        assert changed(before, everything_of(carol, hers)) == {}


def test_an_answer_is_its_askers_however_it_is_given(stage: Stage) -> None:
    """Streamed, in background, continued and cancelled: the owner stays."""
    with stage.client("erin") as erin, stage.client("bob") as bob:
        with erin.stream("POST", "/v1/responses", json=response(stream=True)) as streaming:
            lines = [line for line in streaming.iter_lines() if line.startswith("data: {")]
        streamed = json.loads(lines[-1].removeprefix("data: "))["response"]["id"]
        queued = json_of(erin.post("/v1/responses", json=response(background=True)))["id"]
        eventually(lambda: json_of(erin.get(f"/v1/responses/{queued}"))["status"] == "completed")
        asked = response(background=True, input=f"Count {SLOWLY}.")
        running = json_of(erin.post("/v1/responses", json=asked))["id"]
        eventually(lambda: json_of(erin.get(f"/v1/responses/{running}"))["status"] == "in_progress")
        assert bob.post(f"/v1/responses/{running}/cancel").status_code == 404
        assert json_of(erin.get(f"/v1/responses/{running}"))["status"] == "in_progress"
        assert json_of(erin.post(f"/v1/responses/{running}/cancel"))["status"] == "cancelled"
        follow_up = response(previous_response_id=streamed)
        continued = json_of(erin.post("/v1/responses", json=follow_up))["id"]
        ids = [streamed, queued, running, continued]
        listed = {each["id"] for each in json_of(erin.get("/v1/responses"))["data"]}
        assert listed == set(ids)
        for each in ids:
            assert erin.get(f"/v1/responses/{each}").status_code == 200
            assert bob.get(f"/v1/responses/{each}").status_code == 404

        def recorded() -> set[str]:
            turns = json_of(erin.get("/v1alpha/transcripts"))["data"]
            return {turn["response_id"] for turn in turns}

        eventually(lambda: len(recorded()) == len(ids))
        assert recorded() == set(ids)


def test_what_nobody_in_particular_made_is_for_nobody_in_particular(trusting: Stage) -> None:
    with trusting.client("") as nobody, trusting.client("bob") as bob:
        made = json_of(nobody.post("/v1/responses", json=response(input="Hello?")))["id"]
        conversation = json_of(nobody.post("/v1/conversations", json={}))["id"]
        with trusting.client("") as another:
            for path in (f"/v1/responses/{made}", f"/v1/conversations/{conversation}"):
                assert another.get(path).status_code == 200
                assert bob.get(path).status_code == 404
            follow_up = response(previous_response_id=made)
            assert "Hello?" in another.post("/v1/responses", json=follow_up).text
            # A vector store that an operator fills is for everybody.
            store = json_of(nobody.post("/v1/vector_stores", json={"name": "documents"}))["id"]
            assert json_of(bob.get(f"/v1/vector_stores/{store}"))["name"] == "documents"


@pytest.mark.parametrize(
    "headers",
    [
        [(HEADER, "x" * (MAX_CHARS + 1))],
        [(HEADER, "ali\tce")],
        [(HEADER, "anonymous")],
        [(HEADER, b"\xff")],
        [(HEADER, "al\u200bice".encode())],
        [(HEADER, "alice"), (HEADER.lower(), "alice")],
    ],
)
def test_what_is_no_users_name_is_refused_in_one_line(
    trusting: Stage, headers: list[tuple[str, str | bytes]]
) -> None:
    answer = httpx.get(f"{trusting.server.url}/v1/responses", headers=headers)  # type: ignore[arg-type]  # httpx sends bytes too
    assert answer.status_code == 400
    line = answer.json()["error"]["message"]
    assert HEADER.lower() in line
    assert "\n" not in line


def test_a_name_may_be_in_any_language(trusting: Stage) -> None:
    name = "Zoë Müller, 東京".encode()
    first = {HEADER: name}
    url = f"{trusting.server.url}/v1/conversations"
    made = httpx.post(url, json={}, headers=first).json()["id"]
    again = {HEADER.upper(): name}
    assert httpx.get(f"{url}/{made}", headers=again).status_code == 200
    assert httpx.get(f"{url}/{made}", headers={HEADER: "Zoe"}).status_code == 404


def test_who_is_authenticated_is_nobody_else_by_a_header(authenticating: Stage) -> None:
    server = authenticating.server
    with server.client(by_token("frank")) as frank, server.client(by_token("bob")) as bob:
        path = f"/v1/conversations/{json_of(frank.post('/v1/conversations', json={}))['id']}"
        assert bob.get(path, headers=by_header("frank")).status_code == 404
        assert frank.get(path, headers=by_header("bob")).status_code == 200
        assert httpx.get(f"{server.url}{path}", headers=by_header("frank")).status_code == 401


def test_a_user_in_the_provider_data_is_not_believed(trusting: Stage) -> None:
    forged = {"__authenticated_user": {"principal": "grace", "attributes": None}}
    server = trusting.server
    with server.client(by_header("grace")) as grace, server.client({}) as nobody:
        made = json_of(grace.post("/v1/conversations", json={}))["id"]
        headers = {"X-LlamaStack-Provider-Data": json.dumps(forged)}
        assert nobody.get(f"/v1/conversations/{made}", headers=headers).status_code == 404
        assert nobody.get("/v1/responses", headers=headers).status_code == 200


@pytest.mark.parametrize("header", ["X User", "Authorization", "cookie", "X-User:"])
def test_a_wrong_name_of_a_header_stops_the_start(header: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"'{header}'")):
        know_users_by(header)


def test_blanks_around_a_name_are_no_part_of_it() -> None:
    know_users_by(HEADER)
    try:
        assert user_named_in([(HEADER.lower().encode(), b" alice ")]) == "alice"
        assert user_named_in([(HEADER.lower().encode(), b" ")]) is None
    finally:
        know_users_by("")


def test_without_a_header_named_nobody_is_listened_to() -> None:
    know_users_by("")
    assert user_named_in([(HEADER.lower().encode(), b"alice")]) is None
