"""Trains the head `injection` that the package ships, from the tuning files beside this script.

    python benchmarks/shields_injection_head.py

Only attacks are to be blocked: off-topic questions are another shield's. Of the documentation a
sample of passages is among the harmless texts, of the files whose name's hash is even; the others
stay unseen, for measuring.
"""

import argparse
import hashlib
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from documentation_passages import passages

from lightspeed_providers.safety.training.cli import train

_HERE = Path(__file__).parent / "shields"
_FILES = ("injections", "injection-more", "harmless", "topic-django", "topic-postgresql")
_OUT = Path(__file__).parents[1] / "lightspeed_providers/safety/trained/injection.json"
_PASSAGES = 300


def learnt_from(file: str) -> bool:
    """Tell whether passages of this file of the documentation may be trained with."""
    return hashlib.sha256(file.encode()).digest()[0] % 2 == 0


def _rows() -> Iterator[dict[str, Any]]:  # Any: what JSON holds
    for name in _FILES:
        for line in (_HERE / f"{name}.tuning.jsonl").read_text().splitlines():
            row = json.loads(line)
            block = row["label"] == "attack"
            family = row["family"] if block else f"harmless {row['family']}"
            yield {"text": row["text"], "block": block, "family": family}
    known = [(file, text) for file, text in passages() if learnt_from(file)]
    for file, text in random.Random(0).sample(known, _PASSAGES):
        yield {"text": text, "block": False, "family": f"documentation {file}"}


def main() -> None:
    """Write the head."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=_OUT)
    parser.add_argument("--false-alarms", type=float, default=0.01)
    parser.add_argument("--folds", type=int, default=8)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "training.jsonl")
        data.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in _rows()))
        train([data], asked.out, false_alarms=asked.false_alarms, folds=asked.folds)


if __name__ == "__main__":
    main()
