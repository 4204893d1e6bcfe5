"""A model's verdict, in the many ways that models word it."""

import time

import pytest

from lightspeed_providers.safety.shields.verdict_words import parse

ALLOWED = (
    "ALLOWED",
    "allowed.",
    "Allowed!",
    "**ALLOWED**",
    "`allowed`",
    '"ALLOWED"',
    "Allow",
    "accepted",
    "Approved",
    "permitted",
    "Yes",
    "yes.",
    "YES!",
    "y",
    "Yep",
    "yeah, that is fine",
    "Yes, it is about Django.",
    "true",
    "True.",
    "1",
    "1.",
    "OK",
    "okay",
    "Sure",
    "on-topic",
    "On topic.",
    "**on-topic**",
    "on_topic",
    "in scope",
    "within scope",
    "Valid",
    "VALID.",
    "relevant",
    "Answer: valid",
    "Answer: **ALLOWED**",
    "Verdict: yes",
    "The answer is yes.",
    "Final answer: ALLOWED",
    "Decision - allow",
    "```yes```",
    "```\nallowed\n```",
    '{"allowed": true}',
    '{"verdict": "ALLOWED"}',
    '{"is_on_topic": true}',
    '{"off_topic": false}',
    '{"blocked": "no"}',
    "I think this question is valid because it asks about models.",
    "This question is on topic.",
    "The question is allowed, since it is about views.",
    "It should be allowed",
    "not off-topic",
    "This is not rejected.",
    "<think>no, hmm, maybe rejected</think>ALLOWED",
    "<think>\nit is off topic?\n</think>\n\nyes",
    "<|channel|>final<|message|>ALLOWED",
    "ja",
    "Ja, erlaubt.",
    "oui",
    "sí",
    "Sí, permitido",
    "sim",
    "да",
    "はい",
    "是的",
    "允许",
    "許可",
    "네",
    "evet",
    "tak",
    "[ALLOWED]",
    "ALLOWED\n\nThe question is about forms.",
    "__allowed__",
    "A\u200bLLOWED",
    "ＡＬＬＯＷＥＤ",
    "Response: allowed",
    "It isn't off-topic.",
    "cannot be rejected",
    "> allowed",
    "- allowed",
    "allowed (follow-up)",
    "ALLOWED because it is not unrelated",
)

REJECTED = (
    "REJECTED",
    "rejected.",
    "**REJECTED**",
    "Reject",
    "refused",
    "denied",
    "Blocked",
    "declined",
    "disallowed",
    "not allowed",
    "Not allowed.",
    "NOT ALLOWED",
    "not permitted",
    "not valid",
    "isn't allowed",
    "isn’t valid",
    "No",
    "no.",
    "No, it is about cooking.",
    "nope",
    "n",
    "false",
    "0",
    "```no```",
    "off-topic",
    "Off topic.",
    "**off topic**",
    "off_topic",
    "out of scope",
    "outside the scope",
    "Invalid",
    "irrelevant",
    "unrelated",
    "Answer: no",
    "Answer: invalid",
    "Verdict: REJECTED",
    "The answer is no.",
    "Final answer: **rejected**",
    '{"allowed": false}',
    '{"verdict": "rejected"}',
    '{"on_topic": "no"}',
    '{"off_topic": true}',
    "I think this question is not valid because it is about bread.",
    "This question is off-topic.",
    "It is not on topic",
    "This should not be allowed.",
    "It cannot be allowed",
    "The question is unrelated to Django.",
    "<think>allowed? yes...</think>REJECTED",
    "nein",
    "Nein, nicht erlaubt.",
    "nicht erlaubt",
    "non",
    "não",
    "нет",
    "いいえ",
    "不是",
    "拒绝",
    "拒否",
    "不允许",
    "아니요",
    "rechazado",
    "abgelehnt",
    "hors sujet",
    "NO. Valid questions are about Django.",
    "REJECTED because only Django questions are allowed.",
    "RE\u200bJECTED",
    "inappropriate",
)

GARBAGE = (
    "",
    "   ",
    "...",
    "???",
    "maybe",
    "I don't know.",
    "ALLOWED or REJECTED",
    "ALLOWED/REJECTED",
    "yes or no",
    "Yes/No",
    "{}",
    '{"score": 0.3}',
    "[]",
    "The capital of France is Paris.",
    "To bake bread you need flour.",
    "Django is a web framework.",
    "42",
    "<think>it is allowed",
    "lorem ipsum dolor",
    "Question: How do I bake?",
    "model model model model",
    "🤖",
    "ALLOWED, REJECTED",
    "It is hard to say",
)


def test_the_table_is_as_long_as_is_claimed() -> None:
    assert len(set(ALLOWED)) >= 60
    assert len(set(REJECTED)) >= 60
    assert len(set(GARBAGE)) >= 15


@pytest.mark.parametrize("answer", ALLOWED)
def test_allowed(answer: str) -> None:
    assert parse(answer) is True


@pytest.mark.parametrize("answer", REJECTED)
def test_rejected(answer: str) -> None:
    assert parse(answer) is False


@pytest.mark.parametrize("answer", GARBAGE)
def test_no_verdict(answer: str) -> None:
    assert parse(answer) is None


@pytest.mark.parametrize(
    "piece", ["allowed ", "not ", "{", "<think>", "a", "not be ", "\u200b", "**"]
)
def test_long_babble_takes_little_time(piece: str) -> None:
    began = time.process_time()
    parse(piece * 500_000)
    assert time.process_time() - began < 0.5
