"""Redaction: which values it finds, which it leaves, and how it numbers them."""

import asyncio
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from shield_contract import ShieldContract

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.shields.base import Allow, Models, Replace, Shield
from lightspeed_providers.safety.shields.redacting.numbers import Conversations
from lightspeed_providers.safety.shields.redaction import RedactionOptions

INPUT, OUTPUT = Direction.INPUT, Direction.OUTPUT
CARD, AMEX, IBAN = "4111 1111 1111 1111", "3782 822463 10005", "DE89 3704 0044 0532 0130 00"
AWS, GITHUB = "AKIA" + "IOSFODNN7EXAMPLE", "ghp_" + "a1B2c3D4e5F6" * 3
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"
ESCAPED_PEM = PEM.replace("\n", "\\n")


class TestRedaction(ShieldContract):
    options = {"kind": "redaction"}  # noqa: RUF012  # the contract declares it
    must_replace = {  # noqa: RUF012
        "Write to jane.doe+x@mail.example.co.uk.": "Write to <EMAIL_1>.",
        "a@b.org, c@d.org and A@B.org": "<EMAIL_1>, <EMAIL_2> and <EMAIL_1>",
        "(mailto:o'neil@example.com)": "(mailto:<EMAIL_1>)",
        "jürgen@example.org": "<EMAIL_1>",
        "søren@blåbær.example": "<EMAIL_1>",
        "请联系user@example.com。": "请联系<EMAIL_1>。",
        "邮箱：用户@例子.广告": "邮箱：<EMAIL_1>",
        "?to=user%40example.com&x": "?to=<EMAIL_1>&x",
        "?to=user%40example.com for user@example.com": "?to=<EMAIL_1> for <EMAIL_1>",
        "postgres://me:s3cr3t@db.example.com/x": "postgres://me:<KEY_1>@db.example.com/x",
        "redis://:mCznbtsxUtFE@cache:6379/1": "redis://:<KEY_1>@cache:6379/1",
        f"card {CARD}!": "card <CARD_1>!",
        f"{CARD.replace(' ', '')} or {CARD.replace(' ', '-')}": "<CARD_1> or <CARD_1>",
        f"{AMEX}, 5555555555554444": "<CARD_1>, <CARD_2>",
        f"room 1234 {CARD} 99": "room 1234 <CARD_1> 99",
        f"{CARD} 1,000 or {CARD.replace(' ', '-')} 12": "<CARD_1> 1,000 or <CARD_1> 12",
        "card_4111111111111111_x": "card_<CARD_1>_x",
        f"pay {IBAN} now": "pay <IBAN_1> now",
        f"{IBAN.replace(' ', '')} = {IBAN.lower()}": "<IBAN_1> = <IBAN_1>",
        f"GB82 WEST 1234 5698 7654 32 then {IBAN} today": "<IBAN_1> then <IBAN_2> today",
        f"AT12 3456 {IBAN}": "AT12 3456 <IBAN_1>",
        "IP 10.1.2.3, 203.0.113.7.": "IP <IP_1>, <IP_2>.",
        "地址10.1.2.3。": "地址<IP_1>。",
        "[2001:db8::8a2e:370:7334]:80, fe80::1, ::ffff:10.1.2.3": "[<IP_1>]:80, <IP_2>, <IP_3>",
        "host all 10.1.2.3/32": "host all <IP_1>/32",
        "Call +49 (0)30 901820-0 or +1 415-555-2671.": "Call <PHONE_1> or <PHONE_2>.",
        "(415) 555-2671 ext. 12; 0171 2345678": "<PHONE_1>; <PHONE_2>",
        "tel: 555 0123, fax 030/1234567": "tel: <PHONE_1>, fax <PHONE_2>",
        "ssn 123-45-6789": "ssn <SSN_1>",
        f"key={AWS};": "key=<KEY_1>;",
        f"{AWS} / 7NTxlNM+C7Y3WSUnn/wHZQtdaO78FgXI60IopduR": "<KEY_1> / <KEY_2>",
        f"token '{GITHUB}' {GITHUB}": "token '<KEY_1>' <KEY_1>",
        f"before\n{PEM}\nafter": "before\n<KEY_1>\nafter",
        f'"private_key": "{ESCAPED_PEM}\\n",': '"private_key": "<KEY_1>\\n",',
        PEM[:45]: "<KEY_1>",
        "sk-proj-" + "Ab1_" * 100: "<KEY_1>",
        "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMe. Then": "<KEY_1>. Then",
        "SECRET_KEY = 'k8#2hx!l$9w@z1q(d)'": "SECRET_KEY = '<KEY_1>'",
        "password=Tr0ub4dor&3 and": "password=<KEY_1> and",
        "My password is Summer2024! Why?": "My password is <KEY_1>! Why?",
        "Authorization: Bearer abc123def456ghi789": "Authorization: Bearer <KEY_1>",
        "curl -u admin:S3cret-pw9 https://x": "curl -u admin:<KEY_1> https://x",
        "x AccountKey=" + "aB3/" * 21 + "aB==;End": "x AccountKey=<KEY_1>;End",
        f'"b\\n{AWS}\\n+41 36 507 52 91\\nme@a.org"': r'"b\n<KEY_1>\n<PHONE_1>\n<EMAIL_1>"',
        "7545567673:AA_TBIUdh3CM09J6ol3vEVAOpxh2FRobTsn": "<KEY_1>",
        "<EMAIL_4> said a@b.org": "<EMAIL_4> said <EMAIL_5>",
        f"a@b.org {CARD} {IBAN} 8.8.8.8": "<EMAIL_1> <CARD_1> <IBAN_1> <IP_1>",
        f"call 12345 {CARD}": "call 12345 <CARD_1>",
        "lone \ud800 a@b.org": "lone \ud800 <EMAIL_1>",
    }
    must_allow = (
        "@login_required on a view, x@y, user@localhost, static('a@2x.png')",
        "git@github.com:django/django.git, postgresql://app@db.internal:5432/shop",
        "runserver 0.0.0.0:8000 or 127.0.0.1, mask 255.255.255.0, allow 10.0.0.0/8",
        "version 1.2.3 and 1.2.3.4.5 and 300.1.2.3 and v1.2.3.4",
        "PostGIS 3.4.2.1, GEOS 3.12.1.0, upgrade from 9.6.24 to 17.2.0.1, Chrome/120.0.0.0",
        "x[1::2], std::vector, ::1, '::', 12:34:56, aa:bb:cc:dd:ee:ff, 'a'::text",
        "4111 1111 1111 1112 has a wrong check digit, as has DE88 3704 0044 0532 0130 00",
        "1712345678901 milliseconds, id 550e8400-e29b-41d4-a716-446655440000",
        "2024-01-15 10:20:30.123456, 01.02.2024, ISBN 978-3-16-148410-0, 0001_initial",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "@@ -1,7 +10,9 @@ +12345678, AutoField max 2147483647",
        "SECRET_KEY = 'django-insecure-…', SECRET_KEY = os.environ['SECRET_KEY_2024']",
        "password=get_password2(user), token = 'your-token-here-1', max_tokens=128",
        "postgres://user:password@localhost/db, postgres://app:****@db/app",
        "risk-based-authentication-strategy, sk-fading-circle-container-item",
        "The file begins with -----BEGIN PRIVATE KEY----- and must be yours alone.",
        "git commit 4a5b6c, 12 34 56 78 90 12 34 56",
        "<EMAIL_1> and <CARD_2>",
    )

    async def test_rewriting_is_final(self, shield: Shield) -> None:
        for rewritten in self.must_replace.values():
            assert await shield.check(rewritten, INPUT, Context()) == Allow()

    async def test_counts_the_places(self, shield: Shield) -> None:
        answer = await shield.check("a@b.org c@d.org a@b.org", OUTPUT, Context())
        assert answer == Replace("<EMAIL_1> <EMAIL_2> <EMAIL_1>", {"EMAIL": 3})

    async def test_finds_planted_values_anywhere(self, shield: Shield) -> None:
        chance = random.Random(7)
        planted = {CARD: "CARD", IBAN: "IBAN", "x.y@z.org": "EMAIL", "9.8.7.6": "IP", GITHUB: "KEY"}
        words = ["user", "n=42", "2024-01-31", "a.b", "1,000", "AB12", "über", "f(x)", "0001", "::"]
        for _ in range(300):
            value = chance.choice([*planted])
            around = [chance.choice(words) for _ in range(8)]
            text = f"{' '.join(around[:4])} {value} {' '.join(around[4:])}"
            answer = await shield.check(text, INPUT, Context())
            assert isinstance(answer, Replace), text
            assert answer.text == text.replace(value, f"<{planted[value]}_1>")

    @pytest.fixture
    def shield(self, models: Models) -> Shield:
        return RedactionOptions.model_validate(self.options).build(models)


@pytest.fixture
def redaction(models: Models) -> Shield:
    return RedactionOptions(kind="redaction").build(models)


@pytest.fixture
def models() -> Models:
    def none(model_id: str) -> object:
        raise AssertionError(model_id)

    return Models(none, none)  # type: ignore[arg-type]  # never asked


async def rewritten(
    shield: Shield, text: str, context: Context, direction: Direction = INPUT
) -> str:
    answer = await shield.check(text, direction, context)
    return answer.text if isinstance(answer, Replace) else text


async def test_only_what_is_configured_is_rewritten(models: Models) -> None:
    shield = RedactionOptions(kind="redaction", entities=frozenset({"email"})).build(models)
    assert await rewritten(shield, f"a@b.org {CARD} {AWS}", Context()) == f"<EMAIL_1> {CARD} {AWS}"


async def test_one_value_keeps_one_placeholder_within_a_conversation(redaction: Shield) -> None:
    first, second = Context(thread="first"), Context(thread="second")
    assert await rewritten(redaction, "x@a.org and y@a.org", first) == "<EMAIL_1> and <EMAIL_2>"
    assert await rewritten(redaction, "only y@a.org", first, OUTPUT) == "only <EMAIL_2>"
    scanner = redaction.scanner(OUTPUT, first)
    assert scanner is not None
    streamed = scanner.push("z@a.org, Y@A.or"), scanner.push("g"), scanner.end()
    assert "".join(getattr(part, "text", "") for part in streamed) == "<EMAIL_3>, <EMAIL_2>"
    assert await rewritten(redaction, "only y@a.org", second) == "only <EMAIL_1>"
    assert await rewritten(redaction, "only y@a.org", Context()) == "only <EMAIL_1>"


async def test_after_a_restart_no_placeholder_is_given_twice(redaction: Shield) -> None:
    earlier = Context(thread="t", history=("I am <EMAIL_3>, card <CARD_1>.",))
    assert await rewritten(redaction, "new@a.org 8.8.8.8", earlier) == "<EMAIL_4> <IP_1>"
    assert await rewritten(redaction, "x@a.org is not <EMAIL_9>", earlier) == (
        "<EMAIL_10> is not <EMAIL_9>"
    )


def test_conversations_and_values_are_forgotten_in_the_end() -> None:
    conversations = Conversations()
    for place in range(10_050):
        conversations.numbers(f"thread {place}")
    assert len(conversations._numbers) == 10_000
    numbers = conversations.numbers("thread 10049")
    for place in range(2_100):
        numbers.number("IP", value_digest(numbers, place))
    assert len(numbers._numbers) == 2_000
    assert numbers.number("IP", value_digest(numbers, 2_099)) == 2_100
    assert numbers.number("IP", value_digest(numbers, 0)) == 2_101, "forgotten, so a new number"


def value_digest(numbers: object, place: int) -> object:
    digest = numbers.digest("IP")  # type: ignore[attr-defined]
    digest.update(b"%d" % place)
    return digest


def test_no_value_is_kept(redaction: Shield) -> None:
    asyncio.run(redaction.check("secret.person@a.org", INPUT, Context(thread="t")))
    numbers = redaction._conversations.numbers("t")  # type: ignore[attr-defined]
    assert numbers._numbers
    assert all(b"secret" not in value and len(value) == 16 for value in numbers._numbers)


def test_many_threads_agree_on_the_numbers(redaction: Shield) -> None:
    addresses = [f"user{place}@a.org" for place in range(200)]

    def numbered(seed: int) -> dict[str, str]:
        shuffled = random.Random(seed).sample(addresses, len(addresses))
        text = asyncio.run(rewritten(redaction, "\n".join(shuffled), Context(thread="t")))
        return dict(zip(shuffled, text.split("\n"), strict=True))

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(numbered, range(8))
    assert all(other == first for other in others)
    assert len(set(first.values())) == len(addresses)


def baits() -> Iterator[tuple[str, str]]:
    chance = random.Random(3)
    yield "digits", "4 1" * 300_000
    yield "half addresses", "DE89 " * 10_000 + "1.1." * 100_000
    yield "unclosed keys", "-----BEGIN PRIVATE KEY-----" * 20_000
    yield "backtracking", "a" * 100_000 + "@" + "a." * 50_000 + "!" * 10
    yield "at signs", "a@" * 500_000
    yield "one long key", "ghp_" + "aB3" * 1_500_000
    yield "no key ever ends", "-----BEGIN PRIVATE KEY-----\n" + "MIIB" * 1_000_000
    yield "passwords", "password=" * 100_000
    yield "colons", "1:" * 500_000
    yield "plus signs", "+1 " * 500_000
    yield "groups", "".join(f"{chance.randrange(10_000):04d} " for _ in range(100_000))
    yield "5 MB of prose", "Django forms and views, in full. " * 150_000


@pytest.mark.parametrize(("name", "text"), list(baits()), ids=[name for name, _ in baits()])
async def test_hostile_texts_take_bounded_time_beside_others(
    name: str, text: str, redaction: Shield
) -> None:
    longest_gap = 0.0

    async def watch() -> None:
        nonlocal longest_gap
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest_gap = max(longest_gap, time.perf_counter() - before)

    await redaction.check("warm", INPUT, Context())
    watching = asyncio.create_task(watch())
    began = time.process_time()
    await redaction.check(text, INPUT, Context())
    took = time.process_time() - began
    watching.cancel()
    print(f"BAIT {name}: {took:.2f} s CPU, gap {longest_gap * 1000:.0f} ms")
    assert took < 4  # alone, half a second
    assert longest_gap < 0.25
