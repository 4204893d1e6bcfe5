"""The routes of transcripts and feedback."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends
from fastapi.routing import APIRoute
from llama_stack_api.common.errors import OpenAIErrorResponse

from lightspeed_providers.core.error_route import answering

from . import parameters as given
from .api import Transcripts
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
    FeedbackStatusRequest,
    FeedbackSummary,
    Opinion,
    Removed,
    Transcript,
    TranscriptPage,
    TranscriptQuery,
)

_MEANINGS = {
    400: "A parameter breaks its rule, or the body is no JSON that can be read.",
    401: "The server authenticates, and nobody was.",
    403: "You may not do this, or feedback is switched off.",
    404: "There is none, or none of yours.",
    422: "The body breaks its rule.",
    503: "The store, or what keeps copies, does not answer; the same request works later.",
}


def create_router(impl: Transcripts) -> APIRouter:
    """A router over the implementation; Llama Stack also calls this without one, to list routes."""
    router = APIRouter(tags=["Transcripts"], route_class=answering(APIRoute, invalid_body=422))
    _add_transcripts(router, impl)
    _add_removals(router, impl)
    _add_turn_feedback(router, impl)
    _add_feedback(router, impl)
    _add_lightspeed_feedback(router, impl)
    return router


def _add_transcripts(router: APIRouter, impl: Transcripts) -> None:
    @router.get("/v1alpha/transcripts", responses=_errors(400, 403, 503), summary="List turns.")
    async def list_transcripts(
        limit: given.Limit = 20,
        after: given.After = None,
        conversation_id: given.OfConversation = None,
        response_id: given.OfResponse = None,
        profile: given.OfProfile = None,
        outcome: given.WithOutcome = None,
        shield: given.ByShield = None,
        model: given.OfModel = None,
        since: given.Since = None,
        until: given.Until = None,
        has_feedback: given.HasFeedback = None,
        text: given.WithText = None,
        user: given.OfUser = None,
        everyone: given.Everyone = False,
    ) -> TranscriptPage:
        """Your turns, newest first; a page stays right while turns arrive."""
        query = TranscriptQuery(
            conversation_id=conversation_id,
            response_id=response_id,
            profile=profile,
            outcome=outcome,
            shield=shield,
            model=model,
            since=since,
            until=until,
            has_feedback=has_feedback,
            text=text,
            user=user,
            everyone=everyone,
        )
        return await impl.list_transcripts(query, limit=limit, after=after)

    @router.get(
        "/v1alpha/transcripts/{turn_id}", responses=_errors(400, 404, 503), summary="Get a turn."
    )
    async def get_transcript(turn_id: given.TurnId) -> Transcript:
        """One of your turns; with a role that sees everything, anybody's."""
        return await impl.get_transcript(turn_id)

    @router.get(
        "/v1alpha/conversations/{conversation_id}/transcripts",
        responses=_errors(400, 404, 503),
        summary="Read a conversation.",
    )
    async def list_conversation(
        conversation_id: given.ConversationId, limit: given.Limit = 20, after: given.After = None
    ) -> ConversationPage:
        """The turns of one of your conversations, oldest first."""
        return await impl.list_conversation(conversation_id, limit=limit, after=after)


def _add_removals(router: APIRouter, impl: Transcripts) -> None:
    @router.delete(
        "/v1alpha/transcripts/{turn_id}",
        responses=_errors(400, 404, 503),
        summary="Delete a turn.",
    )
    async def delete_transcript(turn_id: given.TurnId) -> Removed:
        """Remove one of your turns everywhere: record, feedback, response, items, and files."""
        return await impl.delete_transcript(turn_id)

    @router.delete(
        "/v1alpha/conversations/{conversation_id}/transcripts",
        responses=_errors(400, 404, 503),
        summary="Delete a conversation.",
    )
    async def delete_conversation(conversation_id: given.ConversationId) -> Removed:
        """Remove one of your conversations everywhere, with its turns and feedback."""
        return await impl.delete_conversation(conversation_id)

    @router.delete(
        "/v1alpha/users/me/transcripts", responses=_errors(503), summary="Delete all of yours."
    )
    async def delete_own() -> Removed:
        """Remove all your turns, conversations and feedback everywhere."""
        return await impl.delete_user()

    @router.delete(
        "/v1alpha/users/{user_hash}/transcripts",
        responses=_errors(400, 404, 503),
        summary="Delete all of a user.",
    )
    async def delete_user(user_hash: given.UserHash) -> Removed:
        """Remove all turns, conversations and feedback of a user; needs a role that deletes."""
        return await impl.delete_user(user_hash)

    @router.get(
        "/v1alpha/transcripts-audit",
        responses=_errors(400, 403, 503),
        summary="List what was removed.",
    )
    async def list_audit(limit: given.Limit = 20, after: given.After = None) -> AuditPage:
        """What was removed by whom, newest first; needs a role that sees everything."""
        return await impl.list_audit(limit=limit, after=after)


def _add_turn_feedback(router: APIRouter, impl: Transcripts) -> None:
    async def feedback_is_taken() -> None:
        await impl.require_feedback()

    @router.post(
        "/v1alpha/transcripts/{turn_id}/feedback",
        responses=_errors(400, 403, 404, 422, 503),
        summary="Give feedback on a turn.",
        dependencies=[Depends(feedback_is_taken)],  # said before the body is judged
    )
    async def give_turn_feedback(
        turn_id: given.TurnId, opinion: Annotated[Opinion, Body()]
    ) -> FeedbackReceived:
        """Feedback on one of your turns."""
        return await impl.give_turn_feedback(turn_id, opinion)

    @router.get(
        "/v1alpha/transcripts/{turn_id}/feedback",
        responses=_errors(400, 404, 503),
        summary="List the feedback on a turn.",
    )
    async def list_turn_feedback(turn_id: given.TurnId) -> FeedbackList:
        """The feedback on one of your turns, oldest first."""
        return await impl.list_turn_feedback(turn_id)


def _add_feedback(router: APIRouter, impl: Transcripts) -> None:
    @router.get("/v1alpha/feedback", responses=_errors(400, 403, 503), summary="List feedback.")
    async def list_feedback(
        limit: given.Limit = 20,
        after: given.After = None,
        conversation_id: given.OfConversation = None,
        turn_id: given.OfTurn = None,
        profile: given.OfProfile = None,
        prompt_version: given.OfPromptVersion = None,
        sentiment: given.WithSentiment = None,
        category: given.OfCategory = None,
        since: given.Since = None,
        until: given.Until = None,
        user: given.OfUser = None,
        everyone: given.Everyone = False,
    ) -> FeedbackPage:
        """Your feedback, newest first."""
        query = FeedbackQuery(
            conversation_id=conversation_id,
            turn_id=turn_id,
            profile=profile,
            prompt_version=prompt_version,
            sentiment=sentiment,
            category=category,
            since=since,
            until=until,
            user=user,
            everyone=everyone,
        )
        return await impl.list_feedback(query, limit=limit, after=after)

    @router.get(
        "/v1alpha/feedback/summary", responses=_errors(400, 403, 503), summary="Count feedback."
    )
    async def summarize_feedback(
        conversation_id: given.OfConversation = None,
        turn_id: given.OfTurn = None,
        profile: given.OfProfile = None,
        prompt_version: given.OfPromptVersion = None,
        sentiment: given.WithSentiment = None,
        category: given.OfCategory = None,
        since: given.Since = None,
        until: given.Until = None,
        user: given.OfUser = None,
        everyone: given.Everyone = False,
    ) -> FeedbackSummary:
        """Your feedback by sentiment, category, day, and version of the prompt."""
        query = FeedbackQuery(
            conversation_id=conversation_id,
            turn_id=turn_id,
            profile=profile,
            prompt_version=prompt_version,
            sentiment=sentiment,
            category=category,
            since=since,
            until=until,
            user=user,
            everyone=everyone,
        )
        return await impl.summarize_feedback(query)

    @router.delete(
        "/v1alpha/feedback/{feedback_id}",
        responses=_errors(400, 404, 503),
        summary="Delete feedback.",
    )
    async def delete_feedback(feedback_id: given.FeedbackId) -> Removed:
        """Remove one piece of your feedback everywhere."""
        return await impl.delete_feedback(feedback_id)


def _add_lightspeed_feedback(router: APIRouter, impl: Transcripts) -> None:
    async def feedback_is_taken() -> None:
        await impl.require_feedback()

    @router.post(
        "/v1/feedback",
        responses=_errors(400, 403, 404, 422, 503),
        summary="Give feedback on an answer.",
        dependencies=[Depends(feedback_is_taken)],  # said before the body is judged
    )
    async def give_feedback(request: Annotated[FeedbackRequest, Body()]) -> FeedbackReceived:
        """Feedback on an answer of one of your conversations."""
        return await impl.give_feedback(request)

    @router.get("/v1/feedback/status", responses=_errors(), summary="Whether feedback is taken.")
    async def get_feedback_status() -> FeedbackStatus:
        """Whether feedback is taken."""
        return await impl.get_feedback_status()

    @router.put(
        "/v1/feedback/status",
        responses=_errors(400, 403, 422),
        summary="Switch feedback on or off.",
    )
    async def set_feedback_status(
        request: Annotated[FeedbackStatusRequest, Body()],
    ) -> FeedbackStatusChanged:
        """Switch feedback on or off until restart; needs a role that administrates."""
        return await impl.set_feedback_status(request.status)


def _errors(*statuses: int) -> dict[int | str, dict[str, object]]:
    return {
        status: {"model": OpenAIErrorResponse, "description": _MEANINGS[status]}
        for status in (401, *statuses)
    }
