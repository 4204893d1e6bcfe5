"""Texts that every SQL database takes: no NUL, no half characters."""

import re

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST_SHOWN = 80


def in_one_line(text: str) -> str:
    """The beginning of a client's text as an error may show it, control characters replaced."""
    clean = _NOT_PRINTABLE.sub("?", storable(text))
    return clean if len(clean) <= _LONGEST_SHOWN else f"{clean[:_LONGEST_SHOWN]}…"


def storable(text: str) -> str:
    """The text without NUL, which PostgreSQL refuses, and with lone surrogates replaced."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def storable_json(model: BaseModel) -> str:
    """The model as JSON text that every SQL database takes."""
    try:
        text = model.model_dump_json()
    except PydanticSerializationError:
        pass  # a lone surrogate somewhere
    else:
        if "\\u0000" not in text:
            return text
    return type(model).model_validate(_cleaned(model.model_dump())).model_dump_json()


def _cleaned(value: object) -> object:
    match value:
        case str() if type(value) is str:
            return storable(value)
        case dict():
            return {_cleaned(key): _cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [_cleaned(item) for item in value]
        case _:
            return value
