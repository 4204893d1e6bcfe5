"""Which parts of this process are still loading, apart from whether it is alive.

Models load in threads after the server has begun to answer; each part that a first answer waits
for reports its state here, and `GET /readiness` reads it.
"""

import threading
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class State(StrEnum):
    """How far a component is."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class Component(BaseModel):
    """One part of the process and its state, with one line on what is wrong."""

    model_config = ConfigDict(frozen=True)

    name: str
    state: State
    message: str = ""


class Readiness:
    """A thread-safe board of components."""

    def __init__(self) -> None:
        self._components: dict[str, Component] = {}
        self._lock = threading.Lock()

    def report(self, name: str, state: State, message: str = "") -> None:
        """Set a component's state."""
        with self._lock:
            self._components[name] = Component(name=name, state=state, message=message)

    def components(self) -> tuple[Component, ...]:
        """Every component, by name."""
        with self._lock:
            return tuple(self._components[name] for name in sorted(self._components))

    def waiting_for(self) -> tuple[Component, ...]:
        """The components that are not ready."""
        return tuple(c for c in self.components() if c.state is not State.READY)


board = Readiness()
