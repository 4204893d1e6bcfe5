"""Measuring the documentation search: question files, numbers, comparisons, files, exit codes."""

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lightspeed_providers.core import measuring
from lightspeed_providers.core.errors import ConfigurationError, InvalidRequestError
from lightspeed_providers.core.tables import as_markdown
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.evaluate import cli
from lightspeed_providers.product_rag.evaluate.certainty import (
    Difference,
    corrected,
    difference,
    estimate,
    separation,
)
from lightspeed_providers.product_rag.evaluate.compare import compare
from lightspeed_providers.product_rag.evaluate.gate import missed, read_gate
from lightspeed_providers.product_rag.evaluate.metrics import metrics_of, ndcg
from lightspeed_providers.product_rag.evaluate.picture import WIDTH_PX, draw, height_px
from lightspeed_providers.product_rag.evaluate.questions import (
    Question,
    of_split,
    read_questions,
)
from lightspeed_providers.product_rag.evaluate.ranks import (
    anchor_of,
    page_of,
    page_ranks,
    passage_ranks,
)
from lightspeed_providers.product_rag.evaluate.results import (
    ALL,
    IndexFacts,
    Results,
    read_results,
)
from lightspeed_providers.product_rag.evaluate.run import evaluate, settings_of
from lightspeed_providers.product_rag.evaluate.searching import Found
from lightspeed_providers.product_rag.evaluate.table import tables

ROW = {
    "id": "q-1",
    "question": "How do I create a superuser?",
    "type": "how-to",
    "split": "held-out",
    "expected": [{"page": "auth", "anchor": "creating-superusers"}],
    "product": None,
    "version": None,
}


def row(**changes: Any) -> dict[str, Any]:
    return {**ROW, **changes}


def asked(id_: str, *pages: str, type_: str = "how-to", anchor: str | None = None) -> Question:
    expected = [{"page": page, "anchor": anchor} for page in pages]
    return Question.model_validate(
        row(id=id_, type=type_ if pages else "unanswerable", expected=expected)
    )


def passage(place: str, n: int = 0) -> Passage:
    page, _, anchor = place.partition("#")
    return Passage(
        passage_id=f"{place}-{n}",
        document_id=f"acme/2.1/{page}",
        title=page,
        doc_url=f"https://docs.example/2.1/{page}/" + (f"#{anchor}" if anchor else ""),
        content="text",
        version="2.1",
    )


class Answers:
    """A search that finds what a table says: passages and the best cosine for each question."""

    def __init__(self, name: str, table: dict[str, tuple[Sequence[str], float]]) -> None:
        self.name, self._table = name, table

    def search(self, question: Question, k: int) -> Found:
        places, cosine = self._table[question.id]
        found = tuple(passage(place, n) for n, place in enumerate(places[:k]))
        return Found(found, cosine, 5.0)


def results_of(questions: Sequence[Question], *searchers: Answers, k: int = 10) -> Results:
    return evaluate(
        searchers,
        questions,
        settings=settings_of([], split="all", k=k, reranker=None, min_score=0.0),
        index=IndexFacts(
            name="acme",
            holds="Acme 2.1",
            embedding_model="m",
            pages=3,
            passages=9,
            fingerprint="f",
        ),
        places={"a", "b", "c", "a#one"},
        report=lambda stage, done, total: None,
    )


# Question files


def question_file(folder: Path, *lines: object) -> Path:
    file = folder / "questions.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return file


def test_questions_are_read_in_order(tmp_path: Path) -> None:
    file = question_file(
        tmp_path, row(), "", row(id="q-2", split="tuning", expected=[{"page": "b"}])
    )
    questions = read_questions([file])
    assert [question.id for question in questions] == ["q-1", "q-2"]
    assert questions[1].expected[0].anchor is None
    assert [q.id for q in of_split(questions, "tuning")] == ["q-2"]
    assert len(of_split(questions, "all")) == 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: Input should be a valid dictionary"),
        (row(id=""), "line 2, field 'id'"),
        (row(split="test"), "line 2, field 'split'"),
        (row(question="  "), "line 2, field 'question'"),
        (row(expected=[{"page": ""}]), "line 2, field 'expected.0.page'"),
        (row(expected=[{"url": "x"}]), "line 2, field 'expected.0.page': Field required"),
        (row(expected=[{"page": "a"}, {"page": "a"}]), "line 2: expected names the same place"),
        (row(expected=[]), "line 2: expected must name a page for a question of type 'how-to'"),
        (row(type="unanswerable"), "line 2: expected must be empty"),
        (row(answer="x"), "line 2, field 'answer': Extra inputs are not permitted"),
        (row(), "line 2, field 'id': 'q-1' is there already"),
    ],
)
def test_a_wrong_line_is_named(line: object, told: str, tmp_path: Path) -> None:
    file = question_file(tmp_path, row(), line)
    with pytest.raises(ConfigurationError) as fault:
        read_questions([file])
    assert told in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_bytes(json.dumps(ROW).encode() + b"\n\xff\n")
    with pytest.raises(ConfigurationError, match="line 2: not UTF-8"):
        read_questions([file])


def test_a_split_without_questions_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"split 'tuning' \(there is: held-out\)"):
        of_split([asked("q", "a")], "tuning")


# Ranks


def test_page_and_anchor_come_from_id_and_address() -> None:
    found = passage("db/models#a%20b")
    assert page_of(found) == "db/models"
    assert anchor_of(found) == "a b"
    assert anchor_of(passage("db/models")) == ""


def test_a_page_counts_once_at_its_best_passage() -> None:
    found = [passage(place, n) for n, place in enumerate(["a", "a#one", "b", "a", "c"])]
    question = asked("q", "c", "b", "d")
    assert page_ranks(question, found) == {"c": 3, "b": 2, "d": None}


def test_a_passage_needs_page_and_heading() -> None:
    found = [passage(place, n) for n, place in enumerate(["b#one", "a", "a#one", "a#one"])]
    assert passage_ranks(asked("q", "a", anchor="one"), found) == {"a#one": 3}
    assert passage_ranks(asked("q", "a", anchor="two"), found) == {"a#two": None}
    assert passage_ranks(asked("q", "a"), found) == {}


# Metrics, by hand


@pytest.mark.parametrize(
    ("found", "expected", "k", "value"),
    [
        ([1], 1, 10, 1.0),
        ([2], 1, 10, 1 / math.log2(3)),
        ([10], 1, 10, 1 / math.log2(11)),
        ([11], 1, 10, 0.0),
        ([], 2, 10, 0.0),
        ([1], 2, 10, 1 / (1 + 1 / math.log2(3))),
        ([1, 3], 2, 10, (1 + 1 / 2) / (1 + 1 / math.log2(3))),
        ([1], 2, 1, 1.0),  # one place alone fits
    ],
)
def test_ndcg_is_as_by_hand(found: list[int], expected: int, k: int, value: float) -> None:
    assert ndcg(found, expected, k) == pytest.approx(value)


def test_metrics_are_as_by_hand() -> None:
    told = metrics_of({"a": 2, "b": 7, "c": None, "d": 12}, 10)
    assert list(told) == ["ndcg@10", "mrr@10", "recall@1", "recall@5", "recall@10"]
    assert told["mrr@10"] == 0.5
    assert (told["recall@1"], told["recall@5"], told["recall@10"]) == (0.0, 0.25, 0.5)
    ideal = 1 + 1 / math.log2(3) + 1 / 2 + 1 / math.log2(5)
    assert told["ndcg@10"] == pytest.approx((1 / math.log2(3) + 1 / 3) / ideal)


def test_small_k_has_its_own_names() -> None:
    assert list(metrics_of({"a": 3}, 3)) == ["ndcg@3", "mrr@3", "recall@1", "recall@3"]


# Certainty


def test_an_interval_holds_its_mean_and_narrows_with_more_questions() -> None:
    few, many = estimate([0.0, 1.0] * 10), estimate([0.0, 1.0] * 200)
    for told in (few, many):
        assert told.mean == 0.5
        assert told.low is not None
        assert told.high is not None
        assert told.low < 0.5 < told.high
    assert few.low < many.low  # type: ignore[operator]  # seen above
    # The normal approximation says 1.96 * 0.5 / sqrt(400) = 0.049.
    assert many.high - 0.5 == pytest.approx(0.049, abs=0.01)  # type: ignore[operator]  # same


@pytest.mark.parametrize("values", [[0.7], [1.0, 1.0, 1.0]])
def test_values_that_are_all_the_same_have_no_interval(values: list[float]) -> None:
    told = estimate(values)
    assert (told.mean, told.low, told.high) == (values[0], None, None)


def test_a_paired_test_is_exact_where_questions_are_few() -> None:
    # Of 2^6 ways to swap, two give a mean difference as far from 0 as this.
    assert difference([0.0] * 6, [1.0] * 6).p == pytest.approx(2 / 64)
    assert difference([0.5, 0.2], [0.5, 0.2]).p == 1.0
    assert difference([0.0], [1.0]).p == 1.0
    assert difference([0, 1, 0, 1], [1, 0, 1, 0]).p == 1.0


def test_a_clear_difference_is_seen_among_many() -> None:
    told = difference([0.2, 0.4] * 50, [0.3, 0.5] * 40 + [0.2, 0.4] * 10)
    assert told.mean == pytest.approx(0.08)
    assert told.p < 0.001


def test_holm_corrects_a_family() -> None:
    family = [Difference(mean=0, low=0, high=0, p=p, p_adjusted=p) for p in (0.04, 0.01, 0.03, 0.9)]
    told = [round(one.p_adjusted, 4) for one in corrected(family)]
    assert told == [0.09, 0.04, 0.09, 0.9]
    assert corrected([]) == []


def test_the_threshold_that_separates_best() -> None:
    told = separation([0.5, 0.6, 0.7, 0.2], [0.1, 0.3, 0.3])
    assert told is not None
    assert told.threshold == pytest.approx(0.4)
    assert told.answerable_kept == 0.75
    assert told.unanswerable_refused == 1.0
    assert told.auc == pytest.approx(10 / 12)  # 10 of 12 pairs are the right way round
    assert separation([0.5], []) is None


def test_ties_between_the_sides_count_half() -> None:
    told = separation([0.4, 0.4], [0.4, 0.4])
    assert told is not None
    assert told.auc == 0.5


# A run


TWO = [asked("q1", "a"), asked("q2", "b", "c", type_="reference"), asked("q3")]
GOOD = Answers("good", {"q1": (["a#one", "b"], 0.8), "q2": (["b", "c"], 0.7), "q3": ([], 0.1)})
POOR = Answers("poor", {"q1": (["b", "a"], 0.8), "q2": (["a"], 0.7), "q3": (["a"], 0.1)})


def test_a_run_tells_every_search_by_type_and_together() -> None:
    results = results_of(TWO, POOR, GOOD)
    good, poor = results.searcher(), results.searcher("poor")
    assert good.name == "good"
    together = poor.summary(ALL, "pages")
    assert together is not None
    assert together.questions == 2
    assert together.metrics["ndcg@10"].mean == pytest.approx((1 / math.log2(3) + 0) / 2)
    assert together.metrics["recall@5"].mean == 0.5
    reference = poor.summary("reference", "pages")
    assert reference is not None
    assert reference.metrics["mrr@10"].mean == 0.0
    assert poor.summary(ALL, "passages") is None  # no question names a heading
    assert (good.nothing_found, poor.nothing_found) == (1.0, 0.0)
    assert (good.cited, poor.cited) == (0.25, 0.0)
    assert [(one.type, one.first, one.second) for one in results.contests] == [
        ("all", "poor", "good"),
        ("how-to", "poor", "good"),
        ("reference", "poor", "good"),
    ]
    assert results.contests[0].difference.mean > 0
    assert results.unknown_places == ()


def test_passages_beyond_k_fill_pages_and_count_for_nothing_else() -> None:
    crowded = Answers("s", {"q1": (["b"] * 9 + ["c", "a#one"], 0.8)})
    results = results_of([asked("q1", "a", anchor="one")], crowded)
    outcome = results.searchers[0].outcomes[0]
    assert outcome.page_ranks == {"a": 3}  # after b and c
    assert outcome.passage_ranks == {"a#one": None}
    assert outcome.found == 10


def test_places_that_the_index_lacks_are_told() -> None:
    questions = [asked("q1", "a", anchor="two"), asked("q2", "gone", anchor="x")]
    search = Answers("s", {"q1": (["a"], 0.8), "q2": (["a"], 0.7)})
    assert results_of(questions, search).unknown_places == ("a#two", "gone")


def test_unanswerable_questions_alone_make_a_run(tmp_path: Path) -> None:
    results = results_of(
        [asked("q1"), asked("q2")], Answers("s", {"q1": ([], 0.1), "q2": ([], 0.3)})
    )
    assert results.types == ()
    assert results.contests == ()
    assert results.searcher().nothing_found == 1.0
    assert "Unanswerable" in as_markdown("x", tables(results))
    draw(results, tmp_path / "picture.png")
    assert png_size(tmp_path / "picture.png")[0] == WIDTH_PX
    with pytest.raises(ConfigurationError, match="can't be judged"):
        missed(read_gate("ndcg=0.5", 10), results)


def test_one_question_has_numbers_without_intervals() -> None:
    results = results_of([asked("q1", "a", anchor="one")], GOOD, POOR)
    told = results.searcher("good").summary(ALL, "passages")
    assert told is not None
    assert told.metrics["mrr@10"].model_dump() == {"mean": 1.0, "low": None, "high": None}
    assert results.contests[0].difference.p == 1.0
    assert "| good | 1.000 |" in as_markdown("x", tables(results))


def test_results_survive_their_file(tmp_path: Path) -> None:
    results = results_of(TWO, POOR, GOOD)
    file = tmp_path / "results.json"
    file.write_text(results.model_dump_json())
    assert read_results(file) == results
    file.write_text('{"format": 1}')
    with pytest.raises(ConfigurationError, match="wrong at 'settings'"):
        read_results(file)


def test_the_picture_grows_with_the_types(tmp_path: Path) -> None:
    questions = [asked(f"q{n}", "a", type_=f"a type with a long name {n}") for n in range(9)]
    table = {question.id: (["a"], 0.5) for question in questions}
    results = results_of(questions, *(Answers(f"s{n}", table) for n in range(4)))
    draw(results, tmp_path / "picture.png")
    assert png_size(tmp_path / "picture.png") == (WIDTH_PX, height_px(results))
    assert height_px(results) > height_px(results_of(TWO, GOOD))


def png_size(file: Path) -> tuple[int, int]:
    head = file.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", head[16:24])
    return int(width), int(height)


# Two runs


def test_a_known_change_is_told_question_by_question() -> None:
    before = results_of(TWO, Answers("s", GOOD._table))
    after = results_of(list(reversed(TWO)), Answers("s", POOR._table))
    told = compare(before, after)
    assert [(one.id, one.before, one.after) for one in told.losers] == [
        ("q2", (1, 2), (None, None)),
        ("q1", (1,), (2,)),
    ]
    assert told.losers[0].difference == -1.0
    assert told.winners == ()
    assert told.shifts[0].before == 1.0
    assert told.shifts[0].difference.mean == pytest.approx((1 / math.log2(3) + 0) / 2 - 1)
    assert [shift.type for shift in told.shifts] == ["all", "how-to", "reference"]
    assert (told.nothing_found_before, told.nothing_found_after) == (1.0, 0.0)
    back = compare(after, before)
    assert [one.id for one in back.winners] == ["q2", "q1"]
    assert compare(before, before).unchanged == 2


def test_runs_on_other_questions_are_not_compared() -> None:
    before, fewer = results_of(TWO, GOOD), results_of(TWO[:2], GOOD)
    with pytest.raises(ConfigurationError, match="only the first has q3; run both"):
        compare(before, fewer)
    moved = results_of([asked("q1", "b"), *TWO[1:]], GOOD)
    with pytest.raises(ConfigurationError, match="q1 expect other places"):
        compare(before, moved)
    with pytest.raises(ConfigurationError, match="--k 10, the other with 5"):
        compare(before, results_of(TWO, GOOD, k=5))
    with pytest.raises(ConfigurationError, match="no search is in both"):
        compare(before, results_of(TWO, POOR))


# The gate


@pytest.mark.parametrize(
    "text", ["ndcg", "ndcg=", "ndcg=2", "speed=0.5", "=0.5", "recall=x", "pages:=1", "ndcg=-1"]
)
def test_a_gate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="is no gate"):
        read_gate(text, 10)


def test_a_gate_judges_the_products_search() -> None:
    results = results_of(TWO, GOOD, POOR)
    assert missed(read_gate("recall@10=0.5", 10), results) is None
    told = missed(read_gate("ndcg=0.7", 10), results)
    assert told == "poor: ndcg@10 on pages is 0.3155, below the 0.7 that is asked for."


# The commands, on the small index with the real embedding model

REAL = (
    row(id="s1", question="How do I create an administrator account?"),
    row(id="s2", question="Which exception gives a 404?", type="reference",
        expected=[{"page": "views"}]),
    row(id="s3", question="keepdb", type="identifier", expected=[{"page": "testing"}]),
    row(id="s4", question="How do I add a column to a table?", expected=[{"page": "models"}]),
    row(id="s5", question="What is the best recipe for sourdough bread?", type="unanswerable",
        expected=[]),
    row(id="t1", split="tuning"),
)  # fmt: skip


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return question_file(tmp_path, *REAL)


def rag(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_evaluate_writes_everything_and_compare_reads_it(
    real: Path, index: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out"
    done = rag("evaluate", real, "--index", index, "--out", out, "--fail-under", "ndcg=0.5")
    assert done.exit_code == 0, (done.output, done.exception)
    assert sorted(file.name for file in out.iterdir()) == [
        "quality.png",
        "results.json",
        "table.md",
    ]
    results = read_results(out / "results.json")
    assert [one.name for one in results.searchers] == ["dense", "bm25", "hybrid"]
    assert [question.id for question in results.questions] == ["s1", "s2", "s3", "s4", "s5"]
    hybrid = results.searcher().summary(ALL, "pages")
    assert hybrid is not None
    assert hybrid.metrics["recall@5"].mean == 1.0
    assert results.index.pages == 4
    separated = results.searcher().separation
    assert separated is not None
    assert separated.auc == 1.0  # nothing in the pages is near to bread
    assert results.searcher("bm25").p95_ms < results.searcher("dense").p95_ms
    assert "| hybrid |" in (out / "table.md").read_text()
    assert png_size(out / "quality.png") == (WIDTH_PX, height_px(results))
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "Asking questions: 5 of 5" in done.stderr

    same = rag("compare", out / "results.json", out / "results.json", "--max-loss", "0")
    assert same.exit_code == 0, same.output
    assert "4 questions are as they were" in same.stdout


def test_against_another_index_tells_the_losers(
    real: Path, index: Path, docs: Path, tmp_path: Path
) -> None:
    from conftest import build_small_index

    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for file in docs.iterdir():
        if file.name != "testing.rst":
            (fewer / file.name).write_text(file.read_text())
    build_small_index(fewer, tmp_path / "index")
    arguments = ["evaluate", real, "--index", tmp_path / "index", "--against", index]
    done = rag(*arguments, "--out", tmp_path / "out", "--max-loss", "0.1")
    assert done.exit_code == cli.BELOW, (done.output, done.exception)
    assert "hybrid: ndcg@10 is worse by 0.2" in done.stderr
    assert "1 expected places are not in the index" in done.stderr
    assert "testing" in done.stderr
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    lost = next(one for one in told["losers"] if one["id"] == "s3")
    assert (lost["before"], lost["after"]) == ([1], [None])
    assert (tmp_path / "out" / "before.json").is_file()


def test_a_gate_ends_with_three(real: Path, index: Path) -> None:
    done = rag("evaluate", real, "--index", index, "--json", "--min-score", "0.99",
               "--fail-under", "ndcg=0.7")  # fmt: skip
    assert done.exit_code == cli.BELOW
    assert "hybrid: ndcg@10 on pages is 0.0000, below the 0.7" in done.stderr
    results = Results.model_validate_json(done.stdout)  # whole, and nothing else
    assert results.searcher().nothing_found == 1.0


def test_a_reranker_is_a_fourth_search(real: Path, index: Path, tmp_path: Path) -> None:
    reranker = tmp_path / "reranker"
    make_reranker(reranker)
    done = rag("evaluate", real, "--index", index, "--json", "--reranker", reranker)
    assert done.exit_code == 0, (done.output, done.exception)
    results = Results.model_validate_json(done.stdout)
    hybrid, reranked = results.searcher("hybrid"), results.searcher()
    assert reranked.name == "hybrid + reranker"
    assert reranked.p50_ms > hybrid.p50_ms
    for before, after in zip(hybrid.outcomes, reranked.outcomes, strict=True):
        assert before.found == after.found
        assert before.page_ranks.keys() == after.page_ranks.keys()
    lost = rag("evaluate", real, "--index", index, "--reranker", tmp_path / "nothing-there")
    assert lost.exit_code == 1
    assert isinstance(lost.exception, ConfigurationError)
    assert "can't be loaded" in str(lost.exception)


def make_reranker(directory: Path) -> None:
    """Save a small cross-encoder of the real kind; untrained, as its order is not the claim."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = sorted({word for line in REAL for word in str(line["question"]).lower().split()})
    directory.mkdir()
    vocabulary = directory / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    BertTokenizerFast(vocab_file=str(vocabulary)).save_pretrained(directory)
    config = BertConfig(
        vocab_size=len(words) + 5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, num_labels=1,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(directory)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["evaluate", "--help"], 0),
        (["compare", "--help"], 0),
        (["evaluate"], 2),
        (["evaluate", "nowhere.jsonl"], 2),
        (["evaluate", "QUESTIONS", "--k", "0"], 2),
        (["evaluate", "QUESTIONS", "--split", "test"], 2),
        (["evaluate", "QUESTIONS", "--fail-under", "speed=1"], 2),
        (["evaluate", "QUESTIONS", "--max-loss", "0.1"], 2),
        (["compare", "nowhere.json"], 2),
        (["compare", "nowhere.json", "nowhere.json"], 1),
        (["evaluate", "QUESTIONS", "--index", "/nowhere"], 1),
    ],
)
def test_exit_codes(arguments: list[str], code: int, real: Path) -> None:
    done = rag(*(str(real) if argument == "QUESTIONS" else argument for argument in arguments))
    assert done.exit_code == code, done.output


def test_a_missing_library_is_one_line(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring.importlib.util, "find_spec", lambda name: None)
    done = rag("evaluate", real, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert str(done.exception) == (
        "Measuring needs scipy, sklearn, matplotlib: pip install 'lightspeed-providers[evaluate]'."
    )
    assert not (tmp_path / "out").exists()
