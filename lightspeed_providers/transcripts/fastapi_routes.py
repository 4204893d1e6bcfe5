"""The routes of transcripts and feedback."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query
from fastapi.routing import APIRoute
from llama_stack_api.common.errors import OpenAIErrorResponse

from lightspeed_providers.core.error_route import answering
from lightspeed_providers.core.turns import Outcome

from .api import Transcripts
from .models import (
    FeedbackList,
    FeedbackReceived,
    FeedbackRequest,
    FeedbackStatus,
    FeedbackStatusChanged,
    FeedbackStatusRequest,
    Opinion,
    Transcript,
    TranscriptPage,
)

TurnId = Annotated[str, Path(description="The id of one of your turns.")]
Limit = Annotated[int, Query(ge=1, le=200, description="How many turns at most.")]
After = Annotated[str | None, Query(max_length=300, description="`next` of the page before.")]
ConversationId = Annotated[
    str | None, Query(max_length=200, description="Only turns of this conversation.")
]
ResponseId = Annotated[
    str | None, Query(max_length=200, description="Only the turn of this response.")
]
WithOutcome = Annotated[Outcome | None, Query(description="Only turns that ended like this.")]


def create_router(impl: Transcripts) -> APIRouter:
    """A router over the implementation; Llama Stack also calls this without one, to list routes."""
    router = APIRouter(tags=["Transcripts"], route_class=answering(APIRoute, invalid_body=422))

    @router.get("/v1alpha/transcripts", responses=_errors(400, 503), summary="List your turns.")
    async def list_transcripts(
        limit: Limit = 20,
        after: After = None,
        conversation_id: ConversationId = None,
        response_id: ResponseId = None,
        outcome: WithOutcome = None,
    ) -> TranscriptPage:
        """Your turns, newest first."""
        return await impl.list_transcripts(
            limit=limit,
            after=after,
            conversation_id=conversation_id,
            response_id=response_id,
            outcome=outcome,
        )

    @router.get(
        "/v1alpha/transcripts/{turn_id}", responses=_errors(404, 503), summary="Get a turn."
    )
    async def get_transcript(turn_id: TurnId) -> Transcript:
        """One of your turns."""
        return await impl.get_transcript(turn_id)

    @router.post(
        "/v1alpha/transcripts/{turn_id}/feedback",
        responses=_errors(403, 404, 422, 503),
        summary="Give feedback on a turn.",
    )
    async def give_turn_feedback(
        turn_id: TurnId, opinion: Annotated[Opinion, Body()]
    ) -> FeedbackReceived:
        """Feedback on one of your turns."""
        return await impl.give_turn_feedback(turn_id, opinion)

    @router.get(
        "/v1alpha/transcripts/{turn_id}/feedback",
        responses=_errors(404, 503),
        summary="List the feedback on a turn.",
    )
    async def list_turn_feedback(turn_id: TurnId) -> FeedbackList:
        """Your feedback on one of your turns, oldest first."""
        return await impl.list_turn_feedback(turn_id)

    @router.post(
        "/v1/feedback", responses=_errors(403, 404, 422, 503), summary="Give feedback on an answer."
    )
    async def give_feedback(request: Annotated[FeedbackRequest, Body()]) -> FeedbackReceived:
        """Feedback on an answer of one of your conversations."""
        return await impl.give_feedback(request)

    @router.get("/v1/feedback/status", summary="Whether feedback is taken.")
    async def get_feedback_status() -> FeedbackStatus:
        """Whether feedback is taken."""
        return await impl.get_feedback_status()

    @router.put("/v1/feedback/status", responses=_errors(422), summary="Switch feedback on or off.")
    async def set_feedback_status(
        request: Annotated[FeedbackStatusRequest, Body()],
    ) -> FeedbackStatusChanged:
        """Switch feedback on or off until restart."""
        return await impl.set_feedback_status(request.status)

    return router


def _errors(*statuses: int) -> dict[int | str, dict[str, object]]:
    return {status: {"model": OpenAIErrorResponse} for status in statuses}
