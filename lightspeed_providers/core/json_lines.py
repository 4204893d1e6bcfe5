"""Files of one JSON object a line, read with the line that is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError

from lightspeed_providers.core.errors import ConfigurationError


def read_json_lines[Row: BaseModel](
    file: Path, row: type[Row], called: str
) -> Iterator[tuple[str, Row]]:
    """Yield each line's object with its place, e.g. `Question file 'a.jsonl', line 3`.

    A line that is no such object is a `ConfigurationError` that names it and the field.
    """
    for number, line in enumerate(_lines(file, called), start=1):
        if line.strip():
            place = f"{called} '{file}', line {number}"
            yield place, _parsed(line, row, place)


def _lines(file: Path, called: str) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as fault:
        line = fault.object[: fault.start].count(b"\n") + 1
        raise ConfigurationError(
            f"{called} '{file}', line {line}: not UTF-8; save it as UTF-8."
        ) from fault
    except OSError as fault:
        raise ConfigurationError(
            f"{called} '{file}' can't be read ({fault.strerror}): check the path."
        ) from fault


def _parsed[Row: BaseModel](line: str, row: type[Row], place: str) -> Row:
    try:
        return row.model_validate(json.loads(line))
    except json.JSONDecodeError as fault:
        raise ConfigurationError(
            f"{place}: not JSON ({fault.msg} at character {fault.pos + 1}); write one object a "
            "line."
        ) from fault
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        told = first["msg"].removeprefix("Value error, ")
        where = f"{place}, field '{field}'" if field else place
        raise ConfigurationError(f"{where}: {told}.") from fault
