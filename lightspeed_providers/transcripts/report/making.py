"""From a store to a page."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.progress import Report as Progress
from lightspeed_providers.transcripts.report.feedback import feedback_figures
from lightspeed_providers.transcripts.report.figures import TurnFigures
from lightspeed_providers.transcripts.report.gathering import Gathering
from lightspeed_providers.transcripts.report.grouping import Group, groups
from lightspeed_providers.transcripts.report.likeness import (
    SAME_MEANING,
    SAME_WORDING,
    Encode,
    by_meaning,
    by_wording,
)
from lightspeed_providers.transcripts.report.page import Report, render
from lightspeed_providers.transcripts.rows import FeedbackCount, FeedbackFilter, TurnFacts


class Facts(Protocol):
    """A store of turns and feedback, as far as a report reads it."""

    def facts(self, since_us: int, until_us: int) -> AsyncIterator[list[TurnFacts]]:
        """The turns received in a period, in chunks, oldest first."""
        ...

    async def feedback_counts(self, which: FeedbackFilter) -> list[FeedbackCount]:
        """How much feedback there is, by day, prompt and sentiment."""
        ...

    async def category_counts(self, which: FeedbackFilter) -> Mapping[str, int]:
        """How much feedback names each category."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is about."""

    since_us: int
    until_us: int
    profile: str | None
    low_score: float


async def make_report(
    store: Facts,
    asked: Asked,
    *,
    encode: Callable[[], Encode] | None,
    made_at: datetime,
    progress: Progress,
) -> Report:
    """Read a period and sum it up; without a model to encode with, wordings alone are compared."""
    turns = await _gathered(store, asked, progress)
    which = FeedbackFilter(profile=asked.profile, since_us=asked.since_us, until_us=asked.until_us)
    feedback = feedback_figures(
        await store.feedback_counts(which),
        await store.category_counts(which),
        asked.since_us,
        asked.until_us,
    )
    return Report(
        since_us=asked.since_us,
        until_us=asked.until_us,
        made_at=made_at,
        profile=asked.profile,
        low_score=asked.low_score,
        turns=turns,
        feedback=feedback,
        groups=await asyncio.to_thread(grouped, turns, encode, progress),
        by_meaning=encode is not None,
    )


async def _gathered(store: Facts, asked: Asked, progress: Progress) -> TurnFigures:
    gathering = Gathering(
        asked.since_us, asked.until_us, profile=asked.profile, low_score=asked.low_score
    )
    span = max(asked.until_us - asked.since_us, 1)
    async for turns in store.facts(asked.since_us, asked.until_us):
        await asyncio.to_thread(gathering.add, turns)
        if turns:
            progress("turns, percent", 100 * (turns[-1].received_us - asked.since_us) // span, 100)
    progress("turns, percent", 100, 100)
    return await asyncio.to_thread(gathering.figures)


def grouped(
    turns: TurnFigures, encode: Callable[[], Encode] | None, progress: Progress
) -> list[Group]:
    """Put the questions together that mean the same, or, without a model, read the same."""
    wordings = turns.wordings.looked_at
    texts = [wording.text for wording in wordings]
    if not texts:
        return []
    if encode is None:
        return groups(wordings, by_wording(texts), SAME_WORDING)
    likeness = by_meaning(
        texts, encode(), lambda done: progress("questions compared", done, len(texts))
    )
    return groups(wordings, likeness, SAME_MEANING)


def write_page(report: Report, path: Path) -> None:
    """Write the page for its owner's eyes; a reader never finds half of it."""
    page = render(report).encode(errors="replace")
    try:
        descriptor, written = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(page)
        Path(written).replace(path)
    except OSError as fault:
        raise ConfigurationError(
            f"Report '{path}' can't be written ({fault.strerror}): use another --out."
        ) from fault
