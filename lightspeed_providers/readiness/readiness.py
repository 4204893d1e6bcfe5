"""The readiness provider: reads the board that every room reports to."""

from functools import cached_property

from lightspeed_providers.core.readiness import Component, board
from lightspeed_providers.core.start_checks import StartCheck, take_start_checks

from .api import LivenessStatus, Readiness, ReadinessStatus


class LightspeedReadinessImpl(Readiness):
    """Tells what the process still waits for."""

    @cached_property
    def start_checks(self) -> list[StartCheck]:
        """What is checked when this server starts."""
        return take_start_checks()

    async def readiness(self) -> ReadinessStatus:
        """Whether every part that a first answer waits for is loaded."""
        waiting = board.waiting_for()
        reason = "; ".join(_line(component) for component in waiting) or "All parts are ready"
        return ReadinessStatus(
            ready=not waiting,
            reason=reason,
            providers=[component.name for component in waiting],
            components=list(board.components()),
        )

    async def liveness(self) -> LivenessStatus:
        """That the process answers."""
        return LivenessStatus()

    async def shutdown(self) -> None:
        """Nothing to end."""


def _line(component: Component) -> str:
    detail = f" ({component.message})" if component.message else ""
    return f"{component.name}: {component.state}{detail}"
