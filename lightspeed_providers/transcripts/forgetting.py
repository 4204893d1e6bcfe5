"""Removing turns with every copy of them.

The order makes a removal repeatable: first the copies that responses and conversations keep, then
the record with its feedback in one transaction, then the exported files. What fails on the way
leaves the record, so that the same request finds it again.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from lightspeed_providers.core.errors import NotFoundError, UnavailableError
from lightspeed_providers.core.turns import TurnCopies

from .models import Feedback, Removed
from .rows import AuditRow, FeedbackFilter, Stored, TurnKey, microseconds
from .storable import in_one_line

PIECE = 200
"""How many turns are removed in one transaction, with one audit line."""

KEYS_AT_ONCE = 5000
"""How many turns' copies are removed before their records are."""

FAULTS_IN_A_PIECE = 3
"""After as many turns whose copies can't be removed, their keeper is taken to be away."""


class ForgettingStore(Protocol):
    """What a removal asks of the record."""

    async def keys(
        self,
        *,
        turn_id: str | None = None,
        conversation_id: str | None = None,
        user_hash: str | None = None,
        limit: int,
    ) -> Sequence[TurnKey]:
        """The turns that a removal is about."""
        ...

    async def later_in_chain(self, key: TurnKey) -> Sequence[str]:
        """The responses that may repeat texts of this turn."""
        ...

    async def remove(
        self,
        turn_ids: Sequence[str],
        *,
        feedback_of_user: str | None = None,
        feedback_of_conversation: str | None = None,
        audit: AuditRow | None,
    ) -> tuple[int, int]:
        """Remove turns and feedback with an audit line that has their true numbers."""
        ...

    async def feedback(
        self, which: FeedbackFilter, *, limit: int, before: int | None = None
    ) -> Sequence[Stored]:
        """Feedback, newest first."""
        ...

    async def feedback_record_of(self, feedback_id: str, user_hash: str | None) -> str | None:
        """The feedback, where it is the user's."""
        ...

    async def remove_feedback(self, feedback_ids: Sequence[str], audit: AuditRow | None) -> int:
        """Remove feedback with an audit line that has its true number."""
        ...


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of the copies of some turns."""

    gone: tuple[str, ...]
    """Ids of the turns that have no copy any more."""
    whole: frozenset[str]
    """Ids of the conversations of which no turn is left."""
    fault: Exception | None
    """Why the other turns still have theirs."""


class Forgetting:
    """Removes turns, conversations and users from everywhere.

    `owner` binds a removal to one user's data; None takes anybody's.
    """

    def __init__(
        self, store: ForgettingStore, *, remove_files: Callable[[], Awaitable[None]]
    ) -> None:
        self._store = store
        self._remove_files_of_removed = remove_files
        self._files_behind = False
        self.copies: TurnCopies | None = None

    async def turn(self, turn_id: str, *, owner: str | None, actor: str) -> Removed:
        """Remove one turn."""
        await self._catch_up_files()
        keys = await self._store.keys(turn_id=turn_id, user_hash=owner, limit=1)
        if not keys:
            raise NotFoundError(
                f"No turn '{in_one_line(turn_id)}': GET /v1alpha/transcripts lists yours."
            )
        await self._forget_all_copies(keys, conversations=False)
        removed = await self._store.remove(
            [turn_id], audit=audit_line(actor, "delete_turn", turn_id)
        )
        await self._remove_files()
        return Removed(turns=removed[0], feedback=removed[1])

    async def conversation(self, conversation_id: str, *, owner: str | None, actor: str) -> Removed:
        """Remove a conversation; where several users have turns in it, those of the owner."""
        await self._catch_up_files()
        line = audit_line(actor, "delete_conversation", conversation_id)
        turns, feedback = 0, 0
        while keys := await self._store.keys(
            conversation_id=conversation_id, user_hash=owner, limit=KEYS_AT_ONCE
        ):
            whole = await self._forget_all_copies(keys, conversations=True)
            for piece in _pieces(keys):
                removed = await self._store.remove(
                    piece,
                    feedback_of_conversation=conversation_id if conversation_id in whole else None,
                    audit=line,
                )
                turns, feedback = turns + removed[0], feedback + removed[1]
        about = FeedbackFilter(user_hash=owner, conversation_id=conversation_id)
        while found := await self._store.feedback(about, limit=PIECE):
            feedback += await self._store.remove_feedback(_ids_of(found), line)
        if not turns and not feedback:
            raise NotFoundError(
                f"No conversation '{in_one_line(conversation_id)}': "
                "GET /v1alpha/transcripts lists your turns with theirs."
            )
        await self._remove_files()
        return Removed(turns=turns, feedback=feedback)

    async def user(self, user_hash: str, *, actor: str) -> Removed:
        """Remove all of a user."""
        await self._catch_up_files()
        line = audit_line(actor, "delete_user", user_hash)
        turns, feedback, last = 0, 0, False
        while not last:
            keys = await self._store.keys(user_hash=user_hash, limit=KEYS_AT_ONCE)
            last = len(keys) < KEYS_AT_ONCE
            await self._forget_all_copies(keys, conversations=True)
            for piece in _pieces(keys) or [[]]:
                removed = await self._store.remove(
                    piece, feedback_of_user=user_hash if last else None, audit=line
                )
                turns, feedback = turns + removed[0], feedback + removed[1]
        await self._remove_files()
        return Removed(turns=turns, feedback=feedback)

    async def feedback(self, feedback_id: str, *, owner: str | None, actor: str) -> Removed:
        """Remove one piece of feedback."""
        await self._catch_up_files()
        if await self._store.feedback_record_of(feedback_id, owner) is None:
            raise NotFoundError(
                f"No feedback '{in_one_line(feedback_id)}': GET /v1alpha/feedback lists yours."
            )
        line = audit_line(actor, "delete_feedback", feedback_id)
        removed = await self._store.remove_feedback([feedback_id], line)
        await self._remove_files()
        return Removed(turns=0, feedback=removed)

    async def forget_copies(self, keys: Sequence[TurnKey], *, conversations: bool) -> Forgotten:
        """Remove what responses and conversations keep of these turns.

        With `conversations`, one of which no turn is left goes as a whole.
        """
        whole = await self._whole_conversations(keys) if conversations else frozenset[str]()
        going = frozenset(key.response_id for key in keys)
        gone: list[str] = []
        faults: list[Exception] = []
        for group in _grouped(keys, whole):
            try:
                if self.copies is not None:
                    await self._forget(self.copies, group, going, whole)
            except Exception as error:  # whatever the keeper's fault is, the record stays
                faults.append(error)
                if len(faults) >= FAULTS_IN_A_PIECE:
                    break
            else:
                gone += [key.turn_id for key in group]
        return Forgotten(tuple(gone), whole, faults[0] if faults else None)

    async def _forget(
        self,
        copies: TurnCopies,
        group: Sequence[TurnKey],
        responses_going: frozenset[str | None],
        whole: frozenset[str],
    ) -> None:
        """Remove the copies of one turn, or of all turns of a conversation."""
        conversation_id = group[0].conversation_id
        # Whatever follows a turn of a conversation also follows the oldest, which stands first.
        follow = await self._following(group[0], responses_going)
        if follow or conversation_id not in whole:
            for key in group:
                if key.response_id is not None:
                    await copies.forget_turn(key.response_id, conversation_id, follow)
        if conversation_id is not None and conversation_id in whole:
            responses = [key.response_id for key in group if key.response_id is not None]
            await copies.forget_conversation(conversation_id, responses)

    async def _following(self, key: TurnKey, going: frozenset[str | None]) -> list[str]:
        """The responses that may repeat texts of a turn, and stay."""
        later = await self._store.later_in_chain(key)
        return [each for each in later if each not in going]

    async def _whole_conversations(self, keys: Sequence[TurnKey]) -> frozenset[str]:
        """The conversations all of whose turns, anybody's, are among these."""
        going = {key.turn_id for key in keys}
        named = {key.conversation_id for key in keys if key.conversation_id is not None}
        whole: set[str] = set()
        for conversation_id in named:
            turns = await self._store.keys(conversation_id=conversation_id, limit=len(going) + 1)
            if going.issuperset(key.turn_id for key in turns):
                whole.add(conversation_id)
        return frozenset(whole)

    async def _forget_all_copies(
        self, keys: Sequence[TurnKey], *, conversations: bool
    ) -> frozenset[str]:
        """Remove all copies, or say that they can't be; return the conversations that are gone."""
        forgotten = await self.forget_copies(keys, conversations=conversations)
        if forgotten.fault is not None:
            raise UnavailableError(
                "Failed to remove copies from responses and conversations "
                f"({type(forgotten.fault).__name__}): the record is kept until they are gone, "
                "try again."
            ) from forgotten.fault
        return forgotten.whole

    async def _remove_files(self) -> None:
        """Have exported files of what was removed go too, or say that they are still there."""
        try:
            await self._remove_files_of_removed()
        except Exception as error:
            self._files_behind = True
            raise UnavailableError(
                "Removed from the record, but not yet from the exported files "
                f"({type(error).__name__}): they go with the next export that can write there."
            ) from error
        self._files_behind = False

    async def _catch_up_files(self) -> None:
        """Refuse a removal while files of an earlier one are still there."""
        if self._files_behind:
            await self._remove_files()


def audit_line(actor: str, action: str, subject: str) -> AuditRow:
    """Return a line whose numbers the store fills in."""
    return AuditRow(
        at_us=microseconds(datetime.now(UTC)),
        actor=actor,
        action=action,
        subject=subject,
        turns=0,
        feedback=0,
    )


def _pieces(keys: Sequence[TurnKey]) -> list[list[str]]:
    ids = [key.turn_id for key in keys]
    return [ids[start : start + PIECE] for start in range(0, len(ids), PIECE)]


def _ids_of(feedback: Iterable[Stored]) -> list[str]:
    return [Feedback.model_validate_json(each.record).feedback_id for each in feedback]


def _grouped(keys: Iterable[TurnKey], whole: frozenset[str]) -> list[list[TurnKey]]:
    """Each turn by itself, but the turns of a whole conversation together."""
    together: dict[str, list[TurnKey]] = {}
    groups: list[list[TurnKey]] = []
    for key in keys:
        if key.conversation_id is None or key.conversation_id not in whole:
            groups.append([key])
        elif key.conversation_id in together:
            together[key.conversation_id].append(key)
        else:
            groups.append(together.setdefault(key.conversation_id, [key]))
    return groups
