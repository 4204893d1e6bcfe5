"""What runs of pii-leak-benchmark found, as a table with a column a run."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pii_leak_run import Run

type Row = dict[str, Any]  # Any: JSON
type Count = Callable[[Row], int]

_ENTITIES = {"EMAIL": "e-mail", "SSN": "SSN", "CARDPAN": "card", "USPHONE": "phone"}
_ASKED_IN = {
    "chat-content": "in the user's text",
    "system-content": "in the instructions",
    "tool-description": "in a function's description",
    "unrecognised-key": "in an unknown key",
}
_ANSWERED_IN = {"sse-delta-content": "in the text", "sse-json-field": "in an unknown field"}
_CUT = {"single_chunk": "in one delta", "adversarial": "cut"}
_ANSWER_ROWS = {"entity": _ENTITIES, "carrier": _ANSWERED_IN, "fragmentation": _CUT}
_WIDTH = 25


def print_table(runs: Sequence[Run]) -> None:
    """Print leaks out of those looked for: by entity, and by the place they were planted in."""
    _line("", [run.title for run in runs])
    print("values that reached the model, of those in requests")
    for entity, name in _ENTITIES.items():
        _line(name, [_reached(run.cases, [entity]) for run in runs])
    for place, name in _ASKED_IN.items():
        _line(name, [_reached(_of(run.cases, "request_site", place), _ENTITIES) for run in runs])
    print("answers that let their value out whole, of all answers")
    for axis, value, name in _answer_rows():
        _line(name, [_let_out(_of(run.cases, axis, value)) for run in runs])
    print("answers that let 5 or more characters of their value out, of all answers")
    for axis, value, name in _answer_rows():
        partial = [[r for r in run.partial if r["case"][axis] == value] for run in runs]
        _line(name, [_in_part(rows) for rows in partial])
    print("as the package sums up")
    metrics = [run.report["metrics"] for run in runs]
    _line("LeakRate, in one delta", [m["leak_rate"]["single_chunk"] for m in metrics])
    _line("LeakRate, cut", [m["leak_rate"]["adversarial"] for m in metrics])
    _line("FidelityRate (see below)", [m["fidelity_rate"] for m in metrics])
    _line("outcome", [run.report["outcome"] for run in runs])
    _line("answers that completed", [_answers(run) for run in runs])


def _answer_rows() -> list[tuple[str, str, str]]:
    return [
        (axis, value, name) for axis, rows in _ANSWER_ROWS.items() for value, name in rows.items()
    ]


def _of(cases: Sequence[Row], axis: str, value: str) -> list[Row]:
    return [row for row in cases if row[axis] == value]


def _reached(cases: Sequence[Row], entities: Iterable[str]) -> str:
    wanted = set(entities)
    return _share(
        cases,
        lambda row: len(wanted & set(row["reached_the_model"])),
        lambda row: len(wanted & set(row["placed"])),
    )


def _let_out(cases: Sequence[Row]) -> str:
    return _share(cases, lambda row: int(row["splits_leaked"]), lambda row: int(row["splits"]))


def _in_part(cases: Sequence[Row]) -> str:
    return _share(
        cases, lambda row: int(row["partitions_partial"]), lambda row: int(row["partitions_tried"])
    )


def _share(cases: Sequence[Row], of: Count, among: Count) -> str:
    return f"{sum(map(of, cases))}/{sum(map(among, cases))}" if cases else "-"


def _answers(run: Run) -> str:
    return f"{run.ended['response.completed']}/{run.ended.total()}"


def _line(name: str, cells: Sequence[object]) -> None:
    print(f"  {name:28}" + "".join(f"{cell!s:>{_WIDTH}}" for cell in cells))
