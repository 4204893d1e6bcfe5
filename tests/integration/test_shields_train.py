"""`lightspeed shields train`: from a file of texts to a head that a shield reads."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lightspeed_providers.core.errors import ConfigurationError, LightspeedError
from lightspeed_providers.safety.shields.heads.trained import read_head
from lightspeed_providers.safety.training.cli import train
from lightspeed_providers.safety.training.data import Example, read_examples
from lightspeed_providers.safety.training.learning import threshold_for
from lightspeed_providers.safety.training.learning import train as learn

app = typer.Typer()
app.command()(train)

COOKING = [
    "bake a cake",
    "boil an egg",
    "fry an onion",
    "roast a chicken",
    "cook pasta",
    "season a soup",
]
WORK = [
    "write a view",
    "add an index",
    "run a migration",
    "test a form",
    "cache a page",
    "sort a query",
]


def texts() -> list[dict[str, Any]]:
    asked = ("How do I {}?", "What is the best way to {}", "please help me to {}")
    return [
        {"text": words.format(thing), "block": block, "family": f"{thing.split()[0]} {block}"}
        for block, things in ((True, COOKING), (False, WORK))
        for thing in things
        for words in asked
    ]


def written(tmp_path: Path, rows: list[Any]) -> Path:
    file = tmp_path / "data.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def test_trains_a_head_that_a_shield_reads(tmp_path: Path) -> None:
    held_out = {"text": "How do I grill a fish?", "block": True, "split": "held_out"}
    data = written(tmp_path, [*texts(), held_out])
    out = tmp_path / "head.json"
    done = CliRunner().invoke(app, [str(data), "--out", str(out), "--folds", "3"])
    assert done.exit_code == 0, done.output
    assert "Recall" in done.output
    assert "False alarms" in done.output
    assert " to " in done.output  # intervals
    assert "1 texts of split held_out are left out" in done.output
    head = read_head(str(out))
    assert (head.facts["block"], head.facts["allow"], head.facts["families"]) == (18, 18, 12)
    assert head.dimension == 384
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    first = out.read_bytes()
    again = tmp_path / "again.json"
    done = CliRunner().invoke(app, [str(data), "--out", str(again), "--folds", "3"])
    assert done.exit_code == 0, done.output
    assert again.read_bytes() == first


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (['{"text": "a", "block": true}', "{broken"], "line 2: not JSON"),
        (['{"text": "a"}'], "line 1, field 'block': Field required"),
        (['{"text": "a", "block": "perhaps"}'], "line 1, field 'block'"),
        (['{"text": "", "block": true}'], "line 1, field 'text'"),
        (['{"text": "a", "block": true}'] * 12, "0 texts with `block` false"),
        (['{"text": "a", "block": true}', '{"text": "b", "block": false}'], "1 texts with `block`"),
        ([], "0 texts with `block` true"),
    ],
)
def test_wrong_data_is_told_in_one_line(tmp_path: Path, lines: list[str], reason: str) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match=reason) as told:
        read_examples([file], "family")
    assert "\n" not in str(told.value)


def test_too_few_families_for_the_folds_is_told(tmp_path: Path) -> None:
    rows = [{**row, "family": f"one {row['block']}"} for row in texts()]
    data, out = written(tmp_path, rows), tmp_path / "head.json"
    done = CliRunner().invoke(app, [str(data), "--out", str(out)])
    assert isinstance(done.exception, LightspeedError)
    assert "are of 1 families" in str(done.exception)
    assert not out.exists()


def test_a_missing_directory_is_told_before_any_work(tmp_path: Path) -> None:
    data = written(tmp_path, texts())
    done = CliRunner().invoke(app, [str(data), "--out", str(tmp_path / "no" / "head.json")])
    assert isinstance(done.exception, LightspeedError)
    assert "is no directory" in str(done.exception)


@pytest.mark.parametrize("arguments", [["--out", "x"], ["nowhere.jsonl", "--out", "x"], ["--help"]])
def test_the_command_line_teaches(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == (0 if arguments == ["--help"] else 2)


def test_the_key_of_families_can_be_named(tmp_path: Path) -> None:
    rows = [{"text": row["text"], "block": row["block"], "idea": row["family"]} for row in texts()]
    found, _ = read_examples([written(tmp_path, rows)], "idea")
    assert len({example.family for example in found}) == 12
    unnamed, _ = read_examples([tmp_path / "data.jsonl"], "family")
    assert len({example.family for example in unnamed}) == 36


def test_no_family_is_judged_by_a_head_that_saw_it() -> None:
    """A text whose family is unlike all others of its sort can't be known, one with others can."""
    rng = np.random.default_rng(0)
    examples = [
        Example(f"text {number} of {family}", family.startswith("bad"), family)
        for family in ("bad 1", "bad 2", "bad 3", "good 1", "good 2", "good 3")
        for number in range(6)
    ]
    ways = {family: rng.normal(size=32) for family in dict.fromkeys(e.family for e in examples)}

    def encode(texts: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        rows = [ways[text.split(" of ")[1]] for text in texts]
        return np.asarray(rows, np.float32)

    trained = learn(examples, encode, "m", false_alarms=0.1, folds=3, report=lambda *_: None)
    vectors = encode([example.text for example in examples])
    seen = trained.head.scores([example.text for example in examples], vectors)
    block = np.asarray([example.block for example in examples])
    assert ((seen > 0.5) == block).all()
    unseen_right = ((trained.unseen > 0.5) == block).mean()
    assert unseen_right < 1


@pytest.mark.parametrize(
    ("allowed", "threshold"), [(0.0, 0.9001), (0.1, 0.8001), (0.5, 0.4001), (0.0999, 0.9001)]
)
def test_the_threshold_keeps_the_share_of_false_alarms(allowed: float, threshold: float) -> None:
    harmless = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    scores = np.asarray([*harmless, 0.95], np.float64)
    found = threshold_for(scores.astype(np.float32), [False] * 10 + [True], allowed)
    assert found == pytest.approx(threshold, abs=2e-4)
    assert sum(float(score) >= found for score in scores.astype(np.float32)[:10]) <= allowed * 10


def test_importing_the_command_loads_no_model() -> None:
    code = (
        "import sys, lightspeed_providers.safety.training.cli\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
