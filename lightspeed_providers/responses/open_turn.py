"""A turn while it is going on: what is known so far, closed once into a record."""

import asyncio
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.core.turns import Attachment, Outcome, Turn
from lightspeed_providers.core.verdicts import (
    Action,
    Context,
    ScreenedStream,
    ShieldRunner,
    Verdict,
)
from lightspeed_providers.responses.budget import Budget
from lightspeed_providers.responses.citations import ReferencedDocument, referenced_documents
from lightspeed_providers.responses.grounding import Grounding, Searches
from lightspeed_providers.responses.profiles.config import ProfileConfig
from lightspeed_providers.responses.prompts import Prompting, sha256_of
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
    prompting: Prompting = field(default_factory=Prompting)
    other_refusals: frozenset[str] = frozenset()
    """What profiles let a blocked turn be answered with, beside the shields' own refusals."""
    provider_requested: str | None = None
    provider: str | None = None
    conversation_id: str | None = None
    previous_response_id: str | None = None
    response_id: str | None = None
    retrieves: bool = False
    in_background: bool = False
    input_items: int = 1
    shields: ShieldRunner | None = None
    """The shields that hold for this turn, once they are known."""
    names_tools: bool = False
    """Whether the client said itself which tools may be called."""
    chosen_tools: frozenset[str] | None = None
    """Which of many tools are offered; empty: all; None: not chosen yet."""
    recorded: bool = False
    attachments: tuple[Attachment, ...] = ()
    grounding: Grounding = field(default_factory=Grounding)
    searches: Searches = field(default_factory=Searches)
    searched_indexes: list[str] = field(default_factory=list)
    """Vector stores that stand for the documentation, where the model may search it."""
    budget: Budget = field(default_factory=Budget)
    truncated: bool = False
    """Whether passages were left out because the model can't read so much."""
    gave_up: bool = False
    """Whether the model gave no answer within its budget, and was answered for."""
    tools: ToolUse = field(default_factory=ToolUse)
    verdicts: list[Verdict] = field(default_factory=list)
    refusal: str | None = None
    refused_by: Verdict | None = None
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
    shields_until: float = math.inf
    """The event loop's time by which the shields must be done with what the client sent."""
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
        try:
            verdicts = await asyncio.shield(late)
        except LightspeedError:  # too late: told once
            self.late_verdicts = None
            raise
        if self.late_verdicts is late:
            self.late_verdicts = None
            self.judged(tuple(verdicts))

    def judged_streams(self) -> None:
        """Note whether a stream was blocked: its other verdicts are read when the turn closes."""
        for stream in self.streams:
            if self.refusal is None and stream.blocked_by is not None:
                self.refusal = self._refusal_by(stream.blocked_by)

    def judged(self, verdicts: tuple[Verdict, ...]) -> None:
        """Note verdicts; the first block makes the turn a refusal."""
        self.verdicts.extend(verdicts)
        if self.refusal is None:
            self.refusal = next(
                (self._refusal_by(v) for v in verdicts if v.action is Action.BLOCK and v.message),
                None,
            )

    def _refusal_by(self, verdict: Verdict) -> str | None:
        """Note who blocked, and return what is told: the profile's words before the shield's."""
        self.refused_by = verdict
        return self.rules.refusal_of(verdict.shield) or verdict.message

    def used(self, usage: Any) -> None:  # Any: the host's usage
        """Add what a model call has cost."""
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
        """What the answer cites; a refusal cites nothing, and neither does who gave up."""
        no_answer = self.refusal is not None or self.gave_up
        return () if no_answer else referenced_documents(self.grounding.given)

    @property
    def marks(self) -> dict[str, str]:
        """What a program may read about the outcome, in the response's metadata."""
        if self.refusal is None:
            return {"truncated": "true"} if self.truncated else {}
        marks = {"outcome": Outcome.REFUSED.value}
        if self.refused_by is not None:
            marks["refused_by"] = self.refused_by.shield
            if self.refused_by.error is not None:
                marks["refused_because"] = "check_failed"
        return marks

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
            passages=self.grounding.given,
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
