"""How long each phase of a turn may take: the `deadlines` part of a profile."""

import asyncio
from collections.abc import Awaitable, Callable

from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.errors import LightspeedError


class DeadlinesConfig(BaseModel):
    """Seconds that each phase of a turn may take; what is late ends with a message of its own."""

    model_config = ConfigDict(extra="forbid")

    shields_s: float = Field(
        default=60, gt=0, description="Seconds for all shields on what the client sent."
    )
    retrieval_s: float = Field(default=15, gt=0, description="Seconds for one search.")
    first_token_s: float = Field(
        default=120, gt=0, description="Seconds until a called model says its first word."
    )
    turn_s: float = Field(
        default=600, gt=0, description="Seconds for the whole turn, tools included."
    )

    def shields_late(self) -> "DeadlineError":
        """Return what is told where the shields take too long."""
        return DeadlineError(
            f"The shields were not done within {self.shields_s:g} s (`deadlines.shields_s`): send "
            "less, or try again later."
        )

    def retrieval_late(self) -> "DeadlineError":
        """Return what is told where the search takes too long."""
        return DeadlineError(
            f"The documentation was not searched within {self.retrieval_s:g} s "
            "(`deadlines.retrieval_s`): try again later."
        )

    def first_token_late(self, model: str) -> "DeadlineError":
        """Return what is told where a model says nothing."""
        return DeadlineError(
            f"Model '{model}' said nothing within {self.first_token_s:g} s "
            "(`deadlines.first_token_s`): try again later, or ask another model."
        )

    def turn_late(self) -> "DeadlineError":
        """Return what is told where the whole turn takes too long."""
        return DeadlineError(
            f"The answer was not finished within {self.turn_s:g} s (`deadlines.turn_s`): ask for "
            "less, or try again later."
        )


class DeadlineError(LightspeedError):
    """A phase of a turn took longer than the profile allows."""

    status_code = 504


def after(seconds: float) -> float:
    """Return the event loop's time in so many seconds."""
    return asyncio.get_running_loop().time() + seconds


async def within[T](awaited: Awaitable[T], until: float, late: Callable[[], DeadlineError]) -> T:
    """Return what is awaited; at this time of the event loop it is cancelled and `late` raised."""
    try:
        async with asyncio.timeout_at(until) as limit:
            return await awaited
    except TimeoutError:
        if limit.expired():
            raise late() from None
        raise
