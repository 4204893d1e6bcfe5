"""What `lightspeed shields check` prints."""

from collections.abc import Iterator, Sequence

from lightspeed_providers.core.tables import Table
from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.safety.routing import direction_of
from lightspeed_providers.safety.self_test import Outcome, Result, examples_of
from lightspeed_providers.safety.shields.base import ShieldOptions

_WHOLE_MS = 10
_NONE = "No shield has examples: give must_block, must_allow or must_replace."
_COLUMNS = ("Shield", "Kind", "Directions", "Examples", "Passed", "Failed", "Not run", "ms")


def tables_of(shields: dict[str, ShieldOptions], outcomes: Sequence[Outcome]) -> Iterator[Table]:
    """Yield one row a shield, and below them each failed example and why some were not run.

    An example counts once for each direction that its shield watches.
    """
    by_shield = {name: [o for o in outcomes if o.shield_id == name] for name in shields}
    rows = tuple(_row(name, shields[name], own) for name, own in by_shield.items())
    note = "" if any(_is_example(o) for o in outcomes) else _NONE
    yield Table("Shields against their own examples", _COLUMNS, rows, note)
    failed = [outcome for outcome in outcomes if outcome.result is Result.FAILED]
    if failed:
        yield Table(
            "Failed",
            ("Shield", "Direction", "Example", "Expected", "Came", "Text"),
            tuple(_failure(outcome, shields[outcome.shield_id]) for outcome in failed),
        )
    missed = {o.shield_id: o.error for o in outcomes if o.result is Result.NOT_RUN}
    if missed:
        rows = tuple((name, error or "") for name, error in missed.items())
        yield Table("Not run", ("Shield", "Why"), rows)


def _row(name: str, options: ShieldOptions, own: Sequence[Outcome]) -> tuple[str, ...]:
    directions = [d.value for d in Direction if d in direction_of(name)]
    counts = [sum(o.result is result and _is_example(o) for o in own) for result in Result]
    times = sorted(o.took_ms for o in own if o.result is not Result.NOT_RUN)
    told = _milliseconds(times[len(times) // 2]) if times else "–"
    examples = [outcome for outcome in own if _is_example(outcome)]
    return (name, options.kind, "\n".join(directions), str(len(examples)), *map(str, counts), told)


def _failure(outcome: Outcome, options: ShieldOptions) -> tuple[str, ...]:
    text = next(e.text for e in examples_of(options) if e.name == outcome.example)
    came = outcome.came.value if outcome.came is not None else outcome.error or ""
    if outcome.came is outcome.expected:
        came = f"{came}d otherwise"
    expected = outcome.expected.value if outcome.expected is not None else ""
    return (
        outcome.shield_id, outcome.direction.value, outcome.example, expected, came, _cut(text),
    )  # fmt: skip


def _milliseconds(took: float) -> str:
    return f"{took:.0f}" if took >= _WHOLE_MS else f"{took:.2g}"


def _is_example(outcome: Outcome) -> bool:
    """Tell an example from the text that only finds out whether a model can be asked."""
    return outcome.expected is not None


def _cut(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
