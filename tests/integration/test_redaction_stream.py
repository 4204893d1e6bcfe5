"""Redaction of streams: whatever the chunks, what leaves is the whole text rewritten."""

import asyncio
import json
import random
import string
from functools import cache
from pathlib import Path

import pytest

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.shields.base import Models, Replace, Scanned, Shield
from lightspeed_providers.safety.shields.redaction import RedactionOptions

TUNING = Path(__file__).parents[2] / "benchmarks" / "shields" / "personal-data.tuning.jsonl"
CHUNKINGS = 10_000
WORDS_TEXT = """user n=42 2024-01-31 a.b 1,000 AB12 über f(x) 0001 :: token: password= secret 'x'
DE89 +49 (030) <div> <EMAIL_2> <KEY_ 文字 user@ @b.org 10.1. 1.2.3.4.5 -----BEGIN sk- ghp_ eyJ tel.
https://a:b AKIA 4111 1111 ---- key-0123 "api_key": Authorization: Bearer %40 é😀 ., )"""
WORDS = [*WORDS_TEXT.split(), "\n", "\t", "\u00a0", "\ud800", ""]
KEYS = ("ghp_", "sk-proj-", "glpat-", "xoxb-", "hf_", "npm_", "AIza", "eyJhbGciOi", "dop_v1_")


def planted(chance: random.Random) -> str:
    """Return a value, or nearly one."""

    def some(alphabet: str, least: int, most: int) -> str:
        return "".join(chance.choices(alphabet, k=chance.randint(least, most)))

    digits, letters = string.digits, string.ascii_letters
    make = (
        lambda: f"{some(letters + '.+é', 1, 12)}@{some(letters, 1, 8)}.{some(letters, 1, 4)}",
        lambda: chance.choice(("4111 1111 1111 1111", "378282246310005", "5555-5555-5555-4444")),
        lambda: chance.choice(("DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432")),
        lambda: ".".join(some(digits, 1, 3) for _ in range(chance.randint(3, 5))),
        lambda: f"2001:db8:{some('0123456789abcdef:', 3, 12)}",
        lambda: f"+{some(digits + ' -', 6, 16)}",
        lambda: f"({some(digits, 3, 3)}) {some(digits, 3, 3)}-{some(digits, 4, 4)}",
        lambda: f"{some(digits, 3, 3)}-{some(digits, 2, 2)}-{some(digits, 4, 4)}",
        lambda: chance.choice(KEYS) + some(letters + digits + "_-.", 10, 300),
        lambda: f"password = '{some(letters + digits + '!$&', 6, 200)}'",
        lambda: f"db://me:{some(letters + digits, 3, 40)}@host.org/x",
        lambda: (
            "-----BEGIN PRIVATE KEY-----\n"
            + "\n".join(some(letters + digits + "+/", 1, 64) for _ in range(chance.randint(1, 6)))
            + chance.choice(("", "\n-----END PRIVATE KEY-----", "\n-----END", "\n---x"))
        ),
        lambda: f"AKIA{some(string.ascii_uppercase, 16, 16)} / {some(letters + digits, 38, 41)}",
    )
    return chance.choice(make)()


def made(chance: random.Random) -> str:
    """Return a text of words, signs and values, now and then without a blank between."""
    parts = (
        planted(chance) if chance.random() < 0.3 else chance.choice(WORDS)
        for _ in range(chance.randint(1, 9))
    )
    return "".join(part + chance.choice(("", " ", " ", " ", "\n")) for part in parts)


@cache
def real() -> list[str]:
    lines = TUNING.read_text().splitlines() if TUNING.is_file() else []
    return [json.loads(line)["text"] for line in lines]


@pytest.fixture(scope="module")
def shield() -> Shield:
    def none(model_id: str) -> object:
        raise AssertionError(model_id)

    options = RedactionOptions(kind="redaction")
    return options.build(Models(none, none))  # type: ignore[arg-type]  # never asked


def whole(shield: Shield, text: str) -> str:
    check = shield.check(text, Direction.OUTPUT, Context())
    try:
        check.send(None)
    except StopIteration as answered:
        return answered.value.text if isinstance(answered.value, Replace) else text
    raise AssertionError("a short text needs no thread")


def chunks(text: str, chance: random.Random) -> list[str]:
    longest = chance.choice((9, 40, 150, 1000)) if len(text) > 40 else 1
    cut: list[str] = []
    while text:
        size = chance.randint(0 if chance.random() < 0.05 else 1, longest)
        cut.append(text[:size])
        text = text[size:]
    return cut


def streamed(shield: Shield, parts: list[str]) -> list[str]:
    scanner = shield.scanner(Direction.OUTPUT, Context())
    assert scanner is not None
    gone: list[str] = []
    for part in parts:
        scanned = scanner.push(part)
        assert isinstance(scanned, Scanned)
        gone.append(scanned.text)
    scanned = scanner.end()
    assert isinstance(scanned, Scanned)
    assert scanner.held == ""
    return [*gone, scanned.text]


def test_any_chunks_give_the_whole_text_rewritten(shield: Shield) -> None:
    chance = random.Random(11)
    count = 0
    for text in [*real(), *(made(chance) for _ in range(1_900))]:
        expected = whole(shield, text)
        for _ in range(5):
            parts = chunks(text, chance)
            assert "".join(streamed(shield, parts)) == expected, (text, parts)
            count += 1
    assert count >= CHUNKINGS


def test_nothing_of_a_value_leaves_at_any_split(shield: Shield) -> None:
    chance = random.Random(5)
    for value in ("jane.doe@example.org", "4111 1111 1111 1111", "ghp_" + "a1B2c3D4e5F6" * 3):
        text = f"Reference record: {value} {made(chance)}"
        expected = whole(shield, text)
        assert value not in expected
        begin = text.index(value)
        for split in range(begin + 1, begin + len(value)):
            scanner = shield.scanner(Direction.OUTPUT, Context())
            assert scanner is not None
            first = scanner.push(text[:split])
            assert isinstance(first, Scanned)
            assert expected.startswith(first.text)
            assert len(first.text) <= begin


def test_what_is_held_is_what_has_not_left(shield: Shield) -> None:
    text = "All of it is prose, with (nothing) to hide: 12 or 42 items, at most. " * 5
    scanner = shield.scanner(Direction.OUTPUT, Context())
    assert scanner is not None
    left, held = "", []
    for place, character in enumerate(text, 1):
        scanned = scanner.push(character)
        assert isinstance(scanned, Scanned)
        left += scanned.text
        assert left + scanner.held == text[:place]
        held.append(len(scanner.held))
    assert sorted(held)[int(len(held) * 0.99)] <= 64


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        ("-----BEGIN PRIVATE KEY-----\n", "MIIBaB3/\n"),
        ("ghp_" + "a1B2c3D4e5F6" * 3, "a1B2c3"),
        ("password='abcDEF123!", "x1Y2z3"),
        ("", "endless"),
        ("", "a@"),
        ("", "1 "),
        ("me@", "example."),
        ("https://u:", "word"),
    ],
)
def test_what_never_ends_takes_no_memory(shield: Shield, begin: str, more: str) -> None:
    scanner = shield.scanner(Direction.OUTPUT, Context())
    assert scanner is not None
    scanner.push(begin)
    for _ in range(2_000):
        scanner.push(more)
        assert len(scanner.held) <= 1_000
    assert len(scanner._rewriter._search.data) < 2_000  # type: ignore[attr-defined]


def test_streams_of_one_conversation_share_its_numbers(shield: Shield) -> None:
    context = Context(thread="stream")
    asyncio.run(shield.check("x@a.org", Direction.INPUT, context))
    scanners = [shield.scanner(Direction.OUTPUT, context) for _ in range(2)]
    texts = []
    for scanner, address in zip(scanners, ("y@a.org", "x@a.org"), strict=True):
        assert scanner is not None
        texts.append([scanner.push(address), scanner.end()])
    assert [[part.text for part in parts if isinstance(part, Scanned)] for parts in texts] == [
        ["", "<EMAIL_2>"],
        ["", "<EMAIL_1>"],
    ]
