"""The transcripts provider: records every turn and shows callers their own."""

import asyncio
import contextlib
from datetime import UTC, datetime
from time import monotonic

from llama_stack.core.request_headers import get_authenticated_user
from llama_stack.log import get_logger

from lightspeed_providers.core.errors import NotFoundError
from lightspeed_providers.core.paths import state_dir
from lightspeed_providers.core.principals import principal_of
from lightspeed_providers.core.turns import Redact, Turn, TurnCopies

from . import metrics
from .api import Transcripts
from .config import Durability, LightspeedTranscriptsConfig
from .continuous_export import ContinuousExport
from .feedback import FeedbackDesk, full_conversation_id
from .feedback_summary import summary_of
from .forgetting import Forgetting
from .models import (
    AuditPage,
    ConversationPage,
    Feedback,
    FeedbackEnabled,
    FeedbackList,
    FeedbackPage,
    FeedbackQuery,
    FeedbackReceived,
    FeedbackRequest,
    FeedbackStatus,
    FeedbackStatusChange,
    FeedbackStatusChanged,
    FeedbackSummary,
    Opinion,
    Removed,
    Transcript,
    TranscriptPage,
    TranscriptQuery,
)
from .opening import create_engine, spill_of, table_name_of
from .periodic import Periodic
from .questions import (
    clean,
    feedback_filter,
    page_of,
    position_of,
    shown_audit,
    turn_filter,
)
from .recording import turn_row
from .retention import Retention
from .roles import Caller, Roles
from .rows import FeedbackFilter, Kind, TurnFilter, TurnRow
from .storable import in_one_line, storable
from .store import TranscriptStore
from .user_ids import UserIds, load_or_create_key
from .writer import BatchWriter

logger = get_logger(name=__name__, category="providers")

SHUTDOWN_S = 4.5
"""Llama Stack allows 5 seconds."""

LATE_S = 1.0
"""How long a turn that ends after the shutdown may take to be written."""

LINGER_S = 0.1
"""How long a turn waits for others to be written with; a transaction costs more than a turn."""

TIDY_FOR_S = 2.0
"""How long one look may take words of removed turns out of the index."""

MOST_ON_A_TURN = 1000

SEEN_WITHIN_S = 0.25
"""How long a list's first page waits for turns that were just answered to be in it."""


class LightspeedTranscriptsImpl(Transcripts):
    """Keeps turns and feedback in an SQL store; a user sees only what is theirs."""

    def __init__(self, config: LightspeedTranscriptsConfig) -> None:
        self._config = config
        self._closed = False
        self._copies: TurnCopies | None = None

    async def initialize(self) -> None:
        """Check the configuration and the schema; the database is opened for good on first use."""
        config = self._config
        self._user_ids = UserIds(_key(config))
        self._roles = Roles(config.reader_roles, config.admin_roles)
        name = table_name_of(config.store)
        self._store = TranscriptStore(
            lambda: create_engine(config.store),
            name,
            sync_commits=config.durability is Durability.STRICT,
        )
        await self._store.check_version()
        self._writer: BatchWriter[TurnRow] = BatchWriter(
            self._store.insert_turns,
            max_queued=config.max_queued_turns,
            max_batch=config.max_batch_turns,
            spill=spill_of(config.store),
            linger_s=0.0 if config.durability is Durability.STRICT else LINGER_S,
        )
        self._desk = FeedbackDesk(self._store, enabled=config.feedback_enabled)
        self._export = ContinuousExport(
            self._store,
            {Kind.TURN: config.transcripts_storage, Kind.FEEDBACK: config.feedback_storage},
        )
        self._export.check()
        self._forgetting = Forgetting(self._store, remove_files=self._export.finish)
        self._retention = Retention(
            self._store,
            self._forgetting,
            turns=config.retention.turns,
            feedback=config.retention.feedback,
        )
        self._periodic: list[Periodic] = []
        if self._export.is_needed:
            self._periodic.append(Periodic(self._export.keep_up, config.export_interval_s))
        if self._retention.is_needed:
            self._periodic.append(Periodic(self._retention.look, config.retention.interval_s))
        self._periodic.append(Periodic(self._tidy, config.retention.interval_s))
        if not config.transcripts_enabled:
            logger.warning("Turns are not recorded: transcripts_enabled is false")

    async def shutdown(self) -> None:
        """Write what is queued and export it, for a bounded time, and close the database."""
        until = monotonic() + SHUTDOWN_S
        self._closed = True
        for periodic in self._periodic:
            await periodic.stop(0.2)
        await self._writer.drain(self._config.drain_timeout_s)
        with contextlib.suppress(Exception):  # the next start exports the rest
            async with asyncio.timeout(until - monotonic()):
                await self._export.keep_up()
        await self._store.close()
        logger.info(
            "Transcripts are closed", written=self._writer.written, dropped=self._writer.dropped
        )

    def copies_are_kept_by(self, copies: TurnCopies) -> None:
        """Name who else keeps texts of turns, so that deleting a turn deletes them there too."""
        self._copies = copies
        self._forgetting.copies = copies

    def texts_are_redacted_by(self, redact: Redact) -> None:
        """Name who redacts what users write about a turn, so that it is kept as the turn is."""
        self._desk.redact = redact

    async def record(self, turn: Turn) -> None:
        """Take a finished turn. Never raises and never waits longer than a bounded time."""
        if not self._config.transcripts_enabled:
            return
        try:
            row = turn_row(turn, self._user_ids.hash(turn.user_id))
            self._touch()
            if self._config.durability is Durability.STRICT:
                await self._record_durably(row)
            else:
                self._writer.put(row)
        except Exception as error:  # recording must never fail the request that it records
            metrics.dropped.add(1, {"reason": "unreadable"})
            logger.error("A turn can't be recorded", error=type(error).__name__)
            return
        if self._closed:  # the responses provider is shut down after this one
            await self._writer.drain(LATE_S)
            await self._store.close()

    async def list_transcripts(
        self, query: TranscriptQuery, *, limit: int = 20, after: str | None = None
    ) -> TranscriptPage:
        """A page of turns, newest first."""
        user = self._caller().lists(clean(query.user), everyone=query.everyone)
        if after is None:
            await self._writer.settled(SEEN_WITHIN_S)
        found = await self._store.turns(
            turn_filter(query, user), limit=limit + 1, before=position_of(after)
        )
        return page_of(TranscriptPage, Transcript, found, limit)

    async def get_transcript(self, turn_id: str) -> Transcript:
        """One turn."""
        return await self._turn(turn_id, self._caller().sees)

    async def delete_transcript(self, turn_id: str) -> Removed:
        """Remove one turn with every copy of it."""
        caller = self._caller()
        await self._settled()
        return await self._forgetting.turn(
            storable(turn_id), owner=caller.removes, actor=caller.user_hash
        )

    async def list_conversation(
        self, conversation_id: str, *, limit: int = 20, after: str | None = None
    ) -> ConversationPage:
        """A page of a conversation's turns, oldest first."""
        which = TurnFilter(
            user_hash=self._caller().sees, conversation_id=full_conversation_id(conversation_id)
        )
        await self._writer.settled(SEEN_WITHIN_S)
        found = await self._store.conversation(which, limit=limit + 1, after=position_of(after))
        if not found:
            raise NotFoundError(
                f"No turns of conversation '{in_one_line(conversation_id)}': "
                "GET /v1alpha/transcripts lists your turns with theirs."
            )
        return page_of(ConversationPage, Transcript, found, limit)

    async def delete_conversation(self, conversation_id: str) -> Removed:
        """Remove a conversation with every copy of it."""
        caller = self._caller()
        await self._settled()
        return await self._forgetting.conversation(
            full_conversation_id(conversation_id), owner=caller.removes, actor=caller.user_hash
        )

    async def delete_user(self, user_hash: str | None = None) -> Removed:
        """Remove all of a user, of the caller where none is named."""
        caller = self._caller()
        named = caller.user_hash if user_hash is None else storable(user_hash)
        caller.require_removing(named)
        await self._settled()
        return await self._forgetting.user(named, actor=caller.user_hash)

    async def list_audit(self, *, limit: int = 20, after: str | None = None) -> AuditPage:
        """A page of what was removed, newest first."""
        self._caller().require_reading_all()
        found = await self._store.audit(limit=limit + 1, before=position_of(after))
        return AuditPage(
            data=[shown_audit(row) for _, row in found[:limit]],
            has_more=len(found) > limit,
            next=str(found[limit - 1][0]) if len(found) > limit else None,
        )

    async def give_turn_feedback(self, turn_id: str, opinion: Opinion) -> FeedbackReceived:
        """Store feedback on one of the caller's turns."""
        self._desk.require_enabled()
        caller = self._caller()
        turn = await self._turn(turn_id, caller.user_hash)
        feedback_id = await self._desk.on_turn(turn, opinion, caller.user_hash)
        return FeedbackReceived(feedback_id=feedback_id)

    async def list_turn_feedback(self, turn_id: str) -> FeedbackList:
        """The feedback on one turn, oldest first."""
        owner = self._caller().sees
        turn = await self._turn(turn_id, owner)
        found = await self._store.feedback(
            FeedbackFilter(user_hash=owner, turn_id=turn.turn_id), limit=MOST_ON_A_TURN
        )
        return FeedbackList(
            data=[Feedback.model_validate_json(each.record) for each in reversed(found)]
        )

    async def give_feedback(self, request: FeedbackRequest) -> FeedbackReceived:
        """Store feedback on an answer of one of the caller's conversations."""
        self._desk.require_enabled()
        caller = self._caller()
        conversation_id = full_conversation_id(request.conversation_id)
        await self._settled()
        await self._desk.require_own_conversation(
            conversation_id,
            caller.user_hash,
            unrecorded=None if self._config.transcripts_enabled else self._copies,
        )
        if request.turn_id is not None:
            turn = await self._turn(request.turn_id, caller.user_hash)
            if turn.conversation_id != conversation_id:
                raise NotFoundError(
                    f"No turn '{in_one_line(turn.turn_id)}' in conversation "
                    f"'{in_one_line(conversation_id)}': name a turn of that conversation, or none."
                )
        feedback_id = await self._desk.on_conversation(request, conversation_id, caller.user_hash)
        return FeedbackReceived(feedback_id=feedback_id)

    async def list_feedback(
        self, query: FeedbackQuery, *, limit: int = 20, after: str | None = None
    ) -> FeedbackPage:
        """A page of feedback, newest first."""
        user = self._caller().lists(clean(query.user), everyone=query.everyone)
        found = await self._store.feedback(
            feedback_filter(query, user), limit=limit + 1, before=position_of(after)
        )
        return page_of(FeedbackPage, Feedback, found, limit)

    async def summarize_feedback(self, query: FeedbackQuery) -> FeedbackSummary:
        """Feedback in numbers."""
        user = self._caller().lists(clean(query.user), everyone=query.everyone)
        which = feedback_filter(query, user)
        counts = await self._store.feedback_counts(which)
        return summary_of(counts, await self._store.category_counts(which))

    async def delete_feedback(self, feedback_id: str) -> Removed:
        """Remove one piece of feedback."""
        caller = self._caller()
        return await self._forgetting.feedback(
            storable(feedback_id), owner=caller.removes, actor=caller.user_hash
        )

    async def require_feedback(self) -> None:
        """Refuse where feedback is switched off."""
        self._desk.require_enabled()

    async def get_feedback_status(self) -> FeedbackStatus:
        """Whether feedback is taken."""
        return FeedbackStatus(status=FeedbackEnabled(enabled=self._desk.enabled))

    async def set_feedback_status(self, enabled: bool) -> FeedbackStatusChanged:
        """Switch feedback on or off until restart."""
        caller = self._caller()
        caller.require_switching_feedback()
        previous, self._desk.enabled = self._desk.enabled, enabled
        logger.info("Feedback is switched", enabled=enabled, by=caller.user_hash)
        return FeedbackStatusChanged(
            status=FeedbackStatusChange(
                previous_status=previous,
                updated_status=enabled,
                updated_by=caller.user_hash,
                timestamp=datetime.now(UTC),
            )
        )

    def _caller(self) -> Caller:
        self._touch()
        user = get_authenticated_user()
        return self._roles.caller(user, self._user_ids.hash(principal_of(user)))

    def _touch(self) -> None:
        """Have what runs in the background run in this loop."""
        self._writer.touch()
        for periodic in self._periodic:
            periodic.touch()

    async def _turn(self, turn_id: str, owner: str | None) -> Transcript:
        record = await self._store.record_of(storable(turn_id), owner)
        if record is None:  # it may still be on its way to the database
            await self._settled()
            record = await self._store.record_of(storable(turn_id), owner)
        if record is None:
            raise NotFoundError(
                f"No turn '{in_one_line(turn_id)}': GET /v1alpha/transcripts lists yours."
            )
        return Transcript.model_validate_json(record)

    async def _tidy(self) -> None:
        await self._store.tidy(within_s=TIDY_FOR_S)

    async def _settled(self) -> None:
        await self._writer.settled(self._config.write_timeout_s)

    async def _record_durably(self, row: TurnRow) -> None:
        if not await self._writer.put_durably(row, self._config.write_timeout_s):
            metrics.late.add(1)
            logger.warning(
                "A turn waits for the database longer than its request may",
                write_timeout_s=self._config.write_timeout_s,
            )


def _key(config: LightspeedTranscriptsConfig) -> bytes:
    if config.user_id_secret is not None:
        return config.user_id_secret.get_secret_value().encode()
    return load_or_create_key(state_dir() / "user_id.key")
