"""Does personal data reach the model, or come out of its answers? As pii-leak-benchmark asks it.

    python benchmarks/shields_pii_leak.py
    python benchmarks/shields_pii_leak.py --seed 01 --seed 02 --out reports
    python benchmarks/shields_pii_leak.py --help

The package drives a real server of ours and is its model: it plants values in four places of
requests and in two of answers, there in one delta, cut in the middle or cut at every place. It is
installed into an environment of its own. Each run is made beside one without the redaction shield,
because no leak means something only where the same run without redaction has some.

What stands between, and what it can't change: the package speaks chat completions, our shields
govern `/v1/responses`, so `pii_leak_adapter.py` translates; and it leaves out of its chunks what
Llama Stack asks of a provider, so `pii_leak_relay.py` adds it. The other shields and retrieval are
off, because the package asks about records and not about Django.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pii_leak_relay import listening, relay_to
from pii_leak_run import Run, installed_python, measured
from pii_leak_server import serving
from pii_leak_table import print_table
from start_and_answer import free_port

_SEED = "a1b2c3d4e5f60001"
_EVERY_SPLIT = ("--exhaustive-splits", "--partial-emission")
_EVERY_THREE = ("--oracle", "union-worst-case", "--partial-emission")
_NOTES = """\
Not redacted by design: nothing of this, the package plants no names. FidelityRate asks for values
restored in answers: placeholders stay placeholders here, so it is 0, and the package's outcome
can't be better than no-leak-profile-not-met. Without redaction it is below 1 because the package
reads the user text back from the first message, which is the product's prompt. What answers carry
beside `content` never leaves the server, with or without redaction."""


def main() -> int:
    """Measure, print the table, and fail where anything leaked or nothing was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path, help="of an environment that has the package")
    parser.add_argument("--seed", action="append", help="of the planted values, hexadecimal")
    parser.add_argument(
        "--three", action="store_true", help="also every split into three parts: half an hour"
    )
    parser.add_argument("--out", type=Path, help="a new directory for the package's reports")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        python = asked.python or installed_python(scratch / "venv")
        runs = list(_runs(scratch, python, asked.seed or [_SEED], asked.out, three=asked.three))
    control, *redacted = runs
    print()
    print_table(runs)
    print(f"\n{_NOTES}")
    faults = [f"{run.title}: {fault}" for run in runs for fault in run.broken]
    faults += [f"{run.title}: {leak}" for run in redacted for leak in run.leaks]
    if not control.leaks:
        faults.append("nothing leaked without redaction either, so nothing was measured")
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


def _runs(
    scratch: Path, python: Path, seeds: Sequence[str], out: Path | None, *, three: bool
) -> Iterator[Run]:
    reports = out or scratch / "reports"
    port = free_port()
    with listening(relay_to(port)) as model:
        with serving(scratch / "control", model, redacting=False) as url:
            yield measured(
                "no redaction",
                url,
                python=python,
                upstream_port=port,
                seed=seeds[0],
                out=reports / "no-redaction",
                arguments=(),
            )
        with serving(scratch / "redacting", model, redacting=True) as url:
            for seed in seeds:
                for title, arguments in _oracles(three=three):
                    yield measured(
                        title if len(seeds) == 1 else f"{title}, {seed[-4:]}",
                        url,
                        python=python,
                        upstream_port=port,
                        seed=seed,
                        out=reports / f"{title.replace(' ', '-')}-{seed}",
                        arguments=arguments,
                    )


def _oracles(*, three: bool) -> list[tuple[str, Sequence[str]]]:
    widest = ("split in 2 and 3", _EVERY_THREE) if three else ("every split", _EVERY_SPLIT)
    return [("split in the middle", ()), widest]


if __name__ == "__main__":
    sys.exit(main())
