"""Chunks of turns into figures, in little memory: numbers go into arrays, texts are counted."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.turns import Outcome
from lightspeed_providers.transcripts.report.figures import (
    QUANTILES,
    Floats,
    Latency,
    ModelFigures,
    PromptFigures,
    Reason,
    TurnFigures,
)
from lightspeed_providers.transcripts.report.period import SECOND_US, Integers, steps_of
from lightspeed_providers.transcripts.report.wordings import WordingCounter
from lightspeed_providers.transcripts.rows import TurnFacts

LOW_SCORE = 0.3
MOST_COMPARED = 3000
"""Wordings that are compared with one another; time and memory grow with the square."""

_OUTCOMES = {outcome.value: place for place, outcome in enumerate(Outcome)}
_FAILED = {
    Outcome.REFUSED: Reason.REFUSED,
    Outcome.ERROR: Reason.ERROR,
    Outcome.TRUNCATED: Reason.TRUNCATED,
    Outcome.INTERRUPTED: Reason.INTERRUPTED,
}
_NO_REASONS: frozenset[Reason] = frozenset()
_NOTHING_FOUND_ALONE = frozenset({Reason.NOTHING_FOUND})
_TIMED = np.array([outcome in (Outcome.ANSWERED, Outcome.TRUNCATED) for outcome in Outcome])
"""Refusals are quick and failures end anywhere: the times of neither say how fast answers are."""

Singles = NDArray[np.float32]


def reasons_of(turn: TurnFacts, low_score: float = LOW_SCORE) -> frozenset[Reason]:
    """Why a turn counts as unanswered; an answered one without passages may be meant to be so."""
    reasons = []
    if turn.outcome != Outcome.ANSWERED:
        reasons.append(_FAILED[Outcome(turn.outcome)])
    elif turn.passages == 0:
        reasons.append(Reason.NOTHING_FOUND)
    elif turn.best_score is not None and turn.best_score < low_score:
        reasons.append(Reason.LOW_SCORE)
    if any(sentiment < 0 for sentiment in turn.sentiments):
        reasons.append(Reason.DISLIKED)
    return frozenset(reasons) if reasons else _NO_REASONS


class Gathering:
    """Takes turns chunk by chunk and gives the figures of them all; 14 bytes a turn and texts."""

    def __init__(
        self,
        since_us: int,
        until_us: int,
        *,
        profile: str | None = None,
        low_score: float = LOW_SCORE,
        wordings: WordingCounter | None = None,
    ) -> None:
        self.turns = 0
        self._steps = steps_of(since_us, until_us)
        self._profile = profile
        self._low_score = low_score
        self._wordings = wordings or WordingCounter()
        steps = self._steps.count
        self._outcomes = np.zeros((steps, len(Outcome)), dtype=np.int64)
        self._tokens = np.zeros((2, steps))
        self._shields: Counter[str] = Counter()
        self._models: defaultdict[str, int] = defaultdict()
        self._models.default_factory = self._models.__len__
        self._by_model: Counter[tuple[int, str]] = Counter()
        self._by_prompt: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._searching: set[str] = set()
        self._reasons: Counter[Reason] = Counter()
        self._unanswered = 0
        self._found_nothing: Counter[str] = Counter()
        self._found_nothing_alone: Counter[str] = Counter()
        self._times: list[tuple[Integers, Integers, Singles, Singles]] = []

    def add(self, turns: Sequence[TurnFacts]) -> None:
        """Count a chunk of turns."""
        if self._profile is not None:
            turns = [turn for turn in turns if turn.profile == self._profile]
        if not turns:
            return
        self.turns += len(turns)
        received = _whole(turn.received_us for turn in turns)
        steps = self._steps.of(received)
        outcomes = _whole(_OUTCOMES[turn.outcome] for turn in turns)
        models = _whole(self._models[turn.model or ""] for turn in turns)
        self._add_numbers(turns, steps, outcomes, models)
        self._add_times(turns, received, steps, outcomes, models)
        for turn in turns:
            self._by_prompt[turn.profile, turn.prompt_version][turn.outcome] += 1
            if turn.passages:
                self._searching.add(turn.profile)
            self._add_question(turn)
        self._shields.update(t.blocked_by or "" for t in turns if t.outcome == Outcome.REFUSED)

    def figures(self) -> TurnFigures:
        """What all the turns together say."""
        quiet = [profile for profile in self._found_nothing if profile not in self._searching]
        reasons = Counter(self._reasons)
        reasons[Reason.NOTHING_FOUND] -= sum(self._found_nothing[profile] for profile in quiet)
        times = [np.concatenate(column) for column in zip(*self._times, strict=True)] or [
            np.zeros(0, dtype=np.int32) for _ in range(4)
        ]
        steps, models, first, whole = times
        return TurnFigures(
            steps=self._steps,
            turns=self.turns,
            outcomes={o: self._outcomes[:, place] for place, o in enumerate(Outcome)},
            shields=_most_first(self._shields),
            first_token=latency(first, steps, self._steps.count),
            whole_turn=latency(whole, steps, self._steps.count),
            input_tokens=self._tokens[0],
            output_tokens=self._tokens[1],
            models=self._model_figures(models, first, whole),
            prompts=self._prompt_figures(),
            unanswered=self._unanswered - sum(self._found_nothing_alone[p] for p in quiet),
            reasons={reason: reasons[reason] for reason in Reason if reasons[reason]},
            wordings=self._wordings.wordings(MOST_COMPARED, self._searching),
        )

    def _add_numbers(
        self, turns: Sequence[TurnFacts], steps: Integers, outcomes: Integers, models: Integers
    ) -> None:
        cells = np.bincount(steps * len(Outcome) + outcomes, minlength=self._outcomes.size)
        self._outcomes += cells.reshape(self._outcomes.shape)
        most = len(self._models)
        self._count_models("turns", np.bincount(models, minlength=most))
        for row, name in enumerate(("input_tokens", "output_tokens")):
            tokens = _whole(getattr(turn, name) for turn in turns)
            self._tokens[row] += np.bincount(steps, tokens, minlength=self._steps.count)
            self._count_models(name, np.bincount(models, tokens, minlength=most))

    def _count_models(self, what: str, counts: NDArray[np.float64] | Integers) -> None:
        for model in np.flatnonzero(counts):
            self._by_model[int(model), what] += int(counts[model])

    def _add_times(
        self,
        turns: Sequence[TurnFacts],
        received: Integers,
        steps: Integers,
        outcomes: Integers,
        models: Integers,
    ) -> None:
        timed = _TIMED[outcomes]
        first = _whole(turn.first_token_us or 0 for turn in turns) - received
        whole = _whole(turn.finished_us for turn in turns) - received
        columns = (steps.astype(np.int32), models.astype(np.int16), _times(first), _times(whole))
        self._times.append(tuple(column[timed] for column in columns))

    def _add_question(self, turn: TurnFacts) -> None:
        reasons = reasons_of(turn, self._low_score)
        if reasons:
            self._reasons.update(reasons)
            self._unanswered += 1
            if Reason.NOTHING_FOUND in reasons:
                self._found_nothing[turn.profile] += 1
            if reasons == _NOTHING_FOUND_ALONE:
                self._found_nothing_alone[turn.profile] += 1
        disliked = sum(sentiment < 0 for sentiment in turn.sentiments)
        liked = sum(sentiment > 0 for sentiment in turn.sentiments)
        self._wordings.add(turn.profile, turn.question, reasons, liked, disliked)

    def _model_figures(
        self, models: Integers, first: Singles, whole: Singles
    ) -> list[ModelFigures]:
        found = [
            ModelFigures(
                model=name,
                turns=self._by_model[number, "turns"],
                input_tokens=self._by_model[number, "input_tokens"],
                output_tokens=self._by_model[number, "output_tokens"],
                first_token=_quantiles(first[models == number]),
                whole_turn=_quantiles(whole[models == number]),
            )
            for name, number in self._models.items()
        ]
        return sorted(found, key=lambda one: (-one.turns, one.model))

    def _prompt_figures(self) -> list[PromptFigures]:
        found = [
            PromptFigures(*key, {o: counts[o] for o in Outcome if counts[o]})
            for key, counts in self._by_prompt.items()
        ]
        return sorted(found, key=lambda one: (one.profile, -one.turns, one.version))


def latency(times: Singles, steps: Integers, count: int) -> Latency:
    """The quantiles of times, of all and of each step; what is not a number is left out."""
    known = ~np.isnan(times)
    times, steps = times[known], steps[known]
    order = np.argsort(steps, kind="stable")
    times, steps = times[order], steps[order]
    edges = np.searchsorted(steps, np.arange(count + 1))
    over_time: Floats = np.full((len(QUANTILES), count), np.nan)
    for step, (begin, end) in enumerate(pairwise(edges)):
        if end > begin:
            over_time[:, step] = np.quantile(times[begin:end], QUANTILES)
    return Latency(len(times), _quantiles(times), over_time, np.diff(edges))


def _quantiles(times: Singles) -> list[float | None]:
    known = times[~np.isnan(times)]
    if not len(known):
        return [None] * len(QUANTILES)
    return [float(value) for value in np.quantile(known, QUANTILES)]


def _times(differences_us: Integers) -> Singles:
    # A clock that was set back tells nothing.
    times = (differences_us / SECOND_US).astype(np.float32)
    times[differences_us < 0] = np.nan
    return times


def _whole(values: Iterable[int]) -> Integers:
    return np.fromiter(values, np.int64)


def _most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
