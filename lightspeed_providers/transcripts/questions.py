"""What routes are asked and answer, in the words of the store."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from lightspeed_providers.core.errors import InvalidRequestError

from .feedback import full_conversation_id
from .models import AuditLine, FeedbackQuery, TranscriptQuery
from .rows import AuditRow, FeedbackFilter, Stored, TurnFilter, microseconds
from .storable import storable


def turn_filter(query: TranscriptQuery, user_hash: str | None) -> TurnFilter:
    """Return which turns are asked for."""
    return TurnFilter(
        user_hash=user_hash,
        conversation_id=_conversation(query.conversation_id),
        response_id=clean(query.response_id),
        outcome=None if query.outcome is None else query.outcome.value,
        profile=clean(query.profile),
        model=clean(query.model),
        shield=clean(query.shield),
        since_us=_moment(query.since),
        until_us=_moment(query.until),
        has_feedback=query.has_feedback,
        text=clean(query.text),
    )


def feedback_filter(query: FeedbackQuery, user_hash: str | None) -> FeedbackFilter:
    """Return which feedback is asked for."""
    return FeedbackFilter(
        user_hash=user_hash,
        conversation_id=_conversation(query.conversation_id),
        turn_id=clean(query.turn_id),
        profile=clean(query.profile),
        prompt_version=clean(query.prompt_version),
        sentiment=query.sentiment,
        category=None if query.category is None else query.category.value,
        since_us=_moment(query.since),
        until_us=_moment(query.until),
    )


def clean(text: str | None) -> str | None:
    """Return a text as it would have been stored."""
    return None if text is None else storable(text)


def position_of(cursor: str | None) -> int | None:
    """Return the place that a page begins after."""
    if cursor is None:
        return None
    try:
        return int(cursor)
    except ValueError:
        raise InvalidRequestError(
            "`after` is not a cursor: give the `next` of an earlier page."
        ) from None


def page_of[Page](
    page: Callable[..., Page], record: type[BaseModel], found: Sequence[Stored], limit: int
) -> Page:
    """Return a page of records, of which one more than `limit` was asked for."""
    has_more = len(found) > limit
    return page(
        data=[record.model_validate_json(each.record) for each in found[:limit]],
        has_more=has_more,
        next=str(found[limit - 1].position) if has_more else None,
    )


def shown_audit(row: AuditRow) -> AuditLine:
    """Return an audit line as it is shown."""
    return AuditLine(
        at=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row.at_us),
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        turns=row.turns,
        feedback=row.feedback,
    )


def _conversation(conversation_id: str | None) -> str | None:
    return None if conversation_id is None else full_conversation_id(conversation_id)


def _moment(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)
