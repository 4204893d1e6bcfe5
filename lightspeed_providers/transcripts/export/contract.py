"""A turn and feedback as the files that Lightspeed's exporters read.

What the contract does not know follows under `lightspeed`.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError, field_serializer

from lightspeed_providers.core.turns import (
    Attachment,
    Outcome,
    Passage,
    ToolCall,
    ToolResult,
)
from lightspeed_providers.core.verdicts import Action, Direction, Verdict
from lightspeed_providers.transcripts.models import Category, Feedback, Transcript


class UnreadableRecordError(Exception):
    """A record is not what this version stores, so that it has no place in this format."""


class Metadata(BaseModel):
    """Who asked what, where and when."""

    provider: str | None
    model: str | None
    query_provider: str | None
    query_model: str | None
    user_id: str
    conversation_id: str | None
    timestamp: datetime

    @field_serializer("timestamp")
    def _with_offset(self, moment: datetime) -> str:
        return moment.isoformat()  # older readers don't know the Z that Pydantic writes


class RagChunk(BaseModel):
    """A passage that the answer was made from."""

    content: str
    source: str
    score: float
    attributes: dict[str, Any]  # Any: texts and numbers, by name


class TurnDetails(BaseModel):
    """What the contract has no place for."""

    turn_id: str
    response_id: str | None
    previous_response_id: str | None
    outcome: Outcome
    error: str | None
    profile: str
    prompt_version: str
    prompt_hash: str
    verdicts: tuple[Verdict, ...]
    input_tokens: int
    output_tokens: int
    received_at: datetime
    first_token_at: datetime | None
    finished_at: datetime
    streamed: bool


class TurnFile(BaseModel):
    """One turn."""

    metadata: Metadata
    redacted_query: str
    query_is_valid: bool
    llm_response: str
    rag_chunks: list[RagChunk]
    truncated: bool
    attachments: tuple[Attachment, ...]
    tool_calls: tuple[ToolCall, ...]
    tool_results: tuple[ToolResult, ...]
    lightspeed: TurnDetails


class FeedbackDetails(BaseModel):
    """What the contract has no place for."""

    feedback_id: str
    turn_id: str | None
    profile: str | None
    prompt_version: str | None


class FeedbackFile(BaseModel):
    """One piece of feedback."""

    user_id: str
    timestamp: datetime
    conversation_id: str | None
    user_question: str
    llm_response: str
    sentiment: int | None
    user_feedback: str | None
    categories: list[Category] | None
    lightspeed: FeedbackDetails

    @field_serializer("timestamp")
    def _with_offset(self, moment: datetime) -> str:
        return moment.isoformat()


def read_turn(record: str) -> Transcript:
    """The turn that a record holds."""
    return _read(Transcript, record)


def read_feedback(record: str) -> Feedback:
    """The feedback that a record holds."""
    return _read(Feedback, record)


def turn_file(turn: Transcript) -> TurnFile:
    """The turn as the contract has it."""
    return TurnFile(
        metadata=Metadata(
            provider=turn.provider,
            model=_bare(turn.model, turn.provider),
            query_provider=turn.provider_requested,
            query_model=_bare(turn.model_requested, turn.provider_requested),
            user_id=turn.user_id,
            conversation_id=turn.conversation_id,
            timestamp=turn.received_at,
        ),
        redacted_query=turn.question,
        query_is_valid=not any(
            verdict.direction is Direction.INPUT and verdict.action is Action.BLOCK
            for verdict in turn.verdicts
        ),
        llm_response=turn.answer,
        rag_chunks=[_rag_chunk(passage) for passage in turn.passages],
        truncated=turn.outcome is Outcome.TRUNCATED,
        attachments=turn.attachments,
        tool_calls=turn.tool_calls,
        tool_results=turn.tool_results,
        lightspeed=TurnDetails.model_construct(
            **{name: getattr(turn, name) for name in TurnDetails.model_fields}
        ),
    )


def feedback_file(feedback: Feedback) -> FeedbackFile:
    """The feedback as the contract has it."""
    return FeedbackFile(
        user_id=feedback.user_id,
        timestamp=feedback.created_at,
        conversation_id=feedback.conversation_id,
        user_question=feedback.user_question,
        llm_response=feedback.llm_response,
        sentiment=feedback.sentiment,
        user_feedback=feedback.user_feedback,
        categories=feedback.categories,
        lightspeed=FeedbackDetails(
            feedback_id=feedback.feedback_id,
            turn_id=feedback.turn_id,
            profile=feedback.profile,
            prompt_version=feedback.prompt_version,
        ),
    )


def _rag_chunk(passage: Passage) -> RagChunk:
    known = passage.model_dump(
        include={"doc_url", "title", "document_id", "passage_id"}
        | {"product", "version", "language", "source_file"}
    )
    return RagChunk(
        content=passage.content,
        source=passage.source,
        score=passage.score,
        attributes={
            **passage.attributes,
            **{name: value for name, value in known.items() if value},
            **({"headings": " > ".join(passage.heading_path)} if passage.heading_path else {}),
        },
    )


def _bare(model: str | None, provider: str | None) -> str | None:
    return model.removeprefix(f"{provider}/") if model and provider else model


def _read[M: BaseModel](kind: type[M], record: str) -> M:
    try:
        return kind.model_validate_json(record)
    except ValidationError as error:
        # Pydantic's own text would carry what users wrote into the log.
        raise UnreadableRecordError(kind.__name__) from error
