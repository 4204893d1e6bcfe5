"""Two runs on the same questions, question by question."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.evaluate.certainty import Difference, corrected, difference
from lightspeed_providers.product_rag.evaluate.metrics import metric_names
from lightspeed_providers.product_rag.evaluate.results import ALL, Measured, Results
from lightspeed_providers.product_rag.evaluate.summary import chosen

_NAMED = 5
"""Ids that an error names; the others are counted."""


class Change(BaseModel):
    """A question whose expected pages moved; the ranks are in the order of what it expects."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    type: str
    question: str
    before: tuple[int | None, ...]
    after: tuple[int | None, ...]
    difference: float


class Shift(BaseModel):
    """How a type's mean moved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    questions: int
    before: float
    after: float
    difference: Difference


class Comparison(BaseModel):
    """What became better and what worse for one search, by one metric on pages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    searcher: str
    metric: str
    before: str
    after: str
    shifts: tuple[Shift, ...] = Field(description="All questions first, then each type.")
    losers: tuple[Change, ...] = Field(description="Worse than before, the worst first.")
    winners: tuple[Change, ...] = Field(description="Better than before, the best first.")
    unchanged: int
    nothing_found_before: float | None
    nothing_found_after: float | None


def compare(before: Results, after: Results, searcher: str | None = None) -> Comparison:
    """Return what changed between two runs on the same questions."""
    _check_same(before, after)
    name = searcher or _common(before, after)
    old, new = before.searcher(name), after.searcher(name)
    metric = metric_names(after.settings.k)[0]
    changes = _changes(after, old, new, metric)
    answerable = sum(question.is_answerable for question in after.questions)
    moved = [change for change in changes if change.difference]
    return Comparison(
        searcher=name,
        metric=metric,
        before=_label(before),
        after=_label(after),
        shifts=_shifts(after, old, new, metric),
        losers=tuple(
            sorted((c for c in moved if c.difference < 0), key=lambda c: (c.difference, c.id))
        ),
        winners=tuple(
            sorted((c for c in moved if c.difference > 0), key=lambda c: (-c.difference, c.id))
        ),
        unchanged=answerable - len(moved),
        nothing_found_before=old.nothing_found,
        nothing_found_after=new.nothing_found,
    )


def _check_same(before: Results, after: Results) -> None:
    if before.settings.k != after.settings.k:
        raise ConfigurationError(
            f"Results can't be compared: one was made with --k {before.settings.k}, the other "
            f"with {after.settings.k}; use the same."
        )
    old = {question.id: question for question in before.questions}
    new = {question.id: question for question in after.questions}
    only = [
        f"only {which} has {_named(ids)}"
        for which, ids in (("the first", old.keys() - new), ("the second", new.keys() - old))
        if ids
    ]
    if only:
        raise ConfigurationError(
            f"Results can't be compared: {' and '.join(only)}; run both on the same questions."
        )
    other = {id_ for id_ in old if set(old[id_].expected) != set(new[id_].expected)}
    if other:
        raise ConfigurationError(
            f"Results can't be compared: {_named(other)} expect other places in the second; run "
            "both on the same questions."
        )


def _named(ids: set[str]) -> str:
    some = ", ".join(sorted(ids)[:_NAMED])
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"{some}{more}"


def _common(before: Results, after: Results) -> str:
    """The product's search, or the last that both runs have."""
    old = {one.name for one in before.searchers}
    both = [one.name for one in after.searchers if one.name in old]
    if not both:
        raise ConfigurationError("Results can't be compared: no search is in both.")
    return both[-1]


def _changes(results: Results, old: Measured, new: Measured, metric: str) -> list[Change]:
    before = {outcome.id: outcome for outcome in old.outcomes}
    return [
        Change(
            id=question.id,
            type=question.type,
            question=question.question,
            before=tuple(before[question.id].page_ranks[page] for page in outcome.page_ranks),
            after=tuple(outcome.page_ranks.values()),
            difference=outcome.pages[metric] - before[question.id].pages[metric],
        )
        for question, outcome in zip(results.questions, new.outcomes, strict=True)
        if question.is_answerable
    ]


def _shifts(results: Results, old: Measured, new: Measured, metric: str) -> tuple[Shift, ...]:
    before = {outcome.id: outcome for outcome in old.outcomes}
    pairs = []
    for type_ in (ALL, *results.types) if results.types else ():
        outcomes = chosen(results.questions, new.outcomes, type_)
        pairs.append(
            (
                type_,
                [before[outcome.id].pages[metric] for outcome in outcomes],
                [outcome.pages[metric] for outcome in outcomes],
            )
        )
    told = [difference(first, second) for _, first, second in pairs]
    return tuple(
        Shift(
            type=type_,
            questions=len(first),
            before=_mean(first),
            after=_mean(second),
            difference=one,
        )
        for (type_, first, second), one in zip(
            pairs, [*told[:1], *corrected(told[1:])], strict=True
        )
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _label(results: Results) -> str:
    index = results.index
    return f"{index.name} ({index.holds}, {index.passages} passages)"
