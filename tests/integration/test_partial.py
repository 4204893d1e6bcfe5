"""Where the tail of a text could still become part of a match, against brute force."""

import itertools
import random
import time

import pytest
import re2  # type: ignore[import-untyped]  # ships no type information

from lightspeed_providers.safety.shields.matching.partial import PartialPattern
from lightspeed_providers.safety.shields.matching.partial_syntax import folded, without_gaps

EMAIL = (
    r"[A-Za-z0-9_](?:[A-Za-z0-9._%+'-]{0,62}[A-Za-z0-9_%+-])?"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}"
)
KEYS = (
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,255}|\bya29\.[A-Za-z0-9_-]{20,512}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}|-----BEGIN [A-Z ]{0,30}KEY-----(?s:.*?)-----END"
)


@pytest.mark.parametrize(
    ("expression", "text", "tail"),
    [
        ("abc", "xxab", "ab"),
        ("abc", "xxabc", ""),
        ("abc", "xxabcx", ""),
        ("abc", "ababd", ""),
        ("ab+", "xabb", "abb"),
        ("a{2,3}", "xaa", "aa"),
        ("a{2,3}", "xaaa", "aa"),  # which begin another match
        (r"\bab\b", "xab", ""),
        (r"\bab\b", "x ab", "ab"),
        ("ab$", "ab", "ab"),
        ("ab$", "ab ", ""),
        ("^ab", "a", "a"),
        ("^ab", "xa", ""),
        ("(?m)^ab", "x\na", "a"),
        ("(?i)a(?-i)b", "xA", "A"),
        ("(?i)a(?-i)bc", "xAB", ""),
        ("(?:a|bc)d", "xbc", "bc"),
        (r"\Qa.b\E\*", "xa.b", "a.b"),
        (r"[[:digit:]\]-]x", "a]", "]"),
        (r"\x{61}\x62c", "xab", "ab"),
        (r"\pL{3}", "1ab", "ab"),
        (r"(?P<name>a)b??c", "za", "a"),
        ("a.*b", "a and c", "a and c"),
        ("a.*b", "a\nc", ""),
        (EMAIL, "write to jane.doe@exam", "jane.doe@exam"),
        (EMAIL, "write to jane.doe@exam ", ""),
        (KEYS, "the key AKIA12", "AKIA12"),
        (KEYS, "the key AKIa", ""),
        (KEYS, "-----BEGIN PRIVATE KEY-----\nMII", "-----BEGIN PRIVATE KEY-----\nMII"),
    ],
)  # fmt: skip
def test_open_tails(expression: str, text: str, tail: str) -> None:
    data = text.encode()
    assert data[PartialPattern(expression).open_from(data) :].decode() == tail


def test_a_character_that_is_cut_is_open() -> None:
    pattern = PartialPattern("é文!")
    data = "xé文".encode()
    assert [pattern.open_from(data[:end]) for end in range(1, len(data) + 1)] == [1] * len(data)
    assert PartialPattern("abc").open_from(b"ab" + b"\xe6\x96") == 0
    assert PartialPattern(r"\xff", by_byte=True).open_from(b"\xc3") == 1


def test_what_stands_before_is_only_looked_at() -> None:
    pattern = PartialPattern(r"\bab|ac")
    assert pattern.open_from(b"xa", 1) == 1
    assert PartialPattern(r"\bab").open_from(b"xa", 1) == 2
    assert PartialPattern("abc").open_from(b"ab", 1) == 2


def expression_of(chance: random.Random, depth: int, *, asserts: bool) -> str:
    kind = chance.random()
    if depth == 0 or kind < 0.35:
        atoms = ["a", "b", "a", "b", "[ab]", ".", r"\x61", "[^a]", "[[:alpha:]]", r"\Qab\E", r"\pL"]
        if asserts:
            atoms += ["(?i:A)", "(?-s:.)", "é", r"\b", "^", "$", r"\B", "(?m:^)", "(?m:$)", r"\z"]
        return chance.choice(atoms)
    first = expression_of(chance, depth - 1, asserts=asserts)
    if kind < 0.75:
        other = expression_of(chance, depth - 1, asserts=asserts)
        return first + other if kind < 0.6 else f"({first}|{other})"
    counts = ["*", "+", "?", "{2}", "{0,2}", "{1,3}", "*?", "{1,}", "{0}"]
    return f"(?:{first}){chance.choice(counts)}"


def open_by_trial(expression: str, data: bytes, alphabet: list[bytes], length: int) -> int:
    """Return the first place where some extension makes a match that goes beyond the text."""
    options = re2.Options()
    options.longest_match = True
    pattern = re2.compile(expression.encode(), options)
    first = len(data)
    for count in range(1, length + 1):
        for extension in itertools.product(alphabet, repeat=count):
            text = data + b"".join(extension)
            for place in range(first):
                match = pattern.match(text, place)
                if match and match.end() > len(data):
                    first = place
                    break
    return first


@pytest.mark.parametrize("asserts", [False, True])
def test_no_extension_makes_a_match_that_was_not_open(asserts: bool) -> None:
    chance = random.Random(20 + asserts)
    alphabet = [b"a", b"b", *([b" ", b"\n", "é".encode()] if asserts else [])]
    tried = exact = 0
    while tried < 250:
        expression = expression_of(chance, 4, asserts=asserts)
        try:
            pattern = PartialPattern(expression)
        except ValueError:
            continue  # RE2 refuses some repetitions
        data = b"".join(chance.choices(alphabet, k=chance.randint(0, 7)))
        found = pattern.open_from(data)
        tried += 1
        tried_open = open_by_trial(expression, data, alphabet, 3 if asserts else 5)
        assert found <= tried_open, (expression, data)
        exact += found == tried_open
    # Some matches need a longer extension than the trial gives them; few do.
    assert asserts or exact >= 245


@pytest.mark.parametrize("expression", [EMAIL, KEYS, r"\b(ignore|forget)\b.{0,30}\b(rules)\b"])
def test_time_is_that_of_the_open_tail(expression: str) -> None:
    pattern = PartialPattern(expression, by_byte=True)
    baits = [
        b"a" * 1_000_000,
        b"ghp_" + b"A1b2" * 100_000,
        b"a." * 500_000 + b"@",
        b"ignore " * 99_999,
    ]
    for bait in baits:
        began = time.process_time()
        for _ in range(20):
            pattern.open_from(bait)
        assert time.process_time() - began < 0.5


def test_longest() -> None:
    lengths = {"abc|d": 3, "a{2,5}b?": 6, "a*": None, "é": 2, "[a-z]{3}": 3, ".": 4, r"\bx\b": 1}
    assert {e: PartialPattern(e).longest for e in lengths} == lengths


@pytest.mark.parametrize(
    ("expression", "reason"), [("(a", "missing"), ("(?:.{9}){100}" * 40, "too large|repetition")]
)
def test_what_cannot_be_followed_is_refused(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        PartialPattern(expression)


def test_long_lists_can_be_followed() -> None:
    phrases = "|".join(f"some phrase number {n} of many" for n in range(1_000))
    assert PartialPattern(phrases).open_from(b"here is some phrase number 17") == len("here is ")


def test_expressions_are_folded_as_texts_are() -> None:
    assert folded(r"\bпривет\s+мир") != r"\bпривет\s+мир"
    assert re2.search(folded("[а-я]{3}"), "мtp")
    assert re2.fullmatch(without_gaps(r"\ba b\s+c"), "abc")
