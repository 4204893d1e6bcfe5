"""The rules of feedback: who may say what about which answer."""

import re
from datetime import UTC, datetime
from typing import Protocol
from uuid import uuid4

from lightspeed_providers.core.errors import ForbiddenError, NotFoundError

from .models import Feedback, FeedbackRequest, Opinion, Transcript
from .storable import storable, storable_json
from .store import FeedbackRow, microseconds

_BARE_CONVERSATION_ID = re.compile(r"[0-9a-f]{48}")


class FeedbackStore(Protocol):
    """What the rules have to know, and where feedback goes."""

    async def owns_conversation(self, user_hash: str, conversation_id: str) -> bool | None:
        """Whether the user has a turn in the conversation, or None where nobody has."""
        ...

    async def insert_feedback(self, row: FeedbackRow) -> None:
        """Commit one piece of feedback."""
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

    def require_enabled(self) -> None:
        """Refuse where feedback is switched off."""
        if not self.enabled:
            raise ForbiddenError(
                "Feedback is disabled on this server: PUT /v1/feedback/status enables it."
            )

    async def require_own_conversation(self, conversation_id: str, user_hash: str) -> None:
        """Refuse a conversation that nobody has, or that somebody else has."""
        match await self._store.owns_conversation(user_hash, conversation_id):
            case None:
                raise NotFoundError(
                    f"No conversation '{conversation_id}': "
                    "give the id of one with a recorded answer."
                )
            case False:
                raise ForbiddenError(
                    f"Conversation '{conversation_id}' belongs to another user: "
                    "give feedback on your own."
                )

    async def on_conversation(
        self, request: FeedbackRequest, conversation_id: str, user_hash: str
    ) -> str:
        """Store feedback with the texts that the client names."""
        return await self._keep(
            Feedback(
                **request.model_dump(exclude={"conversation_id"}),
                **_new(user_hash),
                conversation_id=conversation_id,
            )
        )

    async def on_turn(self, turn: Transcript, opinion: Opinion, user_hash: str) -> str:
        """Store feedback with the texts of the turn."""
        return await self._keep(
            Feedback(
                **opinion.model_dump(),
                **_new(user_hash),
                conversation_id=turn.conversation_id,
                turn_id=turn.turn_id,
                user_question=turn.question,
                llm_response=turn.answer,
            )
        )

    async def _keep(self, feedback: Feedback) -> str:
        await self._store.insert_feedback(
            FeedbackRow(
                feedback_id=feedback.feedback_id,
                created_us=microseconds(feedback.created_at),
                user_hash=feedback.user_id,
                conversation_id=feedback.conversation_id,
                turn_id=feedback.turn_id,
                sentiment=feedback.sentiment,
                record=storable_json(feedback),
            )
        )
        return feedback.feedback_id


def _new(user_hash: str) -> dict[str, str | datetime]:
    return {
        "feedback_id": f"fb_{uuid4().hex}",
        "created_at": datetime.now(UTC),
        "user_id": user_hash,
    }
