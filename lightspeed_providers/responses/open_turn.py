"""A turn while it is going on: what is known so far, closed once into a record."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.core.turns import Attachment, Outcome, Passage, Turn
from lightspeed_providers.core.verdicts import Action, Context, ScreenedStream, Verdict
from lightspeed_providers.responses.citations import ReferencedDocument, referenced_documents
from lightspeed_providers.responses.profiles.config import ProfileConfig
from lightspeed_providers.responses.prompts import sha256_of
from lightspeed_providers.responses.tool_use import ToolUse


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class OpenTurn:
    """What one question has become so far. One task at a time writes to it."""

    user_id: str
    rules: ProfileConfig
    prompt: str
    prompt_version: str
    model_requested: str
    model: str
    question: str
    streamed: bool
    provider_requested: str | None = None
    provider: str | None = None
    conversation_id: str | None = None
    previous_response_id: str | None = None
    response_id: str | None = None
    retrieves: bool = False
    in_background: bool = False
    input_items: int = 1
    recorded: bool = False
    attachments: tuple[Attachment, ...] = ()
    passages: tuple[Passage, ...] = ()
    tools: ToolUse = field(default_factory=ToolUse)
    verdicts: list[Verdict] = field(default_factory=list)
    refusal: str | None = None
    fault: LightspeedError | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    received_at: datetime = field(default_factory=_now)
    first_token_at: datetime | None = None
    turn_id: str = field(default_factory=lambda: f"turn_{uuid.uuid4().hex}")
    thread: str = ""
    history: tuple[str, ...] = ()
    streams: list[ScreenedStream] = field(default_factory=list)
    refusal_left: bool = False
    late_verdicts: asyncio.Task[Sequence[Verdict]] | None = None
    """What slow shields will say about the question; nothing leaves before."""
    _answer: list[str] = field(default_factory=list)

    @property
    def context(self) -> Context:
        """What shields may know beside a text of this turn."""
        return self.context_with(self.history)

    def context_with(self, history: tuple[str, ...]) -> Context:
        """The same where other questions came before."""
        return Context(
            history=history,
            thread=self.thread,
            instructions=self.prompt,
            reference=self.turn_id,
        )

    async def settled(self) -> None:
        """Wait for the slow shields' verdicts on the question and note them."""
        late = self.late_verdicts
        if late is None:
            return
        verdicts = await asyncio.shield(late)
        if self.late_verdicts is late:
            self.late_verdicts = None
            self.judged(tuple(verdicts))

    def judged_streams(self) -> None:
        """Note whether a stream was blocked: its other verdicts are read when the turn closes."""
        for stream in self.streams:
            if self.refusal is None and stream.blocked_by is not None:
                self.refusal = stream.blocked_by.message

    def judged(self, verdicts: tuple[Verdict, ...]) -> None:
        """Note verdicts; the first block makes the turn a refusal."""
        self.verdicts.extend(verdicts)
        if self.refusal is None:
            self.refusal = next(
                (v.message for v in verdicts if v.action is Action.BLOCK and v.message), None
            )

    def used(self, usage: Any) -> None:  # Any: the host's usage, or none
        """Add what a model call has cost."""
        if usage:
            self.input_tokens += usage.prompt_tokens
            self.output_tokens += usage.completion_tokens

    def released(self, text: str) -> None:
        """Note text that left for the client."""
        if self.first_token_at is None:
            self.first_token_at = _now()
        self._answer.append(text)

    @property
    def answer(self) -> str:
        """The text that has left so far."""
        return "".join(self._answer)

    @property
    def documents(self) -> tuple[ReferencedDocument, ...]:
        """What the answer cites; a refusal cites nothing."""
        return () if self.refusal is not None else referenced_documents(self.passages)

    def closed(self, outcome: Outcome, error: str | None = None) -> Turn:
        """Return the record of the turn."""
        return Turn(
            turn_id=self.turn_id,
            response_id=self.response_id,
            conversation_id=self.conversation_id,
            previous_response_id=self.previous_response_id,
            user_id=self.user_id,
            profile=self.rules.name,
            prompt_version=self.prompt_version,
            prompt_hash=sha256_of(self.prompt),
            model_requested=self.model_requested,
            provider_requested=self.provider_requested,
            model=self.model,
            provider=self.provider,
            question=self.question,
            answer=self.answer,
            attachments=self.attachments,
            passages=self.passages,
            tool_calls=self.tools.calls,
            tool_results=self.tools.results,
            verdicts=(*self.verdicts, *(v for s in self.streams for v in s.verdicts)),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            received_at=self.received_at,
            first_token_at=self.first_token_at,
            finished_at=_now(),
            outcome=Outcome.REFUSED if self.refusal is not None else outcome,
            error=error,
            streamed=self.streamed,
        )
