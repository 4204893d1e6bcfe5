"""The readiness API and what it answers."""

from typing import Literal, Protocol, runtime_checkable

from pydantic import BaseModel, Field

from lightspeed_providers.core.readiness import Component
from lightspeed_providers.core.start_checks import StartCheck


class ReadinessStatus(BaseModel):
    """Whether a first answer would succeed."""

    ready: bool
    reason: str = Field(description="One line on what is missing.")
    providers: list[str] = Field(description="Names of the parts that are not ready.")
    components: list[Component] = Field(description="Every part, and where a model runs.")


class LivenessStatus(BaseModel):
    """Says that the process answers."""

    alive: Literal[True] = True


@runtime_checkable
class Readiness(Protocol):
    """Whether this server can answer yet."""

    @property
    def start_checks(self) -> list[StartCheck]:
        """What is checked when this server starts."""
        ...

    async def readiness(self) -> ReadinessStatus:
        """Whether every part that a first answer waits for is loaded."""
        ...

    async def liveness(self) -> LivenessStatus:
        """That the process answers."""
        ...
