"""Results as tables of text, for a terminal and as Markdown."""

from collections.abc import Iterable, Iterator

from lightspeed_providers.core.tables import Table
from lightspeed_providers.product_rag.evaluate.certainty import Difference, Estimate
from lightspeed_providers.product_rag.evaluate.compare import Change, Comparison
from lightspeed_providers.product_rag.evaluate.metrics import metric_names
from lightspeed_providers.product_rag.evaluate.results import ALL, Level, Measured, Results

_NONE = "–"
_SURE = 0.05
_SHOWN_QUESTION = 60
_LABELS = {"ndcg": "nDCG", "mrr": "MRR"}


def headline(results: Results) -> str:
    """Return one line about what was measured."""
    index, settings = results.index, results.settings
    return (
        f"{index.holds}: {len(results.questions)} questions "
        f"({settings.split}), {index.pages} pages, {index.passages} passages"
    )


def tables(results: Results) -> Iterator[Table]:
    """Yield everything that a reader wants to see of a run; numbers are with 95 % intervals."""
    if results.types:
        yield _overall(results, "pages")
        if any(one.summary(ALL, "passages") for one in results.searchers):
            yield _overall(results, "passages")
        yield _by_type(results)
    if results.contests:
        yield _contests(results)
    yield _behaviour(results)


def comparison_tables(comparison: Comparison) -> Iterator[Table]:
    """Yield what changed between two runs, the losers first."""
    if comparison.losers:
        yield _changes(f"Worse: {len(comparison.losers)} questions", comparison.losers)
    if comparison.winners:
        yield _changes(f"Better: {len(comparison.winners)} questions", comparison.winners)
    yield _shifts(comparison)


def label(metric: str) -> str:
    """Return a metric's name as people write it."""
    name, _, cut = metric.partition("@")
    return f"{_LABELS.get(name, name)}@{cut}"


def _overall(results: Results, level: Level) -> Table:
    names = metric_names(results.settings.k)
    rows = []
    for one in results.searchers:
        summary = one.summary(ALL, level)
        cells = [_estimate(summary.metrics[name]) if summary else _NONE for name in names]
        rows.append((one.name, *cells))
    unit = "Right page" if level == "pages" else "Right page and heading"
    summary = results.searcher().summary(ALL, level)
    count = f" ({summary.questions} questions)" if summary else ""
    return Table(f"{unit}{count}", ("Search", *map(label, names)), tuple(rows))


def _by_type(results: Results) -> Table:
    metric = metric_names(results.settings.k)[0]
    rows = []
    for type_ in results.types:
        told = [one.summary(type_, "pages") for one in results.searchers]
        count = next((str(one.questions) for one in told if one), "0")
        cells = [_estimate(one.metrics[metric]) if one else _NONE for one in told]
        rows.append((type_, count, *cells))
    columns = ("Type", "Questions", *(one.name for one in results.searchers))
    return Table(f"{label(metric)} on pages, by type of question", columns, tuple(rows))


def _contests(results: Results) -> Table:
    rows = tuple(
        (
            "all questions" if contest.type == ALL else contest.type,
            f"{contest.second} over {contest.first}",
            _difference(contest.difference),
            f"{contest.difference.p_adjusted:.3f}",
            _verdict(contest.difference, contest.first, contest.second),
        )
        for contest in results.contests
        if contest.type == ALL or contest.difference.p_adjusted < _SURE
    )
    metric = label(metric_names(results.settings.k)[0])
    return Table(
        f"Differences in {metric} on pages",
        ("Questions", "Pair", "Difference", "p", "Better"),
        rows,
        note="Paired randomisation test, p after Holm's correction; of the types, only clear ones.",
    )


def _behaviour(results: Results) -> Table:
    rows = tuple(
        (
            one.name,
            f"{one.p50_ms:.1f}",
            f"{one.p95_ms:.1f}",
            _share(one.cited),
            _share(one.nothing_found),
        )
        for one in results.searchers
    )
    columns = (
        "Search",
        "p50 ms",
        "p95 ms",
        "With heading's address",
        "Unanswerable: nothing found",
    )
    return Table(
        "Time, citations and questions without an answer", columns, rows, _threshold(results)
    )


def _threshold(results: Results) -> str:
    product: Measured = results.searcher()
    told = product.separation
    if told is None:
        return ""
    return (
        f"Best score: median {told.answerable[3]:.3f} of answerable questions, "
        f"{told.unanswerable[3]:.3f} of unanswerable ones; ROC AUC {told.auc:.3f}. "
        f"A threshold of {told.threshold:.3f} separates best: it keeps "
        f"{_share(told.answerable_kept)} of the answerable and refuses "
        f"{_share(told.unanswerable_refused)} of the unanswerable."
    )


def _changes(title: str, changes: Iterable[Change]) -> Table:
    rows = tuple(
        (
            change.id,
            change.type,
            f"{_ranks(change.before)} → {_ranks(change.after)}",
            f"{change.difference:+.3f}",
            _cut(change.question),
        )
        for change in changes
    )
    return Table(title, ("Id", "Type", "Rank", "Change", "Question"), rows)


def _shifts(comparison: Comparison) -> Table:
    rows = tuple(
        (
            "all questions" if shift.type == ALL else shift.type,
            str(shift.questions),
            f"{shift.before:.3f} → {shift.after:.3f}",
            _difference(shift.difference),
            f"{shift.difference.p_adjusted:.3f}",
            _verdict(shift.difference, "worse", "better"),
        )
        for shift in comparison.shifts
    )
    note = f"{comparison.unchanged} questions are as they were."
    if comparison.nothing_found_after is not None:
        note += (
            f" Unanswerable with nothing found: {_share(comparison.nothing_found_before)} → "
            f"{_share(comparison.nothing_found_after)}."
        )
    columns = ("Questions", "Number", "Before → after", "Difference", "p", "Verdict")
    return Table(
        f"{label(comparison.metric)} on pages of {comparison.searcher}", columns, rows, note
    )


def _verdict(told: Difference, where_negative: str, where_positive: str) -> str:
    if told.p_adjusted >= _SURE:
        return "not clear"
    return where_positive if told.mean > 0 else where_negative


def _estimate(told: Estimate) -> str:
    if told.low is None or told.high is None:
        return f"{told.mean:.3f}"
    return f"{told.mean:.3f}\n{told.low:.2f}–{told.high:.2f}"


def _difference(told: Difference) -> str:
    if told.low is None or told.high is None:
        return f"{told.mean:+.3f}"
    return f"{told.mean:+.3f}\n{told.low:+.3f} to {told.high:+.3f}"


def _share(value: float | None) -> str:
    return _NONE if value is None else f"{value:.0%}"


def _ranks(ranks: Iterable[int | None]) -> str:
    return ", ".join(_NONE if rank is None else str(rank) for rank in ranks)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_QUESTION else f"{line[: _SHOWN_QUESTION - 1]}…"
