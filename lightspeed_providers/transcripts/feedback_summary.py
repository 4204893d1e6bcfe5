"""Feedback in numbers, from the counts of the store."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import date

from .models import Category, DaySentiments, FeedbackSummary, PromptSentiments, Sentiments
from .rows import FeedbackCount


def summary_of(counts: Iterable[FeedbackCount], categories: Mapping[str, int]) -> FeedbackSummary:
    """Return the counts added up: in all, by day, and by profile and version of its prompt."""
    cells = list(counts)
    by_day = _grouped(cells, lambda cell: cell.day)
    by_prompt = _grouped(cells, lambda cell: (cell.profile, cell.prompt_version))
    return FeedbackSummary(
        total=sum(cell.count for cell in cells),
        sentiments=Sentiments(**_sentiments(cells)),
        categories={each: categories.get(each.value, 0) for each in Category},
        by_day=[
            DaySentiments(day=date.fromisoformat(day), **_sentiments(of_day))
            for day, of_day in sorted(by_day.items())
        ],
        by_prompt=[
            PromptSentiments(profile=profile, prompt_version=version, **_sentiments(of_prompt))
            for (profile, version), of_prompt in sorted(
                by_prompt.items(), key=lambda item: tuple(part or "" for part in item[0])
            )
        ],
    )


def _grouped[K](
    cells: Iterable[FeedbackCount], key: Callable[[FeedbackCount], K]
) -> dict[K, list[FeedbackCount]]:
    groups: dict[K, list[FeedbackCount]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return groups


def _sentiments(cells: Iterable[FeedbackCount]) -> dict[str, int]:
    counted: Counter[int | None] = Counter()
    for cell in cells:
        counted[cell.sentiment] += cell.count
    return {"good": counted[1], "bad": counted[-1], "unsaid": counted[None]}
