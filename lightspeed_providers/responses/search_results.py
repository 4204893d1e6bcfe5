"""What the model searched for, in the tool messages that bring it."""

from collections.abc import Mapping, Sequence
from typing import Any

from llama_stack_api import OpenAIMessageParam, OpenAIToolMessageParam

from lightspeed_providers.responses.grounding import Grounding, Piece
from lightspeed_providers.responses.to_model import WITHHELD

type Places = Mapping[tuple[int, int], Piece]
"""Passages by the message, and its part, in which they stand."""


def with_passages_only(
    messages: Sequence[OpenAIMessageParam], grounding: Grounding
) -> tuple[list[OpenAIMessageParam], Places]:
    """Return messages in which a found passage is a heading and its text, and where they stand.

    What the stock loop adds (ids, scores) would only invite the model to repeat it. Passages that
    were left out are gone.
    """
    # Where one passage holds another, the longer one is meant.
    pieces = sorted(grounding.found_by_model, key=lambda p: -len(p.passage.content))
    out: list[OpenAIMessageParam] = []
    places: dict[tuple[int, int], Piece] = {}
    for message in messages:
        if pieces and isinstance(message, OpenAIToolMessageParam):
            message = _rewritten(message, pieces, places, len(out))
        out.append(message)
    return out, places


def _rewritten(
    message: OpenAIToolMessageParam,
    pieces: Sequence[Piece],
    places: dict[tuple[int, int], Piece],
    number: int,
) -> OpenAIToolMessageParam:
    if isinstance(message.content, str):
        return message
    parts: list[Any] = []  # Any: the host's content parts
    for part in message.content:
        piece = next((p for p in pieces if _holds(part, p)), None)
        if piece is None:
            parts.append(part)
        elif not piece.left_out:
            places[number, len(parts)] = piece
            parts.append(part.model_copy(update={"text": f"{piece.text}\n"}))
    return message.model_copy(update={"content": parts})


def _holds(part: Any, piece: Piece) -> bool:  # Any: the host's content parts
    content = piece.passage.content
    return bool(content.strip()) and content in (getattr(part, "text", None) or "")


def note_given(
    messages: Sequence[OpenAIMessageParam], places: Places, grounding: Grounding
) -> None:
    """Note which passages the model gets with these messages, once shields have screened them."""
    for (number, place), piece in places.items():
        part: Any = messages[number].content[place]  # type: ignore[index]  # Any: as above
        if part.text != WITHHELD:
            grounding.give(piece)
