"""NeMo Guardrails beside our shields: in an environment and a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGE = "nemoguardrails==0.24.1"
_CHILD = Path(__file__).with_name("shields_nemo_child.py")
_INSTALL_TIMEOUT_S = 90
_MEASURE_TIMEOUT_S = 120


class NotMeasuredError(Exception):
    """NeMo Guardrails could not be installed or run; the text says why."""


def installed_python(directory: Path) -> Path:
    """Make an environment with NeMo Guardrails in a directory and return its Python.

    Nothing is put into the environment that this script runs in.
    """
    python = directory / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")  # takes seconds where pip takes most of a minute
    commands = (
        [sys.executable, "-m", "venv", str(directory)],
        [str(uv), "pip", "install", "--quiet", "--python", str(python), PACKAGE]
        if uv.exists()
        else [str(python), "-m", "pip", "install", "--quiet", PACKAGE],
    )
    for command in commands:
        try:
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise NotMeasuredError(
                f"{PACKAGE} was not installed within {_INSTALL_TIMEOUT_S} s"
            ) from None
        except (OSError, subprocess.CalledProcessError) as fault:
            said = getattr(fault, "stderr", "") or str(fault)
            raise NotMeasuredError(f"{PACKAGE} can't be installed: {_last_line(said)}") from fault
    return python


def nemo_measured(python: Path, asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the child found, one answer a question."""
    quiet = {**os.environ, "DO_NOT_TRACK": "1"}
    try:
        child = subprocess.run(
            [str(python), str(_CHILD)],
            input=json.dumps(list(asked)),
            env={name: value for name, value in quiet.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            timeout=_MEASURE_TIMEOUT_S,
            check=True,
        )
        found: list[dict[str, Any]] = json.loads(child.stdout)
    except subprocess.TimeoutExpired:
        raise NotMeasuredError(f"it gave no figures within {_MEASURE_TIMEOUT_S} s") from None
    except (OSError, subprocess.CalledProcessError) as fault:
        said = getattr(fault, "stderr", "") or str(fault)
        raise NotMeasuredError(f"it failed: {_last_line(said)}") from fault
    return found


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
