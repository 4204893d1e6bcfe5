"""The rules of feedback: who may say what about which answer."""

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from lightspeed_providers.core.errors import ForbiddenError, NotFoundError
from lightspeed_providers.core.turns import Redact, TurnCopies
from lightspeed_providers.core.verdicts import Direction

from .models import MAX_WORDS, Feedback, FeedbackRequest, Opinion, Transcript
from .rows import FeedbackFilter, FeedbackRow, Stored, microseconds
from .storable import in_one_line, storable, storable_json

SAME_WITHIN = timedelta(minutes=10)
"""How long the same feedback on the same answer, said again, is one that was sent twice."""

_BARE_CONVERSATION_ID = re.compile(r"[0-9a-f]{48}")
_WHEN_AND_WHICH = {"feedback_id", "created_at"}
_ATTEMPTS = 100
_AMONG = 10


class FeedbackStore(Protocol):
    """What the rules have to know, and where feedback goes."""

    async def owns_conversation(self, user_hash: str, conversation_id: str) -> bool | None:
        """Whether the user has a turn in the conversation, or None where nobody has."""
        ...

    async def prompt_of(
        self, turn_id: str | None, conversation_id: str | None, user_hash: str
    ) -> tuple[str, str] | None:
        """Profile and prompt version of the turn, else of the conversation's newest turn."""
        ...

    async def feedback(
        self, which: FeedbackFilter, *, limit: int, before: int | None = None
    ) -> Sequence[Stored]:
        """Feedback, newest first."""
        ...

    async def insert_feedback(self, row: FeedbackRow) -> None:
        """Commit one piece of feedback; one that is there already is left as it is."""
        ...


def full_conversation_id(text: str) -> str:
    """The id as it is recorded; Lightspeed clients are shown it without its prefix."""
    clean = storable(text)
    return f"conv_{clean}" if _BARE_CONVERSATION_ID.fullmatch(clean) else clean


class FeedbackDesk:
    """Takes feedback while it is enabled."""

    def __init__(self, store: FeedbackStore, *, enabled: bool) -> None:
        self._store = store
        self.enabled = enabled
        self.redact: Redact = _as_it_is

    def require_enabled(self) -> None:
        """Refuse where feedback is switched off."""
        if not self.enabled:
            raise ForbiddenError(
                "Feedback is disabled on this server: PUT /v1/feedback/status enables it."
            )

    async def require_own_conversation(
        self, conversation_id: str, user_hash: str, unrecorded: TurnCopies | None = None
    ) -> None:
        """Refuse a conversation that nobody has, or that somebody else has.

        Of a conversation without a recorded turn, `unrecorded` says whether the user may use it.
        """
        owns = await self._store.owns_conversation(user_hash, conversation_id)
        if owns is None and unrecorded is not None:
            owns = await unrecorded.may_use_conversation(conversation_id) or None
        if owns is None:
            raise NotFoundError(
                f"No conversation '{in_one_line(conversation_id)}': "
                "give the id of one with a recorded answer."
            )
        if not owns:
            raise ForbiddenError(
                f"Conversation '{in_one_line(conversation_id)}' belongs to another user: "
                "give feedback on your own."
            )

    async def on_conversation(
        self, request: FeedbackRequest, conversation_id: str, user_hash: str
    ) -> str:
        """Store feedback with the texts that the client names."""
        return await self._keep(
            request,
            user_hash,
            conversation_id=conversation_id,
            turn_id=request.turn_id and storable(request.turn_id),
            question=await self.redact(Direction.INPUT, request.user_question),
            answer=await self.redact(Direction.OUTPUT, request.llm_response),
        )

    async def on_turn(self, turn: Transcript, opinion: Opinion, user_hash: str) -> str:
        """Store feedback with the texts of the turn."""
        return await self._keep(
            opinion,
            user_hash,
            conversation_id=turn.conversation_id,
            turn_id=turn.turn_id,
            question=turn.question,
            answer=turn.answer,
        )

    async def _keep(
        self,
        opinion: Opinion,
        user_hash: str,
        *,
        conversation_id: str | None,
        turn_id: str | None,
        question: str,
        answer: str,
    ) -> str:
        words = opinion.user_feedback and await self.redact(Direction.INPUT, opinion.user_feedback)
        profile, version = await self._store.prompt_of(turn_id, conversation_id, user_hash) or (
            None,
            None,
        )
        given = Feedback(
            feedback_id="",
            created_at=datetime.now(UTC),
            user_id=user_hash,
            conversation_id=conversation_id,
            turn_id=turn_id,
            profile=profile,
            prompt_version=version,
            user_question=storable(question),
            llm_response=storable(answer),
            sentiment=opinion.sentiment,
            user_feedback=words and storable(words)[:MAX_WORDS],  # placeholders may be longer
            categories=opinion.categories,
        )
        about = FeedbackFilter(
            user_hash=user_hash, conversation_id=conversation_id, turn_id=turn_id
        )
        newest = await self._store.feedback(about, limit=1)
        before = _read(newest[0]) if newest else None
        if before is not None and was_sent_twice(before, given):
            return before.feedback_id
        for attempt in range(_ATTEMPTS):
            kept = given.model_copy(update={"feedback_id": following_id(before, given, attempt)})
            await self._store.insert_feedback(_row(kept))
            newest = await self._store.feedback(about, limit=_AMONG)
            if any(_read(each).feedback_id == kept.feedback_id for each in newest):
                break  # else it is the id of something that was removed, which never comes back
        return kept.feedback_id


async def _as_it_is(_: Direction, text: str) -> str:
    return text


def was_sent_twice(before: Feedback, given: Feedback) -> bool:
    """Whether feedback only repeats the one before it, as a double click or a retry does."""
    recent = abs(given.created_at - before.created_at) <= SAME_WITHIN
    return recent and _said(before) == _said(given)


def following_id(before: Feedback | None, given: Feedback, attempt: int = 0) -> str:
    """Return the id of feedback given after another: the same for two that arrive together.

    So two servers that take the same feedback at once store it once.
    """
    moment = int(given.created_at.timestamp() // SAME_WITHIN.total_seconds())
    known = [before.feedback_id if before else "", moment, attempt, _said(given)]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    return f"fb_{digest[:32]}"


def _read(stored: Stored) -> Feedback:
    return Feedback.model_validate_json(stored.record)


def _said(feedback: Feedback) -> object:
    return feedback.model_dump(mode="json", exclude=_WHEN_AND_WHICH)


def _row(feedback: Feedback) -> FeedbackRow:
    return FeedbackRow(
        feedback_id=feedback.feedback_id,
        created_us=microseconds(feedback.created_at),
        user_hash=feedback.user_id,
        conversation_id=feedback.conversation_id,
        turn_id=feedback.turn_id,
        profile=feedback.profile,
        prompt_version=feedback.prompt_version,
        sentiment=feedback.sentiment,
        categories=tuple(category.value for category in feedback.categories or ()),
        record=storable_json(feedback),
    )
