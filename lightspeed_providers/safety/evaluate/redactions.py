"""How much of marked personal data was taken out, by entity, and how much else."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.safety.evaluate.judging import Judged
from lightspeed_providers.safety.evaluate.rates import Rate, Times, rate, times
from lightspeed_providers.safety.evaluate.spans import Taken, taken_out
from lightspeed_providers.safety.evaluate.texts import Span

ALL = "all"
_MOSTLY = 0.5
"""Share of a taken stretch that has to be personal data for it to count as right."""


class Entity(BaseModel):
    """How well one sort of personal data is found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    recall: Rate = Field(description="Share of the marked stretches of which nothing was left.")
    precision: Rate = Field(description="Share of the taken stretches that were mostly marked.")
    renamed: int = Field(description="Found under another name; counted as found.")


class Redacted(BaseModel):
    """How well a redaction works."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int
    entities: tuple[Entity, ...] = Field(description="All together, then each.")
    undecided: int = Field(description="Texts on which a check failed; in no share.")
    times: Times


def redacted(judged: Sequence[Judged]) -> Redacted:
    """Return how well the texts were redacted."""
    pairs = [
        (one.placed.text.spans or (), taken_out(one.placed.text.text, one.text))
        for one in judged
        if not one.is_undecided
    ]
    marked = {span.label for spans, _ in pairs for span in spans}
    names = sorted(marked | {taken.label for _, found in pairs for taken in found})
    return Redacted(
        texts=len(judged),
        entities=(_entity(ALL, pairs), *(_entity(name, pairs) for name in names)),
        undecided=sum(one.is_undecided for one in judged),
        times=times([one.took_ms for one in judged]),
    )


def left_over(spans: Sequence[Span], found: Sequence[Taken]) -> list[Span]:
    """Return the marked stretches of which something is left."""
    return [span for span in spans if _covered(span, found) < span.end - span.start]


def too_much(spans: Sequence[Span], found: Sequence[Taken]) -> list[Taken]:
    """Return the taken stretches that were mostly no personal data."""
    return [one for one in found if _covered(one, spans) < _MOSTLY * (one.end - one.start)]


def _entity(name: str, pairs: Sequence[tuple[Sequence[Span], Sequence[Taken]]]) -> Entity:
    kept = wrong = marked = taken = renamed = 0
    for spans, found in pairs:
        own = [span for span in spans if name in (ALL, span.label)]
        ours = [one for one in found if name in (ALL, one.label)]
        left = left_over(own, found)
        marked += len(own)
        kept += len(left)
        taken += len(ours)
        wrong += len(too_much(spans, ours))
        renamed += sum(_is_renamed(span, found) for span in own if span not in left)
    return Entity(
        name=name,
        recall=rate(marked - kept, marked),
        precision=rate(taken - wrong, taken),
        renamed=renamed,
    )


def _is_renamed(span: Span, found: Sequence[Taken]) -> bool:
    return not any(
        one.label == span.label and one.start < span.end and span.start < one.end for one in found
    )


def _covered(stretch: Span | Taken, others: Sequence[Span] | Sequence[Taken]) -> int:
    """Return how many characters of a stretch the others hold."""
    return sum(
        any(other.start <= at < other.end for other in others)
        for at in range(stretch.start, stretch.end)
    )
