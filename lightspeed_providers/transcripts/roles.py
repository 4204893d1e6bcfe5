"""Who may see and delete what, by the roles that the host authenticated."""

from collections.abc import Iterable
from dataclasses import dataclass

from lightspeed_providers.core.errors import ForbiddenError, NotFoundError
from lightspeed_providers.core.principals import ANONYMOUS, principal_of


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as a keyed hash, and what they may do beyond their own data."""

    user_hash: str
    reads_all: bool = False
    deletes_all: bool = False
    switches_feedback: bool = False

    @property
    def sees(self) -> str | None:
        """Whose single turns and conversations they see: their own, or None for everybody's."""
        return None if self.reads_all else self.user_hash

    @property
    def removes(self) -> str | None:
        """Whose data they remove by its id: their own, or None for everybody's."""
        return None if self.deletes_all else self.user_hash

    def lists(self, user: str | None, *, everyone: bool) -> str | None:
        """Whose data a list shows: their own, the named user's, or None for everybody's."""
        if user is None and not everyone:
            return self.user_hash
        if user == self.user_hash and not everyone:
            return user
        self.require_reading_all()
        return user

    def require_reading_all(self) -> None:
        """Refuse who has none of the roles that see everything."""
        if not self.reads_all:
            raise ForbiddenError(
                "Only a role of `reader_roles` or `admin_roles` sees other users' data: "
                "leave out `everyone` and `user` to see your own."
            )

    def require_removing(self, user_hash: str) -> None:
        """Refuse, without telling whether there is such a user, who may not remove their data."""
        if user_hash != self.user_hash and not self.deletes_all:
            raise NotFoundError("No such user: DELETE /v1alpha/users/me/transcripts removes yours.")

    def require_switching_feedback(self) -> None:
        """Refuse who has none of the roles that administrate."""
        if not self.switches_feedback:
            raise ForbiddenError("Only a role of `admin_roles` may switch feedback on or off.")


class Roles:
    """The roles of the configuration; whoever administrates also reads."""

    def __init__(self, readers: Iterable[str], admins: Iterable[str]) -> None:
        self._admins = frozenset(admins)
        self._readers = frozenset(readers) | self._admins

    def caller(self, user: object, user_hash: str) -> Caller:
        """Return what the host's user object may do."""
        roles = roles_of(user)
        administrates = not roles.isdisjoint(self._admins)
        return Caller(
            user_hash,
            reads_all=not roles.isdisjoint(self._readers),
            deletes_all=administrates,
            switches_feedback=administrates or is_nobody(user),
        )


def roles_of(user: object) -> frozenset[str]:
    """Return the roles of the host's user object, none where it is something else.

    A client can put any JSON in the place of a user (the provider data header), never an object
    that has attributes.
    """
    attributes = getattr(user, "attributes", None)
    named = attributes.get("roles") if isinstance(attributes, dict) else None
    return frozenset(named) if isinstance(named, list | tuple | set) else frozenset()


def is_nobody(user: object) -> bool:
    """Whether the host authenticated nobody for this request."""
    return principal_of(user) == ANONYMOUS and not getattr(user, "attributes", None)
