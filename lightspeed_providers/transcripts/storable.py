"""Texts that every SQL database takes: no NUL, no half characters."""

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError


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
