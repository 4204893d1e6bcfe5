"""How fast the shields are, beside the stock guardrails and NeMo Guardrails' rails, in one run.

    python benchmarks/shields_speed.py
    python benchmarks/shields_speed.py --nemo-python PATH --only slow_shield
    python benchmarks/shields_speed.py --no-nemo

All answer from one canned upstream (`shields_answer.py`): it says its deltas when they are due,
as a model does, whether they are read or not. Ours and the stock provider take turns in this
process; NeMo Guardrails goes before them in an environment of its own, made in a temporary
directory unless a Python that has it is given. Figures are medians over rounds. A target that is
missed changes no exit status; an answer that is not whole, or text that leaves before its verdict,
does.
"""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("LLAMA_STACK_LOGGING", "all=error")  # read when the host is imported

from shields_checks import several, several_question, topic, written
from shields_crowd import crowd
from shields_nemo import PACKAGE, NotMeasuredError, installed_python, nemo_measured
from shields_report import Report, print_report, summary
from shields_sides import Sides, both_sides
from shields_streaming import (
    PAUSE_S,
    hidden,
    hidden_question,
    six_output,
    slow_question,
    slow_shield,
)

type Beside = dict[str, Any] | None  # Any: JSON, what NeMo Guardrails did
type Measure = Callable[[Sides, Beside], Awaitable[Report]]

ROUNDS = 3

MEASURES: dict[str, Measure] = {
    "slow_shield": lambda sides, nemo: slow_shield(sides, PAUSE_S, ROUNDS, nemo),
    "no_pauses": lambda sides, nemo: slow_shield(sides, 0.0, ROUNDS, nemo),
    "six_output": lambda sides, nemo: six_output(ROUNDS),
    "several": lambda sides, nemo: several(ROUNDS, nemo),
    "hidden": lambda sides, nemo: hidden(sides, ROUNDS, nemo),
    "written": lambda sides, nemo: written(),
    "topic": lambda sides, nemo: topic(),
    "crowd": lambda sides, nemo: crowd(),
}
"""In the order in which they run."""
NEMO_MEASURES = {
    "slow_shield": slow_question(PAUSE_S, ROUNDS),
    "no_pauses": slow_question(0.0, ROUNDS),
    "several": several_question(ROUNDS),
    "hidden": hidden_question(ROUNDS),
}
"""What the other process is asked, for the measures that NeMo Guardrails has rails for."""


def nemo_found(names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Return what NeMo Guardrails does, by measure; nothing where it can't be measured."""
    asked = {name: question for name, question in NEMO_MEASURES.items() if name in names}
    if options.no_nemo or not asked:
        return {}
    try:
        with tempfile.TemporaryDirectory() as directory:
            python = options.nemo_python or installed_python(Path(directory) / "nemo")
            found = nemo_measured(python, list(asked.values()))
    except NotMeasuredError as fault:
        print(f"NeMo Guardrails was not measured: {fault}")
        return {}
    print(f"NeMo Guardrails: {PACKAGE if options.nemo_python is None else options.nemo_python}")
    return dict(zip(asked, found, strict=True))


async def measured(names: Sequence[str], nemo: dict[str, Any]) -> list[Report]:
    """Run the named measures one after the other and print each."""
    reports: list[Report] = []
    async with both_sides() as sides:
        for name in names:
            began = time.perf_counter()
            report = await MEASURES[name](sides, nemo.get(name))
            report.took_s = time.perf_counter() - began
            reports.append(report)
            print_report(report)
    return reports


def main() -> None:
    """Measure, print, and fail where something else than a figure is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", choices=MEASURES, action="append", help="Only this; may be repeated"
    )
    parser.add_argument("--nemo-python", type=Path, help=f"Python that has {PACKAGE}")
    parser.add_argument("--no-nemo", action="store_true", help="Leave NeMo Guardrails out")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    names = tuple(name for name in MEASURES if not options.only or name in options.only)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores; load before this run: {load} (1, 5, 15 minutes)")
    reports = asyncio.run(measured(names, nemo_found(names, options)))
    print(f"\n{summary(reports)}")
    if any(report.faults for report in reports):
        sys.exit("There were faults: see FAULT above.")


if __name__ == "__main__":
    main()
