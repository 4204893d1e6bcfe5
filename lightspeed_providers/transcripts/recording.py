"""A finished turn as a row."""

import math

from lightspeed_providers.core.turns import Passage, Turn
from lightspeed_providers.core.verdicts import Action, Verdict

from .rows import TurnRow, microseconds
from .storable import storable, storable_json

_LARGEST = 1e9


def turn_row(turn: Turn, user_hash: str) -> TurnRow:
    """Return the row of a turn, in texts and numbers that every SQL database takes."""
    passages = tuple(_with_finite_score(passage) for passage in turn.passages)
    stored = turn.model_copy(update={"user_id": user_hash, "passages": passages})
    return TurnRow(
        turn_id=storable(turn.turn_id),
        received_us=microseconds(turn.received_at),
        first_token_us=None if turn.first_token_at is None else microseconds(turn.first_token_at),
        finished_us=microseconds(turn.finished_at),
        user_hash=user_hash,
        conversation_id=_optional(turn.conversation_id),
        response_id=_optional(turn.response_id),
        previous_response_id=_optional(turn.previous_response_id),
        profile=storable(turn.profile),
        prompt_version=storable(turn.prompt_version),
        model=_optional(turn.model),
        provider=_optional(turn.provider),
        outcome=turn.outcome.value,
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        passages=len(passages),
        best_score=max((passage.score for passage in passages), default=None),
        shields=tuple(dict.fromkeys(storable(v.shield) for v in turn.verdicts if _acted(v))),
        blocked_by=next(
            (storable(v.shield) for v in turn.verdicts if v.action is Action.BLOCK), None
        ),
        question=storable(turn.question),
        answer=storable(turn.answer),
        record=storable_json(stored),
    )


def _with_finite_score(passage: Passage) -> Passage:
    # A store's distance of zero is an infinite score; JSON has no word for it.
    if math.isfinite(passage.score):
        return passage
    score = 0.0 if math.isnan(passage.score) else math.copysign(_LARGEST, passage.score)
    return passage.model_copy(update={"score": score})


def _acted(verdict: Verdict) -> bool:
    return verdict.action is not Action.ALLOW


def _optional(text: str | None) -> str | None:
    return None if text is None else storable(text)
