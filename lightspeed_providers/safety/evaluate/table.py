"""Results as tables of text."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from lightspeed_providers.core.tables import Table
from lightspeed_providers.safety.evaluate.decisions import Quality, Sort
from lightspeed_providers.safety.evaluate.rates import Rate, Times
from lightspeed_providers.safety.evaluate.redactions import Redacted
from lightspeed_providers.safety.evaluate.results import Results

_NONE = "–"
_WHOLE_MS = 10
_WORST = 12
_SHOWN_ERRORS = 12
_SHOWN_TEXT = 70


def headline(results: Results) -> str:
    """Return one line about what was measured."""
    settings = results.settings
    count = results.redacted.texts if results.redacted else results.qualities[0].texts
    return (
        f"{', '.join(settings.shields)}: {count} texts of direction {settings.direction.value}, "
        f"split {settings.split}; {len(results.errors)} wrong"
    )


def tables(results: Results) -> Iterator[Table]:
    """Yield everything that a reader wants to see of a run; shares are with 95 % intervals."""
    if results.redacted is not None:
        yield _redacted(results.redacted)
    else:
        yield _qualities(results.qualities)
        yield _sorts("By label", results.labels)
        if len(results.families) > 1:
            yield _worst_families(results.families)
        yield _stages(results)
    if results.errors:
        yield _errors(results)


def _qualities(told: Sequence[Quality]) -> Table:
    columns = ("Shield", "Precision", "Recall", "False positives", "ROC AUC", "p50 / 95 / 99 ms")
    rows = tuple(
        (
            one.name,
            _rate(one.precision),
            _rate(one.recall),
            _rate(one.false_positives),
            f"{one.curve.auc:.3f}" if one.curve else _NONE,
            _times(one.times),
        )
        for one in told
    )
    open_texts = told[0].undecided
    note = f"{open_texts} texts were left open by failed checks; no share counts them."
    return Table("How good", columns, rows, note if open_texts else "")


def _sorts(title: str, sorts: Sequence[Sort]) -> Table:
    rows = tuple(
        (
            one.name,
            "block" if one.block else "pass",
            str(one.blocked.of),
            str(one.blocked.hits),
            _rate(one.blocked),
        )
        for one in sorts
    )
    return Table(title, ("Texts", "Should", "Number", "Blocked", "Share"), rows)


def _worst_families(families: Sequence[Sort]) -> Table:
    wanted = [one for one in families if one.block]
    caught = sum(one.blocked.hits * 2 > one.blocked.of for one in wanted)
    wrong = sorted((one for one in families if _wrong_share(one)), key=_wrong_share, reverse=True)
    shown = _sorts(f"Families with the most wrong ({min(len(wrong), _WORST)})", wrong[:_WORST])
    note = (
        f"Of {len(wanted)} families to be blocked, {caught} are caught: more than half of their "
        "texts."
        if wanted
        else ""
    )
    return Table(shown.title, shown.columns, shown.rows, note)


def _wrong_share(one: Sort) -> float:
    share = one.blocked.share or 0.0
    return 1 - share if one.block else share


def _stages(results: Results) -> Table:
    rows = tuple(
        (one.shield, one.stage, _rate(one.decided), str(one.blocked), str(one.wrong))
        for one in results.stages
    )
    columns = ("Shield", "Stage", "Decided", "Blocked", "Wrong")
    note = "Wrong counts a shield that passes what another is there to block, too."
    return Table("By stage", columns, rows, note if len(results.settings.shields) > 1 else "")


def _redacted(told: Redacted) -> Table:
    rows = tuple(
        (one.name, _counted(one.recall), _counted(one.precision), str(one.renamed))
        for one in told.entities
    )
    note = f"{_times(told.times)} ms a text (p50 / p95 / p99)."
    if told.undecided:
        note += f" {told.undecided} texts were left open by failed checks; no share counts them."
    columns = ("Entity", "Recall", "Precision", "Under another name")
    return Table("Personal data taken out", columns, rows, note)


def _errors(results: Results) -> Table:
    rows = tuple(
        (
            _place(one.place, several=len(results.settings.files) > 1),
            one.label or one.family,
            _cut(one.wrong),
            _cut(one.text),
        )
        for one in results.errors[:_SHOWN_ERRORS]
    )
    more = len(results.errors) - _SHOWN_ERRORS
    note = f"And {more} more: --out DIR writes all to results.json." if more > 0 else ""
    return Table("Wrong", ("Line", "Sort", "What", "Text"), rows, note)


def _place(place: str, *, several: bool) -> str:
    """Return a line's number, with its file's name where there are several."""
    file, _, number = place.rpartition("', line ")
    return f"{PurePath(file).name}:{number}" if several else number


def _rate(told: Rate) -> str:
    if told.share is None:
        return _NONE
    return f"{told.share:.1%}\n{_interval(told)}"


def _counted(told: Rate) -> str:
    if told.share is None:
        return _NONE
    return f"{told.share:.1%} of {told.of}\n{_interval(told)}"


def _interval(told: Rate) -> str:
    return f"{told.low or 0:.1%} to {told.high or 0:.1%}"


def _times(told: Times) -> str:
    shown = (told.p50_ms, told.p95_ms, told.p99_ms)
    return " / ".join(f"{took:.0f}" if took >= _WHOLE_MS else f"{took:.1f}" for took in shown)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_TEXT else f"{line[: _SHOWN_TEXT - 1]}…"
