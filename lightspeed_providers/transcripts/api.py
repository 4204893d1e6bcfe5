"""The transcripts API as the router and other rooms see it."""

from typing import Protocol, runtime_checkable

from lightspeed_providers.core.turns import TurnSink

from .models import (
    AuditPage,
    ConversationPage,
    FeedbackList,
    FeedbackPage,
    FeedbackQuery,
    FeedbackReceived,
    FeedbackRequest,
    FeedbackStatus,
    FeedbackStatusChanged,
    FeedbackSummary,
    Opinion,
    Removed,
    Transcript,
    TranscriptPage,
    TranscriptQuery,
)


@runtime_checkable
class Transcripts(TurnSink, Protocol):
    """The record of every turn, and the users' feedback.

    Callers see and remove their own; roles of the configuration see, or also remove, everybody's.
    """

    async def list_transcripts(
        self, query: TranscriptQuery, *, limit: int = 20, after: str | None = None
    ) -> TranscriptPage:
        """A page of turns, newest first."""
        ...

    async def get_transcript(self, turn_id: str) -> Transcript:
        """One turn."""
        ...

    async def delete_transcript(self, turn_id: str) -> Removed:
        """Remove one turn with every copy of it."""
        ...

    async def list_conversation(
        self, conversation_id: str, *, limit: int = 20, after: str | None = None
    ) -> ConversationPage:
        """A page of a conversation's turns, oldest first."""
        ...

    async def delete_conversation(self, conversation_id: str) -> Removed:
        """Remove a conversation with every copy of it."""
        ...

    async def delete_user(self, user_hash: str | None = None) -> Removed:
        """Remove all of a user, of the caller where none is named."""
        ...

    async def list_audit(self, *, limit: int = 20, after: str | None = None) -> AuditPage:
        """A page of what was removed, newest first."""
        ...

    async def give_turn_feedback(self, turn_id: str, opinion: Opinion) -> FeedbackReceived:
        """Store feedback on one of the caller's turns."""
        ...

    async def list_turn_feedback(self, turn_id: str) -> FeedbackList:
        """The feedback on one turn, oldest first."""
        ...

    async def give_feedback(self, request: FeedbackRequest) -> FeedbackReceived:
        """Store feedback on an answer of one of the caller's conversations."""
        ...

    async def list_feedback(
        self, query: FeedbackQuery, *, limit: int = 20, after: str | None = None
    ) -> FeedbackPage:
        """A page of feedback, newest first."""
        ...

    async def summarize_feedback(self, query: FeedbackQuery) -> FeedbackSummary:
        """Feedback in numbers."""
        ...

    async def delete_feedback(self, feedback_id: str) -> Removed:
        """Remove one piece of feedback."""
        ...

    async def require_feedback(self) -> None:
        """Refuse where feedback is switched off."""
        ...

    async def get_feedback_status(self) -> FeedbackStatus:
        """Whether feedback is taken."""
        ...

    async def set_feedback_status(self, enabled: bool) -> FeedbackStatusChanged:
        """Switch feedback on or off until restart."""
        ...
