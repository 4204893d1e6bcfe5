"""The transcripts API as the router and other rooms see it."""

from typing import Protocol, runtime_checkable

from lightspeed_providers.core.turns import Outcome, TurnSink

from .models import (
    FeedbackList,
    FeedbackReceived,
    FeedbackRequest,
    FeedbackStatus,
    FeedbackStatusChanged,
    Opinion,
    Transcript,
    TranscriptPage,
)


@runtime_checkable
class Transcripts(TurnSink, Protocol):
    """The record of every turn, and the users' feedback; callers see their own."""

    async def list_transcripts(
        self,
        *,
        limit: int = 20,
        after: str | None = None,
        conversation_id: str | None = None,
        response_id: str | None = None,
        outcome: Outcome | None = None,
    ) -> TranscriptPage:
        """A page of the caller's turns, newest first."""
        ...

    async def get_transcript(self, turn_id: str) -> Transcript:
        """One of the caller's turns."""
        ...

    async def give_turn_feedback(self, turn_id: str, opinion: Opinion) -> FeedbackReceived:
        """Store feedback on one of the caller's turns."""
        ...

    async def list_turn_feedback(self, turn_id: str) -> FeedbackList:
        """The feedback on one of the caller's turns, oldest first."""
        ...

    async def give_feedback(self, request: FeedbackRequest) -> FeedbackReceived:
        """Store feedback on an answer of one of the caller's conversations."""
        ...

    async def get_feedback_status(self) -> FeedbackStatus:
        """Whether feedback is taken."""
        ...

    async def set_feedback_status(self, enabled: bool) -> FeedbackStatusChanged:
        """Switch feedback on or off until restart."""
        ...
