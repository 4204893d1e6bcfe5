"""One whole record a line, exactly as it is stored."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightspeed_providers.transcripts.rows import Kind

from .durable import private_file
from .parts import Write

_ID_NAMES = {Kind.TURN: "turn_id", Kind.FEEDBACK: "feedback_id"}
_STARTS = {
    kind: re.compile(rb'\{"%s":"([A-Za-z0-9_-]+)"' % name.encode())
    for kind, name in _ID_NAMES.items()
}


class JsonLines:
    """A part of JSON lines."""

    ending = ".jsonl"

    @contextmanager
    def open(self, kind: Kind, path: Path) -> Iterator[Write]:
        """A new file that takes records."""
        del kind
        with private_file(path) as file:

            def write(record: str) -> None:
                line = record if "\n" not in record else json.dumps(json.loads(record))
                file.write(line.encode() + b"\n")

            yield write

    def held(self, kind: Kind, ids: set[str], path: Path) -> set[str]:
        """Those of the ids that the file holds."""
        with path.open("rb") as file:
            return ids.intersection(_id_of(kind, line) for line in file)

    def copy_without(self, kind: Kind, ids: set[str], path: Path, to: Path) -> int:
        """Write the other records of a file into a new one; how many those are."""
        kept = 0
        with path.open("rb") as old, private_file(to) as new:
            for line in old:
                if _id_of(kind, line) not in ids:
                    new.write(line)
                    kept += 1
        return kept


def _id_of(kind: Kind, line: bytes) -> str:
    start = _STARTS[kind].match(line)  # an id comes first, and records can be large
    return start[1].decode() if start else str(json.loads(line)[_ID_NAMES[kind]])
