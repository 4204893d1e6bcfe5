"""Moderation by a service: real requests to a fake service on this machine."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError
from shield_contract import REFUSAL, ShieldContract, screened

from lightspeed_providers.core.errors import UnavailableError
from lightspeed_providers.core.verdicts import Action, Context, Direction
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.shields.base import Allow, Answer, Block, Models
from lightspeed_providers.safety.shields.microbatch import MicroBatches
from lightspeed_providers.safety.shields.moderation import ModerationOptions, ModerationShield

INPUT = Direction.INPUT
KEY = "key-that-nobody-may-see"
WORDS = {"punch": "violence", "vermin": "hate", "滅ぼす": "violence"}


def judged(text: str) -> dict[str, Any]:
    """What the fake service says of a text, in the format's shape."""
    assert isinstance(text, str)
    scores = {"violence": 0.01, "hate": 0.02, "hate/threatening": 0.0}
    for word, category in WORDS.items():
        if word in text:
            scores[category] = 0.9
    return {
        "flagged": any(score > 0.5 for score in scores.values()),
        "categories": {name: score > 0.5 for name, score in scores.items()} | {"illicit": None},
        "category_scores": scores,
        "category_applied_input_types": {name: ["text"] for name in scores},
    }


Reply = tuple[int, bytes]


def moderations(request: dict[str, Any]) -> Reply:
    results = [judged(text) for text in request["input"]]
    return 200, json.dumps({"id": "modr-1", "model": "fake", "results": results}).encode()


class FakeModerationService:
    """A real HTTP server with the moderations format; `reply` may be changed."""

    def __init__(self) -> None:
        self.reply: Callable[[dict[str, Any]], Reply | None] = moderations
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.gate = threading.Event()
        """Set while it answers at once."""
        self.gate.set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                service.connections += 1
                super().setup()

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.headers.append(dict(self.headers))
                service.requests.append(request)
                service.gate.wait(10)
                replied = service.reply(request)
                if replied is None:
                    self.close_connection = True
                    return
                status, content = replied
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                if status in (301, 307):
                    self.send_header("Location", f"{service.url}/elsewhere")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                """Clients that went away are part of the tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/moderations"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def texts(self) -> list[str]:
        return [text for request in self.requests for text in request["input"]]

    def stop(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def service() -> Iterator[FakeModerationService]:
    running = FakeModerationService()
    yield running
    running.stop()


def options(url: str, **given: Any) -> ModerationOptions:
    return ModerationOptions.model_validate({"kind": "moderation", "url": url, **given})


Build = Callable[..., ModerationShield]


@pytest.fixture
async def build(service: FakeModerationService) -> AsyncIterator[Build]:
    """Makes shields of the fake service that are closed at the end."""
    built: list[ModerationShield] = []

    def make(**given: Any) -> ModerationShield:
        built.append(ModerationShield(options(service.url, **given)))
        return built[-1]

    yield make
    for shield in built:
        await shield.aclose()


async def ask(shield: ModerationShield, text: str) -> Answer:
    return await shield.check(text, INPUT, Context())


class TestModeration(ShieldContract):
    must_block = (
        "I will punch you",
        "vermin",
        "敵を滅ぼす",
        "lone \ud800 surrogate, punch",
        "pu\u200bnch",
        "x" * 60_000 + " punch " + "y" * 60_000,
    )
    must_allow = (*ModerationOptions.model_fields["must_allow"].default, "🎉", "\ud800\udfff")

    @pytest.fixture(autouse=True)
    def at_service(self, service: FakeModerationService) -> None:
        self.options = {"kind": "moderation", "url": service.url}

    @pytest.fixture
    async def configured(self, models: Models) -> AsyncIterator[ConfiguredShield]:
        config = LightspeedShieldsConfig.model_validate(
            {"shields": {"inout_shield": {**self.options, "refusal": REFUSAL, "timeout_s": 20}}}
        )
        options = config.shields["inout_shield"]
        shield = options.build(models)
        yield ConfiguredShield("inout_shield", options, shield)
        await shield.aclose()

    async def test_a_services_429_is_a_verdict(
        self, configured: ConfiguredShield, service: FakeModerationService
    ) -> None:
        service.reply = lambda _: (429, b"slow down")
        verdict = (await screened(configured, "hello")).verdicts[0]
        assert verdict.action is Action.BLOCK
        assert verdict.error
        assert "429" not in (verdict.message or "")


# Requests


async def test_the_request_is_the_formats(service: FakeModerationService, build: Build) -> None:
    shield = build(api_key=KEY, model="omni")
    assert await ask(shield, "héllo <image>") == Allow(score=0.02)
    assert service.requests == [{"input": ["héllo <image>"], "model": "omni"}]
    assert service.headers[0]["Authorization"] == f"Bearer {KEY}"
    await ask(build(api_key=""), "x")
    assert service.requests[1] == {"input": ["x"]}
    assert "Authorization" not in service.headers[1]


async def test_concurrent_checks_are_few_requests(
    service: FakeModerationService, build: Build
) -> None:
    shield = build()
    texts = [f"text {n}" + " punch" * (n % 3 == 0) for n in range(40)]
    answers = await asyncio.gather(*(ask(shield, text) for text in texts))
    assert [isinstance(answer, Block) for answer in answers] == [n % 3 == 0 for n in range(40)]
    assert sorted(len(request["input"]) for request in service.requests) == [8, 32]
    for text in texts[:5]:
        await ask(shield, text)
    assert len(service.requests) == 7
    assert service.connections == 2  # kept and used again


async def test_a_text_of_5_mb_is_judged_whole(service: FakeModerationService, build: Build) -> None:
    shield = build(timeout_s=30)
    text = "word " * 1_000_000
    assert isinstance(await ask(shield, text), Allow)
    assert len(service.requests) == 17
    assert max(map(len, service.texts)) == 10_000
    assert sum(map(len, service.texts)) >= len(text)
    assert isinstance(await ask(shield, f"{text[:3_210_987]} punch {text[:700_000]}"), Block)
    assert service.connections <= 8


async def test_a_bounded_number_of_parts(service: FakeModerationService, build: Build) -> None:
    shield = build(max_chars=200, max_parts=5)
    text = "".join(f"{n:07d}," for n in range(10_000))
    assert isinstance(await ask(shield, text), Allow)
    assert len(service.texts) == 5
    assert text.startswith(service.texts[0])
    assert text.endswith(service.texts[-1])


async def test_cutting_hides_nothing(service: FakeModerationService, build: Build) -> None:
    shield = build(max_chars=200)
    places = range(150, 420, 7)
    texts = [f"{'a' * place} punch {'b' * (600 - place)}" for place in places]
    answers = await asyncio.gather(*(ask(shield, text) for text in texts))
    assert all(isinstance(answer, Block) for answer in answers)


async def test_nothing_to_read_is_not_asked(service: FakeModerationService, build: Build) -> None:
    shield = build()
    for text in ("", " \n\t", "\u200b" * 100_000):
        assert await ask(shield, text) == Allow()
    assert service.requests == []


# Categories


async def test_what_is_flagged_blocks_with_every_score(build: Build) -> None:
    answer = await ask(build(), "vermin")
    assert isinstance(answer, Block)
    assert answer.score == 0.9
    assert answer.categories == {
        "violence": 0.01,
        "hate": 0.9,
        "hate/threatening": 0.0,
        "illicit": 0.0,
    }


async def test_chosen_categories_and_scores(build: Build) -> None:
    assert await ask(build(categories={"violence": None}), "vermin") == Allow(score=0.01)
    found = await ask(build(categories={"hate": None}), "vermin")
    assert found == Block(score=0.9, categories={"hate": 0.9})
    assert isinstance(await ask(build(categories={"hate": 0.9}), "vermin"), Block)
    assert isinstance(await ask(build(categories={"hate": 0.91}), "vermin"), Allow)
    low = await ask(build(categories={"violence": 0.01, "hate": 0.5}), "hello")
    assert low == Block(score=0.02, categories={"violence": 0.01, "hate": 0.02})


@pytest.mark.parametrize("categories", [{"rudeness": None}, {"rudeness": 0.5}, {"illicit": None}])
async def test_a_category_that_is_not_judged_is_a_failure(
    build: Build, categories: dict[str, float | None]
) -> None:
    with pytest.raises(UnavailableError, match=r"not judge category .*hate, hate/threatening, v"):
        await ask(build(categories=categories), "hello")


async def test_a_service_without_scores(service: FakeModerationService, build: Build) -> None:
    service.reply = lambda _: (
        200,
        b'{"results": [{"flagged": true, "categories": {"hate": true, "violence": false}}]}',
    )
    assert await ask(build(), "x") == Block(score=1.0, categories={"hate": 1.0, "violence": 0.0})
    with pytest.raises(UnavailableError, match="choose from none"):
        await ask(build(categories={"hate": 0.5}), "x")


# Failures


def body(results: object) -> Reply:
    return 200, json.dumps({"results": results}).encode()


def one_result(**changed: object) -> Reply:
    return body([judged("x") | changed])


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((429, b"slow down"), "status 429"),
        ((500, b"private text"), "status 500"),
        ((503, b""), "status 503"),
        ((400, b"private text"), "status 400"),
        ((401, b"Bearer " + KEY.encode()), "status 401"),
        ((404, b"<html>"), "status 404"),
        ((301, b""), "status 301"),
        ((307, b""), "status 307"),
        ((204, b""), "status 204"),
        (None, "can't be reached"),
        ((200, b""), "no moderation"),
        ((200, b"<html>private text</html>"), "no moderation"),
        ((200, b'{"results": [{"flagged": true}'), "no moderation"),
        ((200, b"null"), "no moderation"),
        ((200, b"[" * 5000), "no moderation"),
        ((200, b"{}"), "no moderation"),
        ((200, b"\xff\xfe"), "no moderation"),
        (body(None), "no moderation"),
        (body([None]), "no moderation"),
        (body([{}]), "no moderation"),
        (one_result(flagged="no"), "no moderation"),
        (one_result(flagged=0), "no moderation"),
        (one_result(category_scores={"hate": 1.5}), "no moderation"),
        (one_result(category_scores={"hate": float("nan")}), "no moderation"),
        (one_result(category_scores={"hate": "high"}), "no moderation"),
        (one_result(categories={"private text\nof the user": True}), "no moderation"),
        (body([]), "0 results for 1 texts"),
        (body([judged("x")] * 2), "2 results for 1 texts"),
        ((200, b" " * 1_100_000), "more than 1000000 bytes"),
    ],
)
async def test_every_failure_is_one_line_without_secrets(
    service: FakeModerationService, build: Build, reply: Reply | None, reason: str
) -> None:
    service.reply = lambda _: reply
    shield = build(api_key=KEY)
    with pytest.raises(UnavailableError, match=reason) as failed:
        await ask(shield, "private text of the user")
    told = str(failed.value)
    assert (failed.value.status_code, "\n" in told) == (503, False)
    assert "private" not in told
    assert KEY not in told + repr(shield._options)
    assert len(service.requests) == 1  # asked once, and nobody else is asked
    service.reply = moderations
    assert isinstance(await ask(shield, "hello"), Allow)


async def test_a_service_that_is_not_there(service: FakeModerationService) -> None:
    service.stop()
    shield = ModerationShield(options(service.url))
    try:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1 can't be reached \(ConnectE"):
            await ask(shield, "hello")
    finally:
        await shield.aclose()


async def test_a_service_that_hangs(service: FakeModerationService, build: Build) -> None:
    service.gate.clear()
    with pytest.raises(UnavailableError, match="did not answer in time"):
        await ask(build(timeout_s=0.1), "hello")


async def test_a_failed_request_fails_only_its_own_checks(
    service: FakeModerationService, build: Build
) -> None:
    def picky(request: dict[str, Any]) -> Reply:
        return (500, b"") if "bad apple" in request["input"] else moderations(request)

    service.reply = picky
    shield = build()
    texts = [*(f"text {n}" for n in range(32)), "bad apple", "beside it"]
    answers = await asyncio.gather(*(ask(shield, t) for t in texts), return_exceptions=True)
    assert [isinstance(answer, Allow) for answer in answers] == [True] * 32 + [False] * 2
    assert len(service.requests) == 2


# Cancellation


async def test_a_check_that_gives_up_leaves_the_others(
    service: FakeModerationService, build: Build
) -> None:
    service.gate.clear()
    shield = build()
    checks = [asyncio.create_task(ask(shield, f"text {n}")) for n in range(4)]
    await until(lambda: len(service.requests) == 1)
    checks[1].cancel()
    late = asyncio.create_task(ask(shield, "late"))
    never_sent = asyncio.create_task(ask(shield, "never sent"))
    await asyncio.sleep(0)
    never_sent.cancel()
    await until(lambda: len(service.requests) == 2)
    service.gate.set()
    answers = await asyncio.gather(*checks, late, never_sent, return_exceptions=True)
    kinds = [type(answer) for answer in answers]
    assert kinds == [Allow, asyncio.CancelledError, Allow, Allow, Allow, asyncio.CancelledError]
    assert "never sent" not in service.texts
    assert len(service.requests) == 2


async def test_a_request_that_nobody_waits_for_is_dropped(
    service: FakeModerationService, build: Build
) -> None:
    service.gate.clear()
    shield = build()
    checks = [asyncio.create_task(ask(shield, f"text {n}")) for n in range(3)]
    await until(lambda: len(service.requests) == 1)
    for check in checks:
        check.cancel()
    await asyncio.gather(*checks, return_exceptions=True)
    asking = shield._asking
    assert asking is not None
    await until(lambda: not asking.batches._calls)


async def test_closing_tells_who_still_waits(service: FakeModerationService, build: Build) -> None:
    service.gate.clear()
    shield = build()
    check = asyncio.create_task(ask(shield, "hello"))
    await until(lambda: len(service.requests) == 1)
    await shield.aclose()
    with pytest.raises(UnavailableError, match="was closed"):
        await check
    service.gate.set()
    assert isinstance(await ask(shield, "again"), Allow)


def test_a_shield_outlives_its_event_loop(service: FakeModerationService) -> None:
    shield = ModerationShield(options(service.url))

    async def once() -> Answer:
        return await ask(shield, "hello")

    async def last() -> None:
        await once()
        await shield.aclose()

    assert isinstance(asyncio.run(once()), Allow)
    asyncio.run(last())


# The queue


async def test_the_queue_is_bounded() -> None:
    gate = asyncio.Event()
    sizes: list[int] = []

    async def answer(items: Any) -> list[int]:
        sizes.append(len(items))
        await gate.wait()
        return [10 * item for item in items]

    batches = MicroBatches[int, int](answer, size=4, linger_s=0.001, most_calls=2, most_waiting=10)
    running = [asyncio.create_task(batches.submit([n])) for n in range(8)]
    await asyncio.sleep(0.01)
    assert sizes == [4, 4]
    waiting = [asyncio.create_task(batches.submit([n, n])) for n in range(5)]
    await asyncio.sleep(0.01)
    assert sizes == [4, 4]
    with pytest.raises(UnavailableError, match="10 of 10"):
        await batches.submit([1])
    waiting[0].cancel()
    await asyncio.sleep(0)
    late = asyncio.create_task(batches.submit([7, 8]))
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*running) == [[10 * n] for n in range(8)]
    assert await asyncio.gather(*waiting[1:]) == [[10 * n] * 2 for n in range(1, 5)]
    assert await late == [70, 80]
    assert sizes == [4, 4, 4, 4, 2]
    await batches.aclose()


async def test_more_than_the_queue_holds_passes_where_nobody_waits() -> None:
    async def answer(items: Any) -> list[int]:
        return list(items)

    batches = MicroBatches[int, int](answer, size=4, linger_s=0, most_calls=2, most_waiting=10)
    assert await batches.submit(range(50)) == list(range(50))
    assert await batches.submit([]) == []
    await batches.aclose()


async def test_too_few_answers_are_a_failure() -> None:
    async def answer(items: Any) -> list[int]:
        return []

    batches = MicroBatches[int, int](answer, size=4, linger_s=0, most_calls=2, most_waiting=10)
    with pytest.raises(ValueError, match="shorter"):
        await batches.submit([1, 2])


# Options


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "no address"}, "url"),
        ({"url": "https://me:secret@moderation.example/"}, "give its key in `api_key`"),
        ({"api_key": "two\nlines"}, "can't be sent"),
        ({"api_key": "schlüssel"}, "can't be sent"),
        ({"categories": {"hate": 0}}, "categories"),
        ({"categories": {"hate": 1.1}}, "categories"),
        ({"max_chars": 10}, "max_chars"),
        ({"verify_tls": False}, "verify_tls"),
    ],
)
def test_wrong_options(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        options(given.pop("url", "https://moderation.example/v1/moderations"), **given)


def test_what_the_policy_reads() -> None:
    own = options("https://moderation.example/v1/moderations", api_key=KEY)
    assert (own.remote, own.beside_model, own.models) == (True, True, ())
    assert KEY not in repr(own) + str(own.model_dump()) + own.model_dump_json()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  # the service runs in a thread
            await asyncio.sleep(0.002)
