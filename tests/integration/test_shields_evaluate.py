"""`lightspeed shields evaluate`: real shields on texts with known answers."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from test_shields_check import WORDS, run_file, topic
from typer.testing import CliRunner

from lightspeed_providers.core.errors import ConfigurationError, InvalidRequestError
from lightspeed_providers.core.verdicts import Action, Direction, Verdict
from lightspeed_providers.safety.cli import app
from lightspeed_providers.safety.evaluate.decisions import by_family, by_stage, qualities, score_of
from lightspeed_providers.safety.evaluate.gate import missed, read_gate
from lightspeed_providers.safety.evaluate.judging import Judged
from lightspeed_providers.safety.evaluate.rates import rate, times
from lightspeed_providers.safety.evaluate.redactions import redacted
from lightspeed_providers.safety.evaluate.results import Results, Settings, results_of
from lightspeed_providers.safety.evaluate.spans import Taken, taken_out
from lightspeed_providers.safety.evaluate.texts import LabelledText, Placed, Span

HOUSE = "input_topic"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path / "state"))


def data_file(directory: Path, rows: Sequence[Mapping[str, Any]], name: str = "data.jsonl") -> Path:
    path = directory / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def evaluated(tmp_path: Path, rows: Sequence[Mapping[str, Any]], *options: str) -> Result:
    shields = {
        "input_words": WORDS,
        "inout_data": {"kind": "redaction"},
        "output_guard": {"kind": "llama_guard", "model": "vllm/guard"},
        HOUSE: topic(),
    }
    config = run_file(tmp_path, shields)
    data = data_file(tmp_path, rows)
    return CliRunner().invoke(app, ["evaluate", str(data), "--config", str(config), *options])


BLOCKING = [
    {"text": "a forbidden word", "block": True, "label": "bad", "family": "plain"},
    {"text": "f o r b i d d e n  words", "block": True, "label": "bad", "family": "other_words"},
    {"text": "the Forbidden Word!", "block": True, "label": "bad", "family": "plain"},
    {"text": "a harmless word", "block": False, "label": "good", "family": "words"},
    {"text": "forbidden word lists, why?", "block": False, "label": "good", "family": "words"},
    {"text": "all is well", "block": False, "label": "good", "split": "held_out"},
]


def test_the_numbers_are_those_of_the_texts(tmp_path: Path) -> None:
    told = evaluated(tmp_path, BLOCKING, "--shield", "input_words", "--json")
    assert told.exit_code == 0, told.output
    results = Results.model_validate_json(told.stdout)
    [quality] = results.qualities
    assert (quality.recall.hits, quality.recall.of) == (2, 3)
    assert (quality.precision.hits, quality.precision.of) == (2, 3)
    assert (quality.false_positives.hits, quality.false_positives.of) == (1, 3)
    assert {(s.name, s.block, s.blocked.hits, s.blocked.of) for s in results.labels} == {
        ("bad", True, 2, 3),
        ("good", False, 1, 3),
    }
    assert [(e.text, e.wrong, e.shield) for e in results.errors] == [
        ("f o r b i d d e n  words", "passed, should be blocked", None),
        ("forbidden word lists, why?", "blocked, should pass", "input_words"),
    ]
    assert results.errors[0].place.endswith("data.jsonl', line 2")


def test_a_real_shield_gives_a_curve_a_picture_and_a_table(tmp_path: Path) -> None:
    rows = [
        *(
            {"text": f"How do I paint a {n} ceiling?", "block": False}
            for n in ("low", "wet", "big")
        ),
        {"text": "and a brown one?", "block": False, "history": ["How do I paint a red wall?"]},
        *({"text": f"Who won the {n} cup?", "block": True} for n in ("world", "golf", "cricket")),
        {"text": "What is the capital of Peru?", "block": True},
    ]
    out = tmp_path / "quality"
    told = evaluated(tmp_path, rows, "--shield", HOUSE, "--out", str(out))
    assert told.exit_code == 0, told.output
    results = Results.model_validate_json((out / "results.json").read_text())
    curve = results.qualities[0].curve
    assert curve is not None
    assert curve.auc > 0.8
    assert (curve.recall[0], curve.recall[-1]) == (0, 1)
    picture = (out / "roc.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20], "big") == 1200
    assert "ROC AUC" in (out / "table.md").read_text()
    assert "By stage" in told.stdout


def test_all_shields_of_a_direction_are_measured_together_and_alone(tmp_path: Path) -> None:
    told = evaluated(tmp_path, BLOCKING[:4], "--json")
    results = Results.model_validate_json(told.stdout)
    names = [quality.name for quality in results.qualities]
    assert names == ["all shields (2)", "input_words", HOUSE]
    assert results.qualities[1].recall.hits == 2
    assert results.qualities[0].recall.hits >= 2


def test_a_shield_that_only_a_server_can_ask_is_left_out_or_refused(tmp_path: Path) -> None:
    told = evaluated(tmp_path, BLOCKING, "--direction", "output")
    assert isinstance(told.exception, ConfigurationError)
    assert "Left out: shield 'output_guard', model 'vllm/guard' is only asked" in told.stderr
    told = evaluated(tmp_path, BLOCKING, "--shield", "output_guard")
    assert isinstance(told.exception, ConfigurationError)
    assert "can't be asked here: model 'vllm/guard'" in str(told.exception)


MARKED = [
    {
        "text": "mail ann@corp.example or bob@corp.example",
        "spans": [
            {"start": 5, "end": 21, "label": "EMAIL"},
            {"start": 25, "end": 41, "label": "EMAIL"},
        ],
    },
    {
        "text": "Ann Lee wrote from 203.0.113.7",
        "spans": [
            {"start": 0, "end": 7, "label": "PERSON"},
            {"start": 19, "end": 30, "label": "IP"},
        ],
    },
    {"text": "no data here", "spans": []},
]


def test_redaction_is_scored_by_entity(tmp_path: Path) -> None:
    told = evaluated(tmp_path, MARKED, "--json")
    assert told.exit_code == 0, told.output
    found = Results.model_validate_json(told.stdout).redacted
    assert found is not None
    counts = {e.name: (e.recall.hits, e.recall.of, e.precision.of) for e in found.entities}
    assert counts == {"all": (3, 4, 3), "EMAIL": (2, 2, 2), "IP": (1, 1, 1), "PERSON": (0, 1, 0)}
    told = evaluated(tmp_path, MARKED)
    assert "PERSON 'Ann Lee' left" in " ".join(told.stdout.split())


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        (["--fail-under", "recall=0.6", "--fail-over", "false_positives=0.4"], 0, ""),
        (["--fail-under", "recall=0.9"], 3, "recall is 0.6667, below the 0.9 that is asked for."),
        (["--fail-over", "false_positives=0.1"], 3, "false_positives is 0.3333, over the 0.1"),
        (["--fail-under", "beauty=0.9"], 2, "'beauty=0.9' is no gate"),
    ],
)
def test_a_pipeline_can_ask_for_a_quality(
    tmp_path: Path, options: list[str], code: int, line: str
) -> None:
    told = evaluated(tmp_path, BLOCKING, "--shield", "input_words", *options)
    assert told.exit_code == code, told.output
    assert line in " ".join(told.stderr.replace("│", "").split())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"text": "a", "block": true}\n{"text": "b"', "line 2: not JSON (Expecting"),
        ('{"text": "a"}', "line 1: give either `block` or `spans`."),
        ('\n{"text": "a", "block": "perhaps"}', "line 2, field 'block': Input should be a valid"),
        ('{"text": "ab", "spans": [{"start": 1, "end": 3, "label": "X"}]}', "span 1 to 3 is not"),
        ('{"text": "a", "block": true}\n{"text": "b", "spans": []}', "line 2: texts with `block`"),
        ("", "No text has split 'all' (there is: no text at all)"),
    ],
)
def test_what_is_wrong_with_the_data_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(text)
    config = run_file(tmp_path, {"input_words": WORDS})
    told = CliRunner().invoke(app, ["evaluate", str(data), "--config", str(config)])
    assert isinstance(told.exception, ConfigurationError)
    assert line in str(told.exception)
    assert "\n" not in str(told.exception)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--shield", "no_such"], "Shield 'no_such' is not configured (there are: input_words,"),
        (["--shield", "inout_data"], "of kind 'redaction' can't be measured on these texts"),
        (["--direction", "tool"], "No shield can block texts of direction 'tool'"),
        (["--split", "tuning"], "No text has split 'tuning' (there is: held_out, none)"),
    ],
)
def test_a_wrong_choice_is_one_line(tmp_path: Path, options: list[str], line: str) -> None:
    told = evaluated(tmp_path, BLOCKING, *options)
    assert isinstance(told.exception, ConfigurationError)
    assert line in str(told.exception)


def test_the_help_shows_how() -> None:
    told = CliRunner().invoke(app, ["evaluate", "--help"])
    assert "Example: lightspeed shields evaluate questions.jsonl" in " ".join(told.stdout.split())


# The parts.


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998, table I: 15 of 148 and 0 of 20, method 3.
    for (hits, of), (low, high) in {(15, 148): (0.0624, 0.1605), (0, 20): (0.0, 0.1611)}.items():
        told = rate(hits, of)
        assert (told.low, told.high) == (
            pytest.approx(low, abs=1e-4),
            pytest.approx(high, abs=1e-4),
        )
    assert rate(0, 0).share is None


def test_percentiles() -> None:
    told = times([float(n) for n in range(1, 101)])
    assert (told.p50_ms, told.p95_ms) == (50.5, pytest.approx(95.05))


def verdict(shield: str, *, blocks: bool, **more: Any) -> Verdict:
    action = Action.BLOCK if blocks else Action.ALLOW
    return Verdict(shield=shield, kind="k", direction=Direction.INPUT, action=action, **more)


def judged(block: bool, *verdicts: Verdict, family: str = "f") -> Judged:
    text = LabelledText(text="t", block=block, family=family)
    return Judged(Placed("Data file 'd', line 1", text), verdicts, "t", 1.0)


def test_a_failed_check_is_counted_by_itself_and_in_no_share() -> None:
    failed = verdict("a", blocks=True, error="no answer within 5 s")
    all_ = [
        judged(True, failed, verdict("b", blocks=True)),
        judged(False, failed, verdict("b", blocks=False)),
        judged(False, verdict("a", blocks=False), verdict("b", blocks=False)),
    ]
    together, first, second = qualities(all_)
    assert (together.undecided, first.undecided, second.undecided) == (1, 2, 0)
    assert (together.recall.hits, together.false_positives.of) == (1, 1)
    settings = Settings(files=("d",), split="all", direction=Direction.INPUT, shields=("a", "b"))
    [wrong] = results_of(all_, settings).errors
    assert wrong.wrong == "undecided: no answer within 5 s"


def test_stages_tell_how_many_they_decided_and_how_many_wrongly() -> None:
    all_ = [
        judged(True, verdict("a", blocks=True, stage="local", score=0.9)),
        judged(False, verdict("a", blocks=True, stage="model", score=0.8)),
        judged(False, verdict("a", blocks=False, stage="local", score=0.1)),
    ]
    told = [(s.stage, s.decided.hits, s.blocked, s.wrong) for s in by_stage(all_)]
    assert told == [("local", 2, 1, 0), ("model", 1, 1, 1)]


def test_scores_rank_as_sklearn_says_whatever_the_order() -> None:
    rng = random.Random(5)
    scores = [(rng.random(), rng.random() < 0.4) for _ in range(200)]
    all_ = [judged(b, verdict("a", blocks=s > 0.5, score=s)) for s, b in scores]
    pairs = [(p > n) + (p == n) / 2 for p, yes in scores if yes for n, no in scores if not no]
    curve = qualities(all_)[0].curve
    assert curve is not None
    assert curve.auc == pytest.approx(sum(pairs) / len(pairs))
    assert score_of([verdict("a", blocks=True), verdict("b", blocks=False, score=0.3)]) == 1.0


def test_families_are_counted_apart() -> None:
    all_ = [
        judged(True, verdict("a", blocks=b), family=f) for f, b in [("x", 1), ("x", 0), ("y", 0)]
    ]
    assert [(s.name, s.blocked.hits, s.blocked.of) for s in by_family(all_)] == [
        ("x", 1, 2),
        ("y", 0, 1),
    ]


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        ("to a@b.c now", "to <EMAIL_1> now", [Taken(3, 8, "EMAIL")]),
        ("a@b.c", "<EMAIL_1>", [Taken(0, 5, "EMAIL")]),
        ("a, b, a", "<X_1>, <X_2>, <X_1>", [Taken(0, 1, "X"), Taken(3, 4, "X"), Taken(6, 7, "X")]),
        ("see <EMAIL_1>", "see <EMAIL_1>", []),
        ("see <IP_1> at 1.2.3.4", "see <IP_1> at <IP_2>", [Taken(14, 21, "IP")]),
        ("line\n1.2.3.4\nend", "line\n<IP_1>\nend", [Taken(5, 12, "IP")]),
        ("nothing", "nothing", []),
        ("(.*) a", "(.*) <US_SSN_12>", [Taken(5, 6, "US_SSN")]),
    ],
)
def test_what_was_taken_out_is_told_from_what_is_left(
    before: str, after: str, taken: list[Taken]
) -> None:
    assert taken_out(before, after) == taken


def redaction(text: str, after: str, *spans: tuple[int, int, str]) -> Judged:
    marked = LabelledText(
        text=text, spans=tuple(Span(start=a, end=b, label=label) for a, b, label in spans)
    )
    return Judged(Placed("Data file 'd', line 1", marked), (), after, 1.0)


def test_half_a_secret_left_is_not_found_and_a_word_too_many_is_not_right() -> None:
    told = redacted(
        [
            redaction("key abcdef", "key <KEY_1>def", (4, 10, "KEY")),
            redaction("call 555", "<NAME_1> 555"),
            redaction("on 10.0.0.1", "on <PHONE_1>", (3, 11, "IP")),
        ]
    )
    entities = {entity.name: entity for entity in told.entities}
    assert (entities["KEY"].recall.hits, entities["KEY"].precision.hits) == (0, 1)
    assert (entities["NAME"].precision.hits, entities["NAME"].precision.of) == (0, 1)
    assert (entities["IP"].recall.hits, entities["IP"].renamed) == (1, 1)


@pytest.mark.parametrize("text", ["recall", "recall=2", "recall>0.9", "f1=0.5", "recall=x"])
def test_a_gate_that_is_none_is_told(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="is no gate"):
        read_gate(text, is_least=True)


def test_a_gate_may_ask_for_one_entity() -> None:
    settings = Settings(files=("d",), split="all", direction=Direction.INPUT, shields=("r",))
    results = results_of([redaction("key abcdef", "key abcdef", (4, 10, "KEY"))], settings)
    line = missed(read_gate("KEY:recall=0.98", is_least=True), results)
    assert line == "recall of KEY is 0.0000, below the 0.98 that is asked for."
    with pytest.raises(ConfigurationError, match="Gate recall of IP can't be judged"):
        missed(read_gate("IP:recall=0.98", is_least=True), results)
