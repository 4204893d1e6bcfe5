"""The transcripts provider: records every turn and shows callers their own."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

from llama_stack.core.request_headers import get_authenticated_user
from llama_stack.core.storage.datatypes import SqliteSqlStoreConfig, SqlStoreReference
from llama_stack.core.storage.sqlstore.sqlalchemy_sqlstore import SqlAlchemySqlStoreImpl
from llama_stack.core.storage.sqlstore.sqlstore import sqlstore_impl
from llama_stack.log import get_logger
from sqlalchemy.ext.asyncio import AsyncEngine

from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
)
from lightspeed_providers.core.paths import state_dir
from lightspeed_providers.core.principals import principal_of
from lightspeed_providers.core.turns import Outcome, Turn

from . import metrics
from .api import Transcripts
from .config import Durability, LightspeedTranscriptsConfig
from .feedback import FeedbackDesk, full_conversation_id
from .models import (
    Feedback,
    FeedbackEnabled,
    FeedbackList,
    FeedbackReceived,
    FeedbackRequest,
    FeedbackStatus,
    FeedbackStatusChange,
    FeedbackStatusChanged,
    Opinion,
    Transcript,
    TranscriptPage,
)
from .storable import storable, storable_json
from .store import Position, TranscriptStore, TurnRow, microseconds
from .user_ids import UserIds, load_or_create_key
from .writer import BatchWriter

logger = get_logger(name=__name__, category="providers")

_POSITION = re.compile(r"(-?\d{1,18})\.(.{1,200})", re.DOTALL)


class LightspeedTranscriptsImpl(Transcripts):
    """Keeps turns and feedback in an SQL store; a user sees only what is theirs."""

    def __init__(self, config: LightspeedTranscriptsConfig) -> None:
        self._config = config
        self._closed = False

    async def initialize(self) -> None:
        """Check the configuration; the database is opened on first use."""
        config = self._config
        self._user_ids = UserIds(_key(config))
        self._store = TranscriptStore(
            lambda: _create_engine(config.store),
            _table_name(config.store),
            sync_commits=config.durability is Durability.STRICT,
        )
        self._writer = BatchWriter(
            self._store.insert_turns,
            max_queued=config.max_queued_turns,
            max_batch=config.max_batch_turns,
        )
        self._desk = FeedbackDesk(self._store, enabled=config.feedback_enabled)

    async def shutdown(self) -> None:
        """Write what is queued, for a bounded time, and close the database."""
        await self._writer.drain(self._config.drain_timeout_s)
        self._closed = True
        await self._store.close()
        logger.info(
            "Transcripts are closed", written=self._writer.written, dropped=self._writer.dropped
        )

    async def record(self, turn: Turn) -> None:
        """Take a finished turn. Never raises and never waits longer than `write_timeout_s`."""
        try:
            row = _turn_row(turn, self._user_ids)
        except Exception as error:  # recording must never fail the request that it records
            metrics.dropped.add(1, {"reason": "unreadable"})
            logger.error("A turn can't be recorded", error=type(error).__name__)
            return
        written = self._writer.put(row)
        if self._closed:
            await self.shutdown()  # the responses provider is shut down after this one
        elif written is not None and self._config.durability is Durability.STRICT:
            await self._commit(written)

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
        found = await self._store.page(
            self._caller(),
            limit=limit + 1,
            after=None if after is None else _position(after),
            conversation_id=conversation_id and full_conversation_id(conversation_id),
            response_id=response_id and storable(response_id),
            outcome=outcome and outcome.value,
        )
        shown, has_more = found[:limit], len(found) > limit
        return TranscriptPage(
            data=[Transcript.model_validate_json(record) for _, record in shown],
            has_more=has_more,
            next=_cursor(shown[-1][0]) if has_more else None,
        )

    async def get_transcript(self, turn_id: str) -> Transcript:
        """One of the caller's turns."""
        caller = self._caller()
        record = await self._store.record_of(caller, storable(turn_id))
        if record is None:  # it may still be on its way to the database
            await self._writer.settled(self._config.write_timeout_s)
            record = await self._store.record_of(caller, storable(turn_id))
        if record is None:
            raise NotFoundError(
                f"No turn '{storable(turn_id)}': GET /v1alpha/transcripts lists yours."
            )
        return Transcript.model_validate_json(record)

    async def give_turn_feedback(self, turn_id: str, opinion: Opinion) -> FeedbackReceived:
        """Store feedback on one of the caller's turns."""
        self._desk.require_enabled()
        turn = await self.get_transcript(turn_id)
        feedback_id = await self._desk.on_turn(turn, opinion, self._caller())
        return FeedbackReceived(feedback_id=feedback_id)

    async def list_turn_feedback(self, turn_id: str) -> FeedbackList:
        """The feedback on one of the caller's turns, oldest first."""
        turn = await self.get_transcript(turn_id)
        records = await self._store.feedback_on(self._caller(), turn.turn_id)
        return FeedbackList(data=[Feedback.model_validate_json(record) for record in records])

    async def give_feedback(self, request: FeedbackRequest) -> FeedbackReceived:
        """Store feedback on an answer of one of the caller's conversations."""
        self._desk.require_enabled()
        caller = self._caller()
        conversation_id = full_conversation_id(request.conversation_id)
        await self._writer.settled(self._config.write_timeout_s)
        await self._desk.require_own_conversation(conversation_id, caller)
        if request.turn_id is not None:
            turn = await self.get_transcript(request.turn_id)
            if turn.conversation_id != conversation_id:
                raise NotFoundError(
                    f"No turn '{turn.turn_id}' in conversation '{conversation_id}': "
                    "name a turn of that conversation, or none."
                )
        feedback_id = await self._desk.on_conversation(request, conversation_id, caller)
        return FeedbackReceived(feedback_id=feedback_id)

    async def get_feedback_status(self) -> FeedbackStatus:
        """Whether feedback is taken."""
        return FeedbackStatus(status=FeedbackEnabled(enabled=self._desk.enabled))

    async def set_feedback_status(self, enabled: bool) -> FeedbackStatusChanged:
        """Switch feedback on or off until restart."""
        previous, self._desk.enabled = self._desk.enabled, enabled
        caller = self._caller()
        logger.info("Feedback is switched", enabled=enabled, by=caller)
        return FeedbackStatusChanged(
            status=FeedbackStatusChange(
                previous_status=previous,
                updated_status=enabled,
                updated_by=caller,
                timestamp=datetime.now(UTC),
            )
        )

    def _caller(self) -> str:
        return self._user_ids.hash(principal_of(get_authenticated_user()))

    async def _commit(self, written: asyncio.Future[bool]) -> None:
        await asyncio.wait((written,), timeout=self._config.write_timeout_s)
        if not written.done():
            metrics.late.add(1)
            logger.warning(
                "A turn waits for the database longer than its request may",
                write_timeout_s=self._config.write_timeout_s,
            )


def _turn_row(turn: Turn, user_ids: UserIds) -> TurnRow:
    user_hash = user_ids.hash(turn.user_id)
    return TurnRow(
        turn_id=storable(turn.turn_id),
        received_us=microseconds(turn.received_at),
        user_hash=user_hash,
        conversation_id=turn.conversation_id and storable(turn.conversation_id),
        response_id=turn.response_id and storable(turn.response_id),
        outcome=turn.outcome.value,
        model=turn.model and storable(turn.model),
        record=storable_json(turn.model_copy(update={"user_id": user_hash})),
    )


def _cursor(position: Position) -> str:
    return f"{position.received_us}.{position.turn_id}"


def _position(cursor: str) -> Position:
    match = _POSITION.fullmatch(storable(cursor))
    if match is None:
        raise InvalidRequestError("`after` is not a cursor: give the `next` of an earlier page.")
    return Position(int(match[1]), match[2])


def _key(config: LightspeedTranscriptsConfig) -> bytes:
    if config.user_id_secret is not None:
        return config.user_id_secret.get_secret_value().encode()
    return load_or_create_key(state_dir() / "user_id.key")


def _table_name(reference: SqlStoreReference) -> str:
    name: str = reference.table_name
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]{0,39}", name):
        raise ConfigurationError(
            f"Table name '{name}' of the transcripts: "
            "use a letter and at most 39 letters, digits and underscores."
        )
    _host_store(reference)  # an unknown backend stops the start
    return name


def _host_store(reference: SqlStoreReference) -> SqlAlchemySqlStoreImpl:
    try:
        store = sqlstore_impl(reference)
    except ValueError as error:
        raise ConfigurationError(f"Failed to open the transcript store: {error}.") from error
    if not isinstance(store, SqlAlchemySqlStoreImpl):
        raise ConfigurationError(
            f"Backend '{reference.backend}' of the transcripts is not SQL: "
            "use one of type sql_sqlite or sql_postgres."
        )
    return store


def _create_engine(reference: SqlStoreReference) -> AsyncEngine:
    store = _host_store(reference)
    if isinstance(store.config, SqliteSqlStoreConfig):
        Path(store.config.db_path).expanduser().parent.mkdir(parents=True, exist_ok=True)
    engine: AsyncEngine = store.create_engine()
    return engine
