"""One run of pii-leak-benchmark against a server of ours, and what came of it."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pii_leak_adapter import adapter_of
from pii_leak_relay import listening
from pii_leak_server import MODEL

PACKAGE = "pii-leak-benchmark[validate]==0.6.0"
_NAME = "lightspeed"
_CHILD = Path(__file__).with_name("pii_leak_child.py")


@dataclass(frozen=True)
class Run:
    """What the package reported of one run."""

    title: str
    seed: str
    report: dict[str, Any]
    cases: list[dict[str, Any]]
    """A row a case, as the child wrote it."""
    partial: list[dict[str, Any]]
    """A row a case of the pass that looks for parts of values; empty without one."""
    ended: Counter[str]
    """How the server's answers ended."""

    @property
    def broken(self) -> list[str]:
        """Return what makes this run no measurement; an answer that fails early leaks nothing."""
        faults = {row["fault"] for row in self.cases} | {r["transport_error"] for r in self.partial}
        odd = {how: n for how, n in self.ended.items() if how != "response.completed"}
        capped = any(any(row["partitions_capped"].values()) for row in self.partial)
        return [
            *sorted(fault for fault in faults if fault),
            *(f"{n} answers ended with {how}" for how, n in odd.items()),
            *(["splits were left out, there are too many"] if capped else []),
        ]

    @property
    def leaks(self) -> list[str]:
        """Return each place in which a value or a part of one was where it should not be."""
        found = [
            f"{entity} reached the model from {row['request_site']}"
            for row in self.cases
            for entity in row["reached_the_model"]
        ]
        found += [_out_of(row) for row in self.cases if row["splits_leaked"]]
        for row in self.partial:
            found += [_out_of(row["case"])] if row["complete_leak_partitions"] else []
            found += [f"a part of {_out_of(row['case'])}"] if row["partitions_partial"] else []
        return sorted(set(found))


def _out_of(case: dict[str, Any]) -> str:
    return f"{case['entity']} ({case['encoding']}) came out of {case['carrier']}"


def installed_python(directory: Path) -> Path:
    """Make an environment with the package in a directory and return its Python."""
    python = directory / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    install = (
        [str(uv), "pip", "install", "--quiet", "--python", str(python), PACKAGE]
        if uv.exists()
        else [str(python), "-m", "pip", "install", "--quiet", PACKAGE]
    )
    for command in ([sys.executable, "-m", "venv", str(directory)], install):
        subprocess.run(command, check=True)
    return python


def measured(
    title: str,
    server_url: str,
    *,
    python: Path,
    upstream_port: int,
    seed: str,
    out: Path,
    arguments: Sequence[str],
) -> Run:
    """Drive a server with the package's own command, which is the server's model meanwhile."""
    out.mkdir(parents=True)
    ended: Counter[str] = Counter()
    with listening(adapter_of(server_url, ended)) as port:
        settings = {
            "--only": _NAME,
            "--gateway-url": f"http://127.0.0.1:{port}/v1/chat/completions",
            "--upstream-port": str(upstream_port),
            "--model": MODEL,
            "--seed": seed,
            "--out": str(out),
            "--json-out": str(out / "summary.json"),
        }
        words = [word for setting in settings.items() for word in setting]
        subprocess.run(
            [str(python), str(_CHILD), str(out / "cases.json"), "--validate", *words, *arguments],
            check=True,
        )
    partial = out / f"{_NAME}.partial-emission.json"
    return Run(
        title,
        seed,
        report=json.loads((out / f"{_NAME}.json").read_text()),
        cases=json.loads((out / "cases.json").read_text()),
        partial=json.loads(partial.read_text())["cases"] if partial.exists() else [],
        ended=ended,
    )
