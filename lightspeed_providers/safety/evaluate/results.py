"""What a run leaves behind, in `results.json`."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.safety.evaluate.decisions import (
    Quality,
    Sort,
    Stage,
    by_family,
    by_label,
    by_stage,
    qualities,
    score_of,
)
from lightspeed_providers.safety.evaluate.judging import Judged
from lightspeed_providers.safety.evaluate.redactions import (
    Redacted,
    left_over,
    redacted,
    too_much,
)
from lightspeed_providers.safety.evaluate.spans import taken_out


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(_Frozen):
    """What was measured with what."""

    files: tuple[str, ...]
    split: str
    direction: Direction
    shields: tuple[str, ...]


class Wrong(_Frozen):
    """A text that was decided wrongly; the text is the operator's own."""

    place: str
    text: str
    label: str
    family: str
    history: tuple[str, ...] = ()
    wrong: str = Field(description="What went wrong, in a few words.")
    shield: str | None = Field(default=None, description="The shield that blocked it.")
    stage: str | None = None
    score: float | None = None


class Results(_Frozen):
    """Everything that was found; decisions or redactions, as the texts tell."""

    settings: Settings
    qualities: tuple[Quality, ...] = Field(default=(), description="All shields first, then each.")
    labels: tuple[Sort, ...] = ()
    families: tuple[Sort, ...] = ()
    stages: tuple[Stage, ...] = ()
    redacted: Redacted | None = None
    errors: tuple[Wrong, ...] = ()


def results_of(judged: Sequence[Judged], settings: Settings) -> Results:
    """Return what judged texts say of the shields."""
    if judged[0].placed.text.spans is not None:
        errors = tuple(_wrongly_redacted(judged))
        return Results(settings=settings, redacted=redacted(judged), errors=errors)
    return Results(
        settings=settings,
        qualities=tuple(qualities(judged)),
        labels=tuple(by_label(judged)),
        families=tuple(by_family(judged)),
        stages=tuple(by_stage(judged)),
        errors=tuple(_wrongly_decided(judged)),
    )


def _wrongly_decided(judged: Sequence[Judged]) -> list[Wrong]:
    errors = []
    for one in judged:
        blocked = one.blocked_by
        if one.is_undecided:
            failed = next(v for v in one.verdicts if v.error)
            errors.append(
                _wrong(one, f"undecided: {failed.error}", failed.shield, failed.stage, None)
            )
        elif blocked is not None and not one.placed.text.block:
            wrong = "blocked, should pass"
            errors.append(_wrong(one, wrong, blocked.shield, blocked.stage, blocked.score))
        elif blocked is None and one.placed.text.block:
            surest = max(one.verdicts, key=lambda verdict: score_of([verdict]))
            wrong = "passed, should be blocked"
            errors.append(_wrong(one, wrong, None, surest.stage, surest.score))
    return errors


def _wrongly_redacted(judged: Sequence[Judged]) -> list[Wrong]:
    errors = []
    for one in judged:
        text, spans = one.placed.text.text, one.placed.text.spans or ()
        found = taken_out(text, one.text)
        kept = [f"{s.label} '{text[s.start : s.end]}' left" for s in left_over(spans, found)]
        more = [f"'{text[t.start : t.end]}' taken for {t.label}" for t in too_much(spans, found)]
        failed = [f"undecided: {v.error}" for v in one.verdicts if v.error]
        if told := [*failed, *kept, *more]:
            errors.append(_wrong(one, "; ".join(told)))
    return errors


def _wrong(
    one: Judged,
    wrong: str,
    shield: str | None = None,
    stage: str | None = None,
    score: float | None = None,
) -> Wrong:
    text = one.placed.text
    return Wrong(
        place=one.placed.place,
        text=text.text,
        label=text.label,
        family=text.family,
        history=text.history,
        wrong=wrong,
        shield=shield,
        stage=stage,
        score=score,
    )
