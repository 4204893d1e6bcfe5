"""Counts of feedback into figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from lightspeed_providers.transcripts.report.figures import FeedbackFigures, PromptFeedback
from lightspeed_providers.transcripts.report.period import DAY_US, steps_of
from lightspeed_providers.transcripts.rows import FeedbackCount, microseconds


def feedback_figures(
    counts: Sequence[FeedbackCount], categories: Mapping[str, int], since_us: int, until_us: int
) -> FeedbackFigures:
    """Sum feedback up over time and by prompt; days are the least that it is counted by."""
    steps = steps_of(since_us, until_us, least_us=DAY_US)
    liked = np.zeros(steps.count, dtype=np.int64)
    disliked = np.zeros(steps.count, dtype=np.int64)
    unrated = 0
    by_prompt: dict[tuple[str | None, str | None], Counter[bool]] = {}
    for cell in counts:
        if not cell.sentiment:
            unrated += cell.count
            continue
        day = microseconds(datetime.fromisoformat(cell.day))
        (liked if cell.sentiment > 0 else disliked)[steps.of(np.array([day]))[0]] += cell.count
        prompt = by_prompt.setdefault((cell.profile, cell.prompt_version), Counter())
        prompt[cell.sentiment > 0] += cell.count
    prompts = (PromptFeedback(*key, found[True], found[False]) for key, found in by_prompt.items())
    return FeedbackFigures(
        steps=steps,
        liked=liked,
        disliked=disliked,
        unrated=unrated,
        categories=sorted(categories.items(), key=lambda pair: (-pair[1], pair[0])),
        prompts=sorted(prompts, key=lambda one: (one.likes.high, -one.likes.of)),
    )
