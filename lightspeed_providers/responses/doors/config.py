"""What stands before the models for who does not come through the Responses API."""

from enum import StrEnum


class SideDoors(StrEnum):
    """Whether chat completions and text completions are answered."""

    GUARDED = "guarded"
    """Answered, through the shields of the default profile."""
    CLOSED = "closed"
    """Answered 403."""
