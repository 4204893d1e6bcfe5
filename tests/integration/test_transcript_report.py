"""A report shows what was asked and how it went, and nothing that a user wrote harms its reader."""

import asyncio
import re
import stat
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from lxml import etree, html
from sqlalchemy.ext.asyncio import create_async_engine
from typer import Typer
from typer.testing import CliRunner

from lightspeed_providers.core.embedder import shared_embedder
from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.turns import Outcome
from lightspeed_providers.transcripts.report.canvas import Paint, svg
from lightspeed_providers.transcripts.report.charts import Bar, bars
from lightspeed_providers.transcripts.report.cli import report
from lightspeed_providers.transcripts.report.feedback import feedback_figures
from lightspeed_providers.transcripts.report.figures import Reason, Tally, Wording
from lightspeed_providers.transcripts.report.gathering import Gathering, latency, reasons_of
from lightspeed_providers.transcripts.report.grouping import Group, groups
from lightspeed_providers.transcripts.report.likeness import (
    SAME_MEANING,
    SAME_WORDING,
    by_meaning,
    by_wording,
)
from lightspeed_providers.transcripts.report.making import Asked, make_report, write_page
from lightspeed_providers.transcripts.report.page import Report, render
from lightspeed_providers.transcripts.report.period import (
    DAY_US,
    HOUR_US,
    WEEK_US,
    last_days,
    steps_of,
)
from lightspeed_providers.transcripts.report.questions import unanswered, worst_rated
from lightspeed_providers.transcripts.report.shares import Share
from lightspeed_providers.transcripts.report.texts import (
    one_line,
    percent,
    seconds,
    short_number,
    shown_text,
)
from lightspeed_providers.transcripts.report.wordings import WordingCounter, normalised
from lightspeed_providers.transcripts.rows import (
    FeedbackCount,
    FeedbackRow,
    TurnFacts,
    TurnRow,
    microseconds,
)
from lightspeed_providers.transcripts.store import TranscriptStore

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SINCE = microseconds(NOON - timedelta(days=9, hours=12))
UNTIL = microseconds(NOON)
ASKED = Asked(SINCE, UNTIL, None, 0.3)
HOSTILE = (
    "<script>alert(1)</script>",
    '</svg></figure><img src="x" onerror="alert(1)">',
    "\u202egpj.exe\u202c turned round",
    '=HYPERLINK("http://evil.example","x")',
    "one\n\n   two\n\tthree",
    "😀" * 700,
    "x" * 10_000,
    "\x00\x1b[31mcontrol\x7f",
    "half of a pair \ud83d",
    "",
    "כיצד אני יוצר משתמש?",
    "{{ 7 * 7 }}{% for x in y %}",
)


def facts(number: int = 0, **fields: object) -> TurnFacts:
    received = SINCE + number * HOUR_US
    values: dict[str, object] = {
        "turn_id": f"turn_{number:032x}",
        "received_us": received,
        "first_token_us": received + 500_000,
        "finished_us": received + 2_000_000,
        "profile": "docs",
        "prompt_version": "0123456789ab",
        "model": "small",
        "outcome": "answered",
        "blocked_by": None,
        "input_tokens": 100,
        "output_tokens": 10,
        "passages": 3,
        "best_score": 0.8,
        "question": "How do I begin?",
        "sentiments": (),
        **fields,
    }
    return TurnFacts(**values)  # type: ignore[arg-type]  # fields of a turn by name


def gathered(*turns: TurnFacts, profile: str | None = None) -> Gathering:
    gathering = Gathering(SINCE, UNTIL, profile=profile)
    for begin in range(0, len(turns), 3):
        gathering.add(turns[begin : begin + 3])
    return gathering


def page_of(
    turns: Sequence[TurnFacts],
    counts: Sequence[FeedbackCount] = (),
    categories: dict[str, int] | None = None,
) -> str:
    figures = gathered(*turns).figures()
    wordings = figures.wordings.looked_at
    likeness = by_wording([each.text for each in wordings])
    found = groups(wordings, likeness, SAME_WORDING) if wordings else []
    return render(
        Report(
            since_us=SINCE,
            until_us=UNTIL,
            made_at=NOON,
            profile=None,
            low_score=0.3,
            turns=figures,
            feedback=feedback_figures(counts, categories or {}, SINCE, UNTIL),
            groups=found,
            by_meaning=False,
        )
    )


@cache
def full_page(questions: tuple[str, ...] = HOSTILE) -> str:
    turns = [facts(n, question=q, sentiments=(-1,)) for n, q in enumerate(questions)]
    turns += [
        facts(n, outcome=outcome, blocked_by="<b>input & $x$</b>", model="</svg><script>")
        for n, outcome in enumerate(Outcome, start=20)
    ]
    counts = [
        FeedbackCount("2026-03-02", "<i>p</i>", '"v"', 1, 1),
        FeedbackCount("2026-03-03", "docs", "0123456789ab", -1, 4),
        FeedbackCount("2026-03-03", None, None, None, 2),
    ]
    return page_of(turns, counts, {"incorrect": 4, "<u>": 1})


# Figures


@pytest.mark.parametrize(
    ("span_us", "step_us", "count"),
    [
        (HOUR_US, HOUR_US, 2),
        (3 * DAY_US, HOUR_US, 73),
        (30 * DAY_US, DAY_US, 31),
        (365 * DAY_US, WEEK_US, 53),
        (3650 * DAY_US, 5 * WEEK_US, 105),
    ],
)
def test_a_period_is_cut_into_about_a_hundred_steps(span_us: int, step_us: int, count: int) -> None:
    until = UNTIL + HOUR_US // 2
    steps = steps_of(until - span_us, until)
    assert steps.step_us == step_us
    assert abs(steps.count - count) <= 1
    assert steps.start_us <= until - span_us
    assert steps.start_us + steps.count * step_us >= until
    assert steps.of(np.array([until - 1]))[0] == steps.count - 1


def test_days_begin_at_midnight_and_weeks_on_monday() -> None:
    days = steps_of(last_days(UNTIL, 30), UNTIL)
    assert (days.name(0), days.count) == ("2026-02-08", 31)
    assert steps_of(UNTIL - 300 * DAY_US, UNTIL).begins(0).weekday() == 0


@pytest.mark.parametrize(
    ("turn", "reasons"),
    [
        (facts(), set()),
        (facts(outcome="refused"), {Reason.REFUSED}),
        (facts(outcome="error", passages=0), {Reason.ERROR}),
        (facts(outcome="truncated"), {Reason.TRUNCATED}),
        (facts(outcome="interrupted", sentiments=(-1,)), {Reason.INTERRUPTED, Reason.DISLIKED}),
        (facts(passages=0, best_score=None), {Reason.NOTHING_FOUND}),
        (facts(best_score=0.29), {Reason.LOW_SCORE}),
        (facts(best_score=0.3), set()),
        (facts(best_score=None), set()),
        (facts(sentiments=(1,)), set()),
        (facts(sentiments=(1, -1)), {Reason.DISLIKED}),
    ],
)
def test_why_a_turn_is_unanswered(turn: TurnFacts, reasons: set[Reason]) -> None:
    assert reasons_of(turn) == reasons


def test_turns_are_summed_up_over_time_by_shield_model_and_prompt() -> None:
    figures = gathered(
        facts(0),
        facts(1, outcome="refused", blocked_by="input_topic", model=None, input_tokens=0),
        facts(2, outcome="refused", blocked_by="input_topic"),
        facts(30, outcome="refused", blocked_by="output_pii", prompt_version="new"),
        facts(31, model="large", input_tokens=5, output_tokens=7),
    ).figures()
    assert figures.turns == 5
    assert figures.steps.count == 10
    assert list(figures.outcomes[Outcome.ANSWERED][:3]) == [1, 1, 0]
    assert list(figures.outcomes[Outcome.REFUSED][:3]) == [2, 1, 0]
    assert figures.shields == [("input_topic", 2), ("output_pii", 1)]
    assert list(figures.input_tokens[:3]) == [200, 105, 0]
    assert [(m.model, m.turns, m.output_tokens) for m in figures.models] == [
        ("small", 3, 30),
        ("", 1, 10),
        ("large", 1, 7),
    ]
    assert [(p.version, p.turns) for p in figures.prompts] == [("0123456789ab", 4), ("new", 1)]
    assert figures.unanswered == 3


def test_one_profile_can_be_looked_at_alone() -> None:
    figures = gathered(facts(0), facts(1, profile="console"), profile="console").figures()
    assert figures.turns == 1
    assert [prompt.profile for prompt in figures.prompts] == ["console"]


def test_times_are_those_of_answers_and_a_clock_set_back_tells_none() -> None:
    received = facts().received_us
    figures = gathered(
        *(facts(0, finished_us=received + n * 1_000_000) for n in range(1, 101)),
        facts(0, outcome="refused", finished_us=received + 1),
        facts(0, finished_us=received - 5, first_token_us=None),
    ).figures()
    assert figures.whole_turn.count == 100
    assert figures.whole_turn.overall == pytest.approx([50.5, 90.1, 99.01])
    assert figures.first_token.count == 100
    assert figures.whole_turn.over_time[0, 0] == pytest.approx(50.5)
    assert np.isnan(figures.whole_turn.over_time[:, 1:]).all()


def test_quantiles_of_nothing_are_none() -> None:
    nothing = latency(np.zeros(0, np.float32), np.zeros(0, np.int64), 3)
    assert (nothing.count, nothing.overall) == (0, [None, None, None])


def test_a_profile_that_never_searches_leaves_nothing_unfound() -> None:
    chats = [facts(n, profile="chat", passages=0, best_score=None) for n in range(3)]
    figures = gathered(*chats, facts(5, passages=0, best_score=None), facts(6)).figures()
    assert figures.reasons == {Reason.NOTHING_FOUND: 1}
    assert figures.unanswered == 1
    assert sum(each.tally.unanswered for each in figures.wordings.looked_at) == 1


def test_feedback_is_summed_up_and_one_of_one_is_not_the_best() -> None:
    counts = [
        FeedbackCount("2026-03-02", "docs", "a", 1, 90),
        FeedbackCount("2026-03-02", "docs", "a", -1, 10),
        FeedbackCount("2026-03-03", "docs", "b", -1, 1),
        FeedbackCount("2026-03-03", "docs", "c", 1, 1),
        FeedbackCount("2026-03-04", "docs", "d", -1, 30),
        FeedbackCount("2026-03-04", "docs", None, None, 7),
    ]
    figures = feedback_figures(counts, {"other": 1, "incorrect": 5}, SINCE, UNTIL)
    assert list(figures.liked[:4]) == [0, 90, 1, 0]
    assert list(figures.disliked[:4]) == [0, 10, 1, 30]
    assert (figures.unrated, figures.count) == (7, 139)
    assert figures.categories == [("incorrect", 5), ("other", 1)]
    assert [prompt.version for prompt in figures.prompts] == ["d", "b", "a", "c"]


@pytest.mark.parametrize(
    ("share", "low", "high"),
    [
        (Share(1, 1), 0.2065, 1.0),
        (Share(0, 1), 0.0, 0.7935),
        (Share(90, 100), 0.8256, 0.9448),
        (Share(0, 0), 0.0, 1.0),
    ],
)
def test_a_share_says_how_sure_it_is(share: Share, low: float, high: float) -> None:
    assert (share.low, share.high) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (percent(None), "–"),
        (percent(1.0), "100 %"),
        (percent(0.9996), ">99.9 %"),
        (percent(0.995), "99.5 %"),
        (percent(0.0001), "<0.1 %"),
        (percent(0.42), "42 %"),
        (seconds(0.0123), "12 ms"),
        (seconds(0.9999), "1 s"),
        (seconds(75), "1.2 min"),
        (seconds(7200), "2 h"),
        (seconds(None), "–"),
        (short_number(999), "999"),
        (short_number(999_999), "1 M"),
        (short_number(12_345), "12.3 k"),
        (one_line("a  b\nc", 10), "a b c"),
        (one_line("word " * 100, 20), "word word word word…"),
        (one_line("x" * 100, 20), "x" * 19 + "…"),
        (shown_text("a\x00b\ud800c\u202ed\n"), "a�b�cd\n"),
    ],
)
def test_values_read_well(shown: str, text: str) -> None:
    assert shown == text


# Questions


def test_case_spaces_and_marks_make_no_other_wording() -> None:
    same = ["How do I begin?", "how do i  BEGIN", " “How do I begin”?! ", "how do I\nbegin…"]
    assert {normalised(text) for text in same} == {"how do i begin"}


def test_wordings_are_counted_in_bounded_memory_and_frequent_ones_exactly() -> None:
    counter = WordingCounter(most=50)
    for number in range(2000):
        counter.add("docs", f"rare {number}", frozenset(), 0, 0)
        if number % 4 == 0:
            counter.add("docs", "Frequent?", frozenset({Reason.REFUSED}), 1, 0)
    found = counter.wordings(10, {"docs"})
    assert found.known <= 100
    assert found.missed > 0
    assert len(found.looked_at) == 10
    frequent = found.looked_at[0]
    assert (frequent.text, frequent.tally.asked, frequent.tally.liked) == ("Frequent?", 500, 500)
    assert frequent.tally.reasons == {Reason.REFUSED: 500}


def test_what_goes_wrong_is_looked_at_though_it_is_rare() -> None:
    counter = WordingCounter()
    for number in range(100):
        for _ in range(2):
            counter.add("docs", f"fine {number}", frozenset(), 0, 0)
    counter.add("docs", "wrong", frozenset({Reason.ERROR}), 0, 0)
    assert "wrong" in {each.text for each in counter.wordings(8, ()).looked_at}


def wordings(*texts: str) -> list[Wording]:
    return [Wording(text, Tally(100 - n, 0, {}, 0, 0)) for n, text in enumerate(texts)]


def together_in(found: Sequence[Group]) -> list[set[str]]:
    return [{group.example, *group.others} for group in found]


def test_a_group_is_a_star_and_not_a_chain() -> None:
    chain = np.array([[1, 0.9, 0.1], [0.9, 1, 0.9], [0.1, 0.9, 1]], dtype=np.float32)
    assert together_in(groups(wordings("a", "b", "c"), chain, 0.8)) == [{"a", "b", "c"}]
    longer = np.eye(4, dtype=np.float32)
    for one in range(3):
        longer[one, one + 1] = longer[one + 1, one] = 0.9
    found = together_in(groups(wordings("a", "b", "c", "d"), longer, 0.8))
    assert found == [{"a", "b", "c"}, {"d"}]


PARAPHRASES = [
    {
        "How do I create a superuser?",
        "how do i crate a superusr",
        "how to create a superuser from the command line",
    },
    {"How do I enable debug mode?", "turn on DEBUG"},
    {"How do I disable debug mode?", "turn off DEBUG in production"},
    {"Which Python versions does Django 5.2 support?", "python version needed for django 5.2"},
    {"Which Python versions does Django 4.2 support?", "python versions for django 4.2"},
    {"What is the CSRF token for?", "why do I need a csrf token"},
    {"how do I sort the rows of a table by two columns"},
]


def test_paraphrases_come_together_and_opposites_and_versions_stay_apart() -> None:
    texts = [text for group in PARAPHRASES for text in sorted(group)]
    encode = shared_embedder(DEFAULT_EMBEDDING_MODEL, "cpu").encode
    heard: list[int] = []
    likeness = by_meaning(texts, encode, heard.append)
    found = together_in(groups(wordings(*texts), likeness, SAME_MEANING))
    assert sorted(map(sorted, found)) == sorted(map(sorted, PARAPHRASES))
    assert heard == [len(texts)]


def test_by_wording_needs_no_model_and_still_finds_slips() -> None:
    texts = ["How do I squash migrations?", "how do i squsah migratoins", "send an email"]
    found = together_in(groups(wordings(*texts), by_wording(texts), SAME_WORDING))
    assert found == [set(texts[:2]), {texts[2]}]


@pytest.mark.parametrize(("asked", "example"), [((4, 5, 4), "middle"), ((4, 3, 9), "often")])
def test_the_middle_stands_for_a_group_unless_users_mostly_say_it_otherwise(
    asked: tuple[int, int, int], example: str
) -> None:
    alike = [
        Wording(text, Tally(count, 0, {}, 0, 0))
        for text, count in zip(("rare", "middle", "often"), asked, strict=True)
    ]
    likeness = np.array([[1, 0.9, 0.1], [0.9, 1, 0.9], [0.1, 0.9, 1]], dtype=np.float32)
    [group] = groups(alike, likeness, 0.8)
    assert group.example == example
    assert {group.example, *group.others} == {"rare", "middle", "often"}


def test_the_tallies_of_a_group_are_summed_up() -> None:
    tallies = [Tally(5, 2, {Reason.ERROR: 2}, 1, 0), Tally(3, 1, {Reason.DISLIKED: 1}, 0, 1)]
    alike = [Wording(name, tally) for name, tally in zip("ab", tallies, strict=True)]
    [group] = groups(alike, np.ones((2, 2), dtype=np.float32), 0.8)
    assert (group.example, group.others) == ("a", ["b"])
    assert group.tally == Tally(8, 3, {Reason.ERROR: 2, Reason.DISLIKED: 1}, 1, 1)


def test_what_goes_wrong_more_than_usual_comes_first_and_surely_bad_before_unsure() -> None:
    def group(name: str, tally: Tally) -> Group:
        return Group(name, [], tally)

    usual = group("usual", Tally(1000, 100, {Reason.ERROR: 100}, 0, 1))
    bad = group("bad", Tally(40, 40, {Reason.REFUSED: 40}, 0, 3))
    fine = group("fine", Tally(40, 0, {}, 4, 0))
    listed = unanswered([usual, bad, fine], 0.1)
    assert [one.short for one in listed] == ["bad", "usual"]
    assert [one.short for one in worst_rated([usual, bad, fine])] == ["bad", "usual"]


# The page


class Balance(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        assert "svg" in self.open, tag

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_its_ids_are_unique() -> None:
    page = full_page()
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    tree = html.document_fromstring(page)
    for plot in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        etree.fromstring(plot)
    ids = tree.xpath("//@id")
    assert len(ids) == len(set(ids)) > 20
    for reference in tree.xpath("//*/@href"):
        assert reference.startswith("#")
        assert reference[1:] in ids
    for clip in tree.xpath("//*/@clip-path"):
        assert re.fullmatch(r"url\(#(.+)\)", clip)[1] in ids  # type: ignore[index]  # it matches


def test_the_page_asks_for_nothing_and_runs_nothing() -> None:
    page = full_page()
    tree = html.document_fromstring(page)
    [policy] = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert not tree.xpath("//script | //link | //img | //iframe | //object | //embed | //base")
    assert not tree.xpath("//@src | //@*[starts-with(name(), 'on')] | //@*[name()='xlink:href']")
    assert not re.search(r"@import|url\((?!#)", page)


def test_every_plot_has_words_a_table_and_no_colour_of_its_own() -> None:
    tree = html.document_fromstring(full_page())
    figures = tree.xpath("//figure")
    assert len(figures) == 11
    for figure in figures:
        plots = figure.xpath(".//svg")
        assert len(plots) == 2
        assert all(plot.get("role") == "img" and plot.get("aria-label") for plot in plots)
        assert figure.xpath(".//details//td")
        for style in figure.xpath(".//svg//@style"):
            assert "#" not in style.replace("url(#", ""), style
            assert "DejaVu" not in style


def test_what_users_wrote_is_text_and_no_markup() -> None:
    page = full_page()
    assert "<script" not in page
    assert "<b>input" not in page
    assert "alert(1)&lt;/script&gt;" in page
    assert "\u202e" not in page
    assert "\x00" not in page
    tree = html.document_fromstring(page)
    shown = " ".join(tree.xpath("//*[@class='question']//text()"))
    assert "{{ 7 * 7 }}" in shown
    assert '=HYPERLINK("http://evil.example","x")' in shown
    assert "gpj.exe turned round" in shown
    assert "(empty)" in shown
    assert "<b>input & $x$</b>" in " ".join(tree.xpath("//svg//text()"))
    for question in tree.xpath("//*[@class='question']"):
        assert question.get("dir") == "auto"
        assert len(question.text_content()) <= 150
        assert "\n" not in question.text_content()
    full = [each.text_content() for each in tree.xpath("//*[@class='full-text']")]
    assert "one\n\n   two\n\tthree" in full
    assert any(text == "x" * 2000 + "…" for text in full)


def test_a_page_with_broken_text_is_unicode() -> None:
    page = full_page(("half of a pair \ud83d",))
    assert "half of a pair �" in page.encode().decode()


def test_hostile_labels_of_plots_stay_inside_the_plot() -> None:
    rows = [Bar(text, [(Paint.LIKED, 1)], "1") for text in HOSTILE]
    drawn = svg(bars(rows), width=300, height=400, name="a", label='"><script>alert(1)</script>')
    root = etree.fromstring(drawn)
    assert root.tag.endswith("svg")
    assert "<script" not in drawn
    assert root.get("aria-label") == '"><script>alert(1)</script>'
    longest = max(len(text) for text in root.itertext())
    assert longest <= 45


def test_no_turns_at_all_is_said_and_not_drawn() -> None:
    tree = html.document_fromstring(page_of([]))
    assert not tree.xpath("//svg")
    words = tree.text_content()
    assert "No turns in this period." in words
    assert "No feedback in this period." in words
    assert "nan" not in words.lower().split()
    assert "None" not in words


def test_a_single_turn_makes_a_sensible_page() -> None:
    page = page_of([facts()], [FeedbackCount("2026-03-02", "docs", "a", 1, 1)])
    tree = html.document_fromstring(page)
    tiles = {
        tile.xpath("string(*[1])"): tile.xpath("string(*[2])")
        for tile in tree.xpath("//ul[@class='tiles']/li")
    }
    assert tiles["Turns"] == "1"
    assert tiles["First token"] == "500 ms"
    assert tiles["Positive feedback"] == "1 of 1"
    assert "nan" not in re.split(r"\W+", page.lower())


# The command


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "run.yaml"
    settings = {"store": {"backend": "sql_turns", "table_name": "turns"}}
    provider = {
        "provider_id": "transcripts",
        "provider_type": "inline::lightspeed-transcripts",
        "config": settings,
    }
    backend = {"type": "sql_sqlite", "db_path": str(tmp_path / "turns.db")}
    path.write_text(
        yaml.safe_dump(
            {
                "version": 2,
                "distro_name": "report-test",
                "apis": ["transcripts"],
                "providers": {"transcripts": [provider]},
                "storage": {"backends": {"sql_turns": backend}},
            }
        )
    )
    return path


@pytest.fixture
def command() -> Typer:
    app = Typer(pretty_exceptions_enable=False)
    app.command()(report)
    return app


def row(number: int, **fields: object) -> TurnRow:
    received = SINCE + number * HOUR_US
    values: dict[str, object] = {
        "turn_id": f"turn_{number:032x}",
        "received_us": received,
        "first_token_us": received + 400_000,
        "finished_us": received + 1_500_000,
        "user_hash": "u" * 64,
        "conversation_id": None,
        "response_id": f"resp_{number}",
        "previous_response_id": None,
        "profile": "docs",
        "prompt_version": "0123456789ab",
        "model": "small",
        "provider": "local",
        "outcome": "answered",
        "input_tokens": 100,
        "output_tokens": 20,
        "passages": 4,
        "best_score": 0.7,
        "shields": (),
        "blocked_by": None,
        "question": "How do I begin?",
        "answer": "Like this.",
        "record": "{}",
        **fields,
    }
    return TurnRow(**values)  # type: ignore[arg-type]  # fields of a turn by name


def feedback_row(turn: TurnRow, sentiment: int) -> FeedbackRow:
    return FeedbackRow(
        feedback_id=turn.turn_id.replace("turn_", "fb_"),
        created_us=turn.finished_us,
        user_hash=turn.user_hash,
        conversation_id=None,
        turn_id=turn.turn_id,
        profile=turn.profile,
        prompt_version=turn.prompt_version,
        sentiment=sentiment,
        categories=("incorrect",) if sentiment < 0 else (),
        record="{}",
    )


def filled(directory: Path) -> None:
    refused = {"outcome": "refused", "blocked_by": "input_topic", "shields": ("input_topic",)}
    rows = [row(n) for n in range(6)]
    rows += [row(n, question="<script>alert(1)</script>", **refused) for n in range(6, 8)]
    rows += [row(500, question="After the period")]

    async def fill() -> None:
        store = TranscriptStore(
            lambda: create_async_engine(f"sqlite+aiosqlite:///{directory / 'turns.db'}"),
            "turns",
            sync_commits=False,
        )
        await store.insert_turns(rows)
        await store.insert_feedback(feedback_row(rows[0], -1))
        await store.insert_feedback(feedback_row(rows[1], 1))
        await store.close()

    asyncio.run(fill())


PERIOD = ["--since", "2026-03-01", "--until", "2026-03-10T12:00"]


def test_the_command_writes_a_page_from_the_database(
    config: Path, command: Typer, tmp_path: Path
) -> None:
    filled(tmp_path)
    out = tmp_path / "out" / "page.html"
    out.parent.mkdir()
    arguments = ["--config", str(config), "--out", str(out), "--group-by", "wording", *PERIOD]
    for _ in range(2):  # what is there is replaced
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        str(out),
        "8 turns, 3 unanswered, 2 feedback, 2 different questions.",
    ]
    page = out.read_text()
    assert "<script" not in page
    assert "After the period" not in page
    assert "1 March 2026 to 10 March 2026, 12:00" in page
    tree = html.document_fromstring(page)
    assert tree.xpath("//svg//text()[contains(., 'input_topic')]")
    assert tree.xpath("//svg//text()[contains(., 'incorrect')]")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [each.name for each in out.parent.iterdir()] == ["page.html"]


def test_a_profile_nobody_used_makes_an_empty_page(
    config: Path, command: Typer, tmp_path: Path
) -> None:
    filled(tmp_path)
    out = tmp_path / "page.html"
    arguments = ["--config", str(config), "--out", str(out), "--profile", "<other>", *PERIOD]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "0 turns" in result.stdout
    assert "&lt;other&gt;" in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--days", "0"], "--days"),
        (["--days", "3", "--since", "2026-01-01"], "leave one out"),
        (["--since", "2026-02-01", "--until", "2026-02-01"], "not before --until"),
        (["--since", "yesterday"], "--since"),
        (["--group-by", "luck"], "--group-by"),
        (["--low-score", "2"], "--low-score"),
    ],
)
def test_wrong_options_are_explained(
    config: Path, command: Typer, arguments: list[str], says: str
) -> None:
    result = CliRunner().invoke(command, ["--config", str(config), *arguments])
    assert result.exit_code == 2
    assert says in re.sub(r"[│\s]+", " ", re.sub(r"\x1b\[[\d;]*m", "", result.output))


def test_a_directory_that_is_not_there_is_said_before_work_is_done(
    config: Path, command: Typer, tmp_path: Path
) -> None:
    out = tmp_path / "missing" / "page.html"
    result = CliRunner().invoke(command, ["--config", str(config), "--out", str(out)])
    assert isinstance(result.exception, ConfigurationError)
    assert "does not exist: use another --out" in str(result.exception)


def test_the_report_reads_a_store_by_meaning(tmp_path: Path) -> None:
    filled(tmp_path)
    seen: list[str] = []

    async def made() -> Report:
        store = TranscriptStore(
            lambda: create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'turns.db'}"),
            "turns",
            sync_commits=False,
        )
        encode = shared_embedder(DEFAULT_EMBEDDING_MODEL, "cpu").encode
        try:
            return await make_report(
                store,
                ASKED,
                encode=lambda: encode,
                made_at=NOON,
                progress=lambda stage, *_: seen.append(stage),
            )
        finally:
            await store.close()

    made_report = asyncio.run(made())
    assert made_report.turns.turns == 8
    assert [group.tally.asked for group in made_report.groups] == [6, 2]
    assert made_report.feedback.likes == Share(1, 2)
    assert set(seen) == {"turns, percent", "questions compared"}
    write_page(made_report, tmp_path / "page.html")
    assert "that mean the same" in (tmp_path / "page.html").read_text()


def test_the_engine_loads_neither_the_host_nor_a_model() -> None:
    code = (
        "import sys\n"
        "import lightspeed_providers.transcripts.report.making\n"
        "import lightspeed_providers.transcripts.report.cli\n"
        "wrong = {'torch', 'matplotlib', 'llama_stack'} & set(sys.modules)\n"
        "sys.exit(str(wrong) if wrong else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
