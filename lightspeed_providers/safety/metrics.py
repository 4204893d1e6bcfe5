"""What operators can count and trace about shields; never what was said."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from opentelemetry import metrics, trace

from lightspeed_providers.core.verdicts import Action, Direction, Verdict

_meter = metrics.get_meter("lightspeed.safety")
_tracer = trace.get_tracer("lightspeed.safety")

checks = _meter.create_counter(
    "ls_shield_checks_total",
    description="Texts that a shield judged, by shield, kind, direction and action.",
)
duration = _meter.create_histogram(
    "ls_shield_check_duration_ms",
    unit="ms",
    description="Time that a shield took for a text; of a stream, for all its checks together.",
)
failures = _meter.create_counter(
    "ls_shield_failures_total",
    description="Checks that gave no usable answer, by reason: timeout, error, garbage or "
    "open_circuit.",
)
violations = _meter.create_counter(
    "ls_llm_validation_errors_total", description="Texts that a shield blocked."
)
held_characters = _meter.create_histogram(
    "ls_shield_held_characters",
    unit="{character}",
    description="Characters of a stream that scanning shields held back when new text had come.",
)
reloads = _meter.create_counter(
    "ls_shield_reloads_total",
    description="Changed configurations found while serving, by outcome: swapped or refused.",
)

_Attributes = dict[str, str]


def observe(verdict: Verdict, reason: str | None = None) -> None:
    """Count a verdict; where the check itself failed, the reason too."""
    about = _about(verdict.shield, verdict.kind, verdict.direction)
    decided = about | {"action": verdict.action.value}
    checks.add(1, decided)
    duration.record(verdict.took_ms, decided)
    if verdict.error is not None:
        failures.add(1, about | {"reason": reason or "error"})
    if verdict.action is Action.BLOCK:
        violations.add(1, about)


def held(characters: int) -> None:
    """Count how much of a stream scanning shields hold back."""
    held_characters.record(characters)


@contextmanager
def traced(shield: str, kind: str, direction: Direction) -> Iterator[Callable[[Verdict], None]]:
    """Span a check; give what puts its verdict on the span, without any text."""
    span = _tracer.start_span(f"shield {shield}")
    if not span.is_recording():
        yield _nothing
        return
    span.set_attributes(_about(shield, kind, direction))
    # What an exception says may be the user's text.
    with trace.use_span(
        span, end_on_exit=True, record_exception=False, set_status_on_exception=False
    ):
        yield partial(_tell, span)


def _tell(span: trace.Span, verdict: Verdict) -> None:
    span.set_attribute("action", verdict.action.value)
    for name in ("score", "stage", "error"):
        if (value := getattr(verdict, name)) is not None:
            span.set_attribute(name, value)
    if verdict.error is not None:
        span.set_status(trace.StatusCode.ERROR, verdict.error)


def _about(shield: str, kind: str, direction: Direction) -> _Attributes:
    return {"shield": shield, "kind": kind, "direction": direction.value}


def _nothing(verdict: Verdict) -> None:
    """No span is recorded."""
