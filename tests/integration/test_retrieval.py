"""A question finds its passages, once each and as much of them as is wanted, whatever is asked."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pump_manual import (
    LUBRICATION,
    about,
    asks,
    build,
    build_really,
    manual,
    real_encoder,
    search,
    written,
)

from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnavailableError,
)
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.product_rag.choice import (
    Hit,
    chosen,
    joined_with_neighbours,
    overlap,
)
from lightspeed_providers.product_rag.fusion import fuse, supported
from lightspeed_providers.product_rag.index.content import Stored
from lightspeed_providers.product_rag.index.open import open_index
from lightspeed_providers.product_rag.index.stems import Stemmer
from lightspeed_providers.product_rag.keywords import asked, telling_terms
from lightspeed_providers.product_rag.retrieval import (
    Retriever,
    SearchResult,
    SearchSettings,
    checked_query,
)
from lightspeed_providers.product_rag.spelling import Speller, english_words

Ask = Callable[..., SearchResult]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pump's manual, with the real model."""
    folder = tmp_path_factory.mktemp("manual")
    build_really(manual(folder / "docs"), folder / "index")
    return folder / "index"


# Questions


@pytest.mark.parametrize(
    ("query", "anchor"),
    [
        ("How do I make the bell stop ringing?", "silence-an-alarm"),
        ("BACKUP_RETENTION_DAYS", "nightly-backups"),
        ("E-102", "silence-an-alarm"),
        ("Archive.restore", "pump.backup.Archive.restore"),
        ("how often must the motor be greased", ""),
    ],
)
def test_questions_find_their_passage(built: Path, query: str, anchor: str) -> None:
    best = search(built, query).passages[0]
    assert best.doc_url.partition("#")[2] == anchor
    assert best.doc_url.startswith("https://docs.example.com/2.1/")
    assert (best.product, best.version, best.source) == ("Acme Pump", "2.1", "index")
    assert best.score > 0.25


def test_scores_fall_and_say_how_good_a_passage_is(built: Path) -> None:
    scores = [p.score for p in search(built, "How do I silence an alarm?", k=9).passages]
    assert scores == sorted(scores, reverse=True)
    assert 1.0 >= scores[0] > 1.5 * scores[-1]
    off_topic = search(built, "Who won the election?").passages[0].score
    assert off_topic < scores[0]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_every_mode_finds_what_has_the_words(built: Path, mode: str) -> None:
    found = search(built, "grease the bearing of the motor", mode=mode)
    assert found.passages[0].title == "Lubrication"
    assert found.errors == ()


def test_keywords_alone_find_nothing_without_their_words(built: Path) -> None:
    assert search(built, "whale submarine", mode="keyword").passages == ()
    assert search(built, "whale submarine", mode="hybrid").passages


HOSTILE = {
    "quote": '"',
    "sql": "'; DROP TABLE passages; --",
    "near": "NEAR(pressure, 3) AND NOT (title:alarm*)",
    "operators": "pressure OR AND NOT ^* : { } - +",
    "column": "content : pressure",
    "labels": "labels : g0",
    "controls": "\x00pressure\x01\x1f\x7f\x85\u2028",
    "surrogate": "\ud800 lone surrogate",
    "punctuation": "?!.,;:()[]",
    "underscores": "_ __ ___",
    "dots": "a.b.c.d-e.f " * 400,
    "scripts": "压力 αβγ žluťoučký עברית ไทย",
    "emoji": "🚰💧🔧 👩‍🔧",
    "combining": "e\u0301\u0302\u0303" * 100,
    "digits": "² ½ ٣ Ⅷ",
    "many words": "pressure " * 12_000,
    "different words": " ".join(f"word{n}" for n in range(15_000)),
    "long word": "a" * 100_000,
    "stars": "*",
    "colons": "col:" * 500,
    "parentheses": "(" * 5_000,
    "numbers": "1." * 50_000,
    "stop words": "what is the how of a to",
}


@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE)
def test_no_query_breaks_the_search(built: Path, query: str, mode: str) -> None:
    found = search(built, query, embedded="pressure", k=3, mode=mode)
    assert found.errors == ()
    assert found.took_ms < 1000
    if mode == "hybrid":
        assert len(found.passages) == 3


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE)
def test_no_query_breaks_the_spelling(built: Path, query: str) -> None:
    with closing(open_index(built, None)) as index:
        assert Retriever(index).understood(query)


@pytest.mark.parametrize("query", ["", "  \n\t", "\x00"])
def test_an_empty_query_is_refused(built: Path, query: str) -> None:
    with pytest.raises(InvalidRequestError, match="empty"):
        search(built, query)
    with closing(open_index(built, None)) as index, pytest.raises(InvalidRequestError):
        Retriever(index).understood(query)


def test_a_query_is_cleaned_of_what_no_database_takes() -> None:
    assert checked_query(" a\x00b \ud800 ") == "a b ?"


def test_a_vector_of_another_model_is_refused(built: Path) -> None:
    with closing(open_index(built, None)) as index:
        retriever, wrong = Retriever(index), np.ones(3, dtype=np.float32)
        with pytest.raises(ConfigurationError, match="3 dimensions and the index has 384"):
            retriever.search("pressure", wrong, SearchSettings())


def test_a_vector_of_any_length_gives_the_same(built: Path) -> None:
    with closing(open_index(built, None)) as index:
        retriever, vector = Retriever(index), real_encoder().encode(["pressure"])[0]
        once = retriever.search("pressure", vector, SearchSettings())
        longer = retriever.search("pressure", 7 * vector, SearchSettings())
        nothing = retriever.search("pressure", 0 * vector, SearchSettings())
    assert [hit.passage for hit in once.hits] == [hit.passage for hit in longer.hits]
    assert nothing.passages


def test_a_closed_index_is_unavailable(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightspeed_providers.product_rag.index.open._PATIENCE_S", 0.01)
    index = open_index(built, None)
    index.close()
    with pytest.raises(UnavailableError, match="closed"):
        Retriever(index).understood("pressure")


def test_nothing_is_found_under_the_threshold(built: Path) -> None:
    off_topic = search(built, "Who won the election?", min_score=0.4)
    on_topic = search(built, "Which pressure alarms are there?", min_score=0.4)
    assert off_topic.passages == ()
    assert off_topic.best_score < 0.4 < on_topic.best_score
    assert on_topic.passages


def test_the_budget_bounds_the_passages(built: Path) -> None:
    everything = search(built, "pump", k=5)
    bounded = search(built, "pump", k=5, max_tokens=100)
    assert 1 <= len(bounded.passages) < len(everything.passages)
    assert sum(hit.tokens for hit in bounded.hits) <= 100
    assert len(search(built, "pump", max_tokens=1).passages) == 1


@pytest.mark.parametrize("k", [1, 2, 4, 50])
def test_at_most_k_are_given(built: Path, k: int) -> None:
    assert len(search(built, "pump", k=k).passages) == min(k, 7)


def test_texts_that_say_the_same_come_once(tmp_path: Path) -> None:
    wanted = manual(tmp_path / "docs")
    written(tmp_path / "docs", {"copy.txt": LUBRICATION, "nearly.txt": LUBRICATION + "\n\nNote."})
    build(wanted, tmp_path / "index")
    contents = [p.content for p in search(tmp_path / "index", "grease the bearing").passages]
    assert sum("Grease the bearing" in content for content in contents) == 1


def test_many_threads_share_an_index(built: Path) -> None:
    vector = real_encoder().encode(["silence the alarm"])[0]
    with closing(open_index(built, DEFAULT_EMBEDDING_MODEL)) as index:
        retriever = Retriever(index)

        def ask(_: int) -> tuple[str, ...]:
            found = retriever.search("silence the alarm", vector, SearchSettings(k=3))
            return tuple(passage.passage_id for passage in found.passages)

        with ThreadPoolExecutor(16) as pool:
            assert len(set(pool.map(ask, range(200)))) == 1


def test_the_same_question_finds_the_same(built: Path) -> None:
    first, *others = (search(built, "pump backups", k=9).passages for _ in range(3))
    assert others == [first, first]


# Rerankers


class Reversing:
    """Finds the last passage best."""

    def __init__(self) -> None:
        self.judged: list[Sequence[str]] = []

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        self.judged.append(texts)
        return [n / len(texts) for n in range(len(texts))]


class Failing:
    """Answers wrongly, or not at all."""

    def __init__(self, answer: list[float] | Exception) -> None:
        self._answer = answer

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def test_a_rerankers_order_is_taken(built: Path) -> None:
    plain = search(built, "pump", k=9).passages
    reranker = Reversing()
    turned = search(built, "pump", k=9, reranker=reranker).passages
    assert [p.passage_id for p in turned] == [p.passage_id for p in reversed(plain)]
    assert turned[0].score > turned[-1].score


def test_a_reranker_judges_only_the_best(built: Path) -> None:
    reranker = Reversing()
    search(built, "pump", k=2, rerank_top=3, reranker=reranker)
    assert [len(texts) for texts in reranker.judged] == [3]


def test_a_reranker_takes_no_passage_away(built: Path) -> None:
    assert len(search(built, "pump", k=5, rerank_top=1, reranker=Reversing()).passages) == 5


@pytest.mark.parametrize("answer", [RuntimeError("secret"), TimeoutError(), [0.5], []])
def test_a_reranker_that_fails_keeps_the_order_and_is_told(
    built: Path, answer: list[float] | Exception
) -> None:
    plain = search(built, "pump", k=9)
    kept = search(built, "pump", k=9, reranker=Failing(answer))
    assert kept.passages == plain.passages
    assert len(kept.errors) == 1
    assert kept.errors[0].startswith("Reranking failed (")
    assert "secret" not in kept.errors[0]


# Neighbours


def sentence(topic: str, n: int) -> str:
    return f"{topic} sentence {n} " + " ".join(f"{topic}{n}word{m}" for m in range(20)) + "."


@pytest.fixture(scope="module")
def long_sections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Two sections that had to be split, under one page."""
    folder = tmp_path_factory.mktemp("long")
    parts = [
        f"## {topic}\n\n" + "\n\n".join(sentence(topic, n) for n in range(9))
        for topic in ("Rinsing", "Drying")
    ]
    source = written(folder / "docs", {"filter.md": "# Filter\n\n" + "\n\n".join(parts)})
    build(about(source), folder / "index")
    return asks(folder / "index")


def test_a_section_that_was_split_is_put_together(long_sections: Ask) -> None:
    query = sentence("Rinsing", 4)
    alone = long_sections(query, k=1)
    wider = long_sections(query, k=1, neighbour_tokens=1500)
    (hit,), (more,) = alone.hits, wider.hits
    assert hit.passage.content in more.passage.content
    assert more.tokens > hit.tokens
    order = [n for n in range(9) if f"Rinsing sentence {n} " in more.passage.content]
    assert order == list(range(order[0], order[-1] + 1))
    assert len(order) > sum(f"Rinsing sentence {n} " in hit.passage.content for n in range(9))
    assert "Drying" not in more.passage.content
    assert (more.passage.doc_url, more.passage.score) == (hit.passage.doc_url, hit.passage.score)


@pytest.mark.parametrize("budget", [0, 10, 300, 1000, 10_000])
def test_neighbours_stay_within_their_budget(long_sections: Ask, budget: int) -> None:
    for max_tokens in (600, 1500, 4000):
        settings = {"k": 3, "max_tokens": max_tokens}
        alone = long_sections("Rinsing Drying sentence", **settings)
        wider = long_sections("Rinsing Drying sentence", neighbour_tokens=budget, **settings)
        assert len(wider.hits) == len(alone.hits)
        added = sum(hit.tokens for hit in wider.hits) - sum(hit.tokens for hit in alone.hits)
        assert 0 <= added <= budget
        assert sum(hit.tokens for hit in wider.hits) <= max_tokens


def test_no_text_comes_twice(long_sections: Ask) -> None:
    for k in (2, 3, 5, 9):
        found = long_sections("Drying sentence", k=k, max_tokens=10_000, neighbour_tokens=10_000)
        text = "\n".join(passage.content for passage in found.passages)
        for n in range(9):
            assert text.count(f"Drying sentence {n} ") <= 1


def stored(
    ordinal: int,
    content: str,
    tokens: int = 10,
    *,
    path: tuple[str, ...] = ("A",),
    document: int = 1,
) -> Stored:
    passage = Passage(
        passage_id=f"{document}/{ordinal}",
        document_id=str(document),
        title="Title",
        heading_path=path,
        doc_url=f"https://x/{document}#{ordinal}",
        content=content,
    )
    return Stored(passage, tokens, 100 * document + ordinal, document, ordinal)


def hit(of: Stored) -> Hit:
    return Hit(of.passage, of.tokens, of.document, of.ordinal)


PAGE = [stored(n, f"text {n}", path=("A",) if n < 4 else ("B",)) for n in range(6)]


def beside(document: int, first: int, last: int) -> list[Stored]:
    return [one for one in PAGE if one.document == document and first <= one.ordinal <= last]


@pytest.mark.parametrize(
    ("ordinals", "budget", "contents"),
    [
        ([1], 100, ["text 0\n\ntext 1\n\ntext 2"]),
        ([1], 10, ["text 0\n\ntext 1"]),
        ([1], 9, ["text 1"]),
        ([0], 100, ["text 0\n\ntext 1"]),
        ([3], 100, ["text 2\n\ntext 3"]),
        ([4], 100, ["text 4\n\ntext 5"]),
        ([1, 2], 100, ["text 0\n\ntext 1", "text 2\n\ntext 3"]),
        ([0, 2], 100, ["text 0\n\ntext 1", "text 2\n\ntext 3"]),
        ([2, 0], 100, ["text 1\n\ntext 2\n\ntext 3", "text 0"]),
        ([], 100, []),
    ],
)
def test_neighbours_are_of_the_same_section_and_come_once(
    ordinals: list[int], budget: int, contents: list[str]
) -> None:
    hits = [hit(PAGE[n]) for n in ordinals]
    joined = joined_with_neighbours(hits, budget, beside)
    assert [one.passage.content for one in joined] == contents
    assert sum(one.tokens for one in joined) == 10 * sum(c.count("text") for c in contents)


def test_a_hit_without_a_place_has_no_neighbours() -> None:
    alone = Hit(PAGE[0].passage, 10)
    assert joined_with_neighbours([alone], 100, beside) == (alone,)


# What is chosen


def ranked(*stored_texts: Stored) -> list[tuple[Stored, float]]:
    return [(one, 1 - n / 10) for n, one in enumerate(stored_texts)]


def words(n: int, changed: int = 0) -> str:
    return " ".join(f"w{m}" if m >= changed else f"other{m}" for m in range(n))


def test_near_duplicates_are_folded_into_the_better_one() -> None:
    same = [stored(0, words(40)), stored(1, words(40, changed=2)), stored(2, words(40, changed=9))]
    assert [one.ordinal for one in chosen(ranked(*same), 5, 1000)] == [0, 2]


def test_k_counts_what_is_given_not_what_is_folded() -> None:
    texts = [stored(0, words(40)), stored(1, words(40)), stored(2, "else"), stored(3, "more")]
    assert [one.ordinal for one in chosen(ranked(*texts), 2, 1000)] == [0, 2]


@pytest.mark.parametrize(
    ("tokens", "budget", "given"),
    [
        ([50, 50, 50], 100, [0, 1]),
        ([500, 50, 50], 100, [0]),
        ([50, 500, 50], 100, [0, 2]),
        ([50, 50, 50], 0, [0]),
        ([], 100, []),
    ],
)
def test_the_best_always_fits_and_others_only_within_the_budget(
    tokens: list[int], budget: int, given: list[int]
) -> None:
    texts = [stored(n, f"text{n}", size) for n, size in enumerate(tokens)]
    assert [one.ordinal for one in chosen(ranked(*texts), 5, budget)] == given


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [("a b c", "a b c", 1.0), ("a b", "b c", 1 / 3), ("a", "b", 0.0), ("", "", 1.0), ("", "a", 0)],
)
def test_overlap(one: str, other: str, share: float) -> None:
    assert overlap(frozenset(one.split()), frozenset(other.split())) == pytest.approx(share)


# Fusion


@pytest.mark.parametrize(
    ("cosines", "bm25", "ideal", "order"),
    [
        pytest.param({1: 0.6, 2: 0.5}, {2: 10.0}, 10.0, [2, 1], id="words that cover decide"),
        pytest.param({1: 0.6, 2: 0.5}, {2: 1.0}, 10.0, [1, 2], id="few of the words do not"),
        pytest.param({1: 0.6, 2: 0.5}, {2: 10.0}, 1000.0, [1, 2], id="rare words are missing"),
        pytest.param({1: 0.6, 2: 0.5}, {}, 0.0, [1, 2], id="no words"),
        pytest.param({1: 0.5, 2: 0.5}, {}, 0.0, [1, 2], id="ties go by position"),
        pytest.param({2: 0.5, 1: 0.5}, {1: 3.0, 2: 3.0}, 9.0, [1, 2], id="also with words"),
        pytest.param({1: 0.9, 2: 0.1}, {2: 5.0, 1: 5.0}, 10.0, [1, 2], id="equal words"),
        pytest.param({}, {}, 5.0, [], id="nothing"),
    ],
)
def test_fusion(
    cosines: dict[int, float], bm25: dict[int, float], ideal: float, order: list[int]
) -> None:
    fused = fuse(cosines, bm25, ideal)
    assert list(fused) == order
    assert all(0 <= score <= 1 for score in fused.values())


def test_a_fused_score_is_bounded_and_complete() -> None:
    assert fuse({1: 1.0}, {1: 50.0}, 10.0) == {1: 1.0}
    assert fuse({1: 1.0}, {1: 10.0}, 10.0) == {1: 1.0}
    assert fuse({1: 0.0}, {}, 10.0) == {1: 0.0}


def test_a_page_that_is_found_often_supports_its_passages() -> None:
    scores = {1: 0.50, 2: 0.499, 3: 0.49, 4: 0.48}
    pages = {1: "alone", 2: "often", 3: "often", 4: "often"}
    raised = supported(scores, pages)
    assert list(raised)[:1] == [2]
    assert all(0 <= score <= 1 for score in raised.values())
    far = supported({1: 0.9, 2: 0.5, 3: 0.5, 4: 0.5}, pages)
    assert list(far)[:1] == [1]
    assert supported({}, {}) == {}


# Words


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("How do I silence it?", ("silence",)),
        ("How do I use it?", ("how", "do", "i", "use", "it")),
        ("the SECURE_HSTS setting", ("secure_hsts", "setting")),
        ('say "AND" (or) NOT', ("say", "not")),
        ("django.db.models", ("django.db.models",)),
        ("manage.py --no-input", ("manage.py", "no-input")),
        ("pump pump PUMP", ("pump",)),
        ("?!*", ()),
        ("", ()),
    ],
)
def test_telling_terms(text: str, terms: tuple[str, ...]) -> None:
    assert telling_terms(text) == terms


def test_only_so_many_terms_are_looked_up() -> None:
    assert len(telling_terms(" ".join(f"word{n}" for n in range(10_000)))) == 32
    assert len(telling_terms("a" * 100_000)[0]) == 4000


STEMS = Stemmer().stems


def lists(counts: dict[str, int]) -> Callable[[Sequence[str]], dict[str, tuple[int, int]]]:
    def listed(stems: Sequence[str]) -> dict[str, tuple[int, int]]:
        return {stem: (counts[stem], 7) for stem in stems if stem in counts}

    return listed


def test_what_is_asked_is_what_the_index_has() -> None:
    found = asked(["pump", "alarms"], 1000, STEMS, lists({"pump": 900, "alarm": 10}))
    assert [(part.start, part.texts) for part in found.words] == [(7, 10), (7, 900)]
    assert found.words[0].rarity > found.words[1].rarity > 0
    assert found.names is None


def test_a_word_in_all_forms_is_looked_up_once() -> None:
    found = asked(["alarm", "alarms", "alarming"], 1000, STEMS, lists({"alarm": 10}))
    assert len(found.words) == 1
    alone = asked(["alarm"], 1000, STEMS, lists({"alarm": 10}))
    assert found.ideal == alone.ideal


def test_a_name_is_asked_for_as_a_phrase() -> None:
    counts = {"select": 50, "relat": 40, "all": 400}
    found = asked(["select_related", "all"], 1000, STEMS, lists(counts))
    assert found.names == '"select_related"'
    assert len(found.words) == 1


def test_rare_words_are_worth_more_than_common_ones() -> None:
    counts = lists({"rare": 1, "common": 600})
    rare, common = (asked([term], 1000, STEMS, counts) for term in ("rare", "common"))
    unknown = asked(["unknown"], 1000, STEMS, counts)
    assert unknown.ideal > rare.ideal > common.ideal > 0
    assert unknown.words == ()


@pytest.mark.parametrize("terms", [[], ["_"], ["²"], ["___", "_"]])
def test_terms_without_a_word_ask_nothing(terms: list[str]) -> None:
    found = asked(terms, 1000, STEMS, lists({}))
    assert (found.words, found.names) == ((), None)


def test_no_term_is_an_operator() -> None:
    terms = telling_terms('NEAR("a b", 3) OR labels:g0 AND NOT * - ^ col.umn')
    found = asked(terms, 10, STEMS, lists({}))
    assert found.everything == " OR ".join(f'"{term}"' for term in terms)
    assert all(set(term) & set('"*^:()') == set() for term in terms)


# Spelling

VOCABULARY = {"pressure": 40, "alarm": 30, "backup": 20, "retention": 10, "measurement": 5}


def corrected(text: str, indexed: frozenset[str] = frozenset()) -> str:
    return Speller(VOCABULARY).corrected(text, lambda word: word in indexed)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("presure alarms", "pressure alarms"),
        ("pressrue alarm", "pressure alarm"),
        ("how long is the retenton", "how long is the retention"),
        ("measuremnts", "measurement"),
        ("presurre", "pressure"),
        ("Presure is too low", "pressure is too low"),
    ],
)
def test_a_slip_is_set_right(text: str, meant: str) -> None:
    assert corrected(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "pressure alarm",
        "the quick brown fox jumps",
        "presure_low",
        "PRESURE",
        "the Presure company",
        "getPresure",
        "pump.presure",
        "presure.txt",
        "presure()",
        "/etc/presure",
        "presure/low",
        "--presure",
        "-presure",
        "presure-low",
        "$presure",
        "@presure",
        "user@presure",
        "https://presure",
        "presure2",
        "'presure'",
        "ala",
        "alrm " + "x" * 1000,
        "zzzzzzzz",
        "alxrx",
        "préssure",
    ],
)
def test_what_is_no_plain_slip_stays(text: str) -> None:
    assert corrected(text) == text


def test_what_any_text_has_stays() -> None:
    assert corrected("presure", frozenset({"presure"})) == "presure"


def test_without_words_nothing_is_corrected() -> None:
    assert Speller({}).corrected("presure", lambda word: False) == "presure"


def test_english_words_are_known() -> None:
    assert {"election", "whale", "the"} <= english_words()
    assert "presure" not in english_words()


@pytest.mark.parametrize(("language", "meant"), [("en", "lubrication"), ("de", "lubrcation")])
def test_only_an_english_index_corrects(tmp_path: Path, language: str, meant: str) -> None:
    source = written(
        tmp_path / "docs",
        {f"{n}.md": f"# Page {n}\n\nLubrication of bearing {n} by hand." for n in range(3)},
    )
    build(about(source, language=language), tmp_path / "index")
    with closing(open_index(tmp_path / "index", None)) as index:
        assert Retriever(index).understood("lubrcation") == meant
        assert Retriever(index).understood("bearings handled") == "bearings handled"
