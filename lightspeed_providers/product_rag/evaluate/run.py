"""Asks every search every question."""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from lightspeed_providers.product_rag.evaluate.metrics import metrics_of
from lightspeed_providers.product_rag.evaluate.questions import Question
from lightspeed_providers.product_rag.evaluate.ranks import (
    anchor_of,
    page_ranks,
    passage_ranks,
)
from lightspeed_providers.product_rag.evaluate.results import (
    IndexFacts,
    Outcome,
    QuestionFile,
    Results,
    Settings,
)
from lightspeed_providers.product_rag.evaluate.searching import Found, Searcher
from lightspeed_providers.product_rag.evaluate.summary import contests, measured
from lightspeed_providers.product_rag.index.manifest import sha256_of

PASSAGES_A_PAGE = 5
"""So many passages are asked for each page that counts: several may be of one page."""
_SOFTWARE = ("lightspeed-providers", "faiss-cpu", "scikit-learn", "scipy", "sentence-transformers")

Report = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much there is."""


def evaluate(
    searchers: Sequence[Searcher],
    questions: Sequence[Question],
    *,
    settings: Settings,
    index: IndexFacts,
    places: Collection[str],
    report: Report,
) -> Results:
    """Return what every search did with every question; `places` are those that the index has."""
    for searcher in searchers:  # what is read for the first time is nobody's time
        searcher.search(questions[0], settings.depth)
    outcomes: list[list[Outcome]] = []
    for done, question in enumerate(questions, start=1):
        outcomes.append(
            [
                outcome(question, one.search(question, settings.depth), settings.k)
                for one in searchers
            ]
        )
        report("Asking questions", done, len(questions))
    told = []
    for n, searcher in enumerate(searchers):
        of_searcher = [outcomes_of_question[n] for outcomes_of_question in outcomes]
        told.append(measured(searcher.name, questions, of_searcher, settings.k))
        report("Calculating", n + 1, len(searchers))
    return Results(
        settings=settings,
        index=index,
        questions=tuple(questions),
        unknown_places=unknown_places(questions, places),
        searchers=tuple(told),
        contests=contests(questions, told, settings.k),
    )


def settings_of(
    files: Sequence[Path], *, split: str, k: int, reranker: str | None, min_score: float
) -> Settings:
    """Return how a run is made, as it is kept with the results."""
    return Settings(
        k=k,
        depth=k * PASSAGES_A_PAGE,
        split=split,
        min_score=min_score,
        reranker=reranker,
        files=tuple(QuestionFile(name=file.name, sha256=sha256_of(file)) for file in files),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        software={name: version(name) for name in _SOFTWARE},
    )


def outcome(question: Question, found: Found, k: int) -> Outcome:
    """Return where a search put what a question expects, and what that is worth."""
    shown = found.passages[:k]
    pages, passages = page_ranks(question, found.passages), passage_ranks(question, shown)
    return Outcome(
        id=question.id,
        page_ranks=pages,
        passage_ranks=passages,
        pages=metrics_of(pages, k) if pages else {},
        passages=metrics_of(passages, k) if passages else {},
        found=len(shown),
        cited=sum(bool(anchor_of(passage)) for passage in shown),
        best_score=found.best_score,
        took_ms=found.took_ms,
    )


def unknown_places(questions: Sequence[Question], places: Collection[str]) -> tuple[str, ...]:
    """Return the expected pages and `page#anchor` that no search can find."""
    expected = (
        f"{place.page}#{place.anchor}" if place.anchor and place.page in places else place.page
        for question in questions
        for place in question.expected
    )
    return tuple(dict.fromkeys(place for place in expected if place not in places))
