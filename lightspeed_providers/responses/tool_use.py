"""Which tools the model called within a turn, and what it got from them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightspeed_providers.core.turns import ToolCall, ToolResult

_KINDS = {
    "web_search": "web_search_call",
    "file_search": "file_search_call",
    "knowledge_search": "file_search_call",
}
_SERVER_SIDE = frozenset({*_KINDS.values(), "mcp_call"})
UNKNOWN = "unknown"
"""Status of a result where nothing says whether the tool failed."""


@dataclass
class _Call:
    """A call as its pieces have arrived so far."""

    round: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    result: str | None = None


class ToolUse:
    """Puts calls together from streamed pieces, and each with its result."""

    def __init__(self, functions: frozenset[str] = frozenset()) -> None:
        self._functions = functions
        self._round = 0
        self._calls: dict[tuple[int, int], _Call] = {}
        self._given: list[ToolResult] = []
        self._statuses: Sequence[str] = ()

    def model_is_asked(self) -> None:
        """Begin a round: whatever is called from now on was asked for by this model call."""
        self._round += 1

    def piece(self, index: int, call_id: str | None, name: str | None, arguments: str) -> None:
        """Take a piece of the call that the model makes at this place of its answer."""
        call = self._calls.setdefault((self._round, index), _Call(self._round))
        call.id = call_id or call.id
        call.name = name or call.name
        call.arguments += arguments

    def gave(self, call_id: str, content: str) -> None:
        """Take what a tool gave, as the model gets it; other turns' calls are not known here."""
        for call in self._calls.values():
            if call.id == call_id:
                call.result = content

    def client_gave(self, call_id: str, content: str) -> None:
        """Take the result of a call that an earlier turn left to the client."""
        self._given.append(
            ToolResult(
                id=call_id,
                status="completed",
                content=content,
                type="function_call_output",
                round=0,
            )
        )

    def ended(self, statuses: Sequence[str]) -> None:
        """Take how the server's own calls ended, in the order of the calls."""
        self._statuses = statuses

    @property
    def rounds(self) -> int:
        """How often the model was asked, this time included."""
        return self._round

    @property
    def functions(self) -> frozenset[str]:
        """The names of the functions that the client runs itself."""
        return self._functions

    @property
    def server_calls(self) -> int:
        """How often the model has called a tool of the server."""
        return sum(call.name not in self._functions for call in self._calls.values())

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls in order."""
        return tuple(
            ToolCall(id=c.id, name=c.name, args=_arguments(c.arguments), type=self._type(c))
            for c in self._calls.values()
        )

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """The results in the order of the calls; those that the client sent come first."""
        answered = [c for c in self._calls.values() if c.result is not None]
        known = len(answered) == len(self._statuses)
        return (
            *self._given,
            *(
                ToolResult(
                    id=call.id,
                    status=self._statuses[n] if known else UNKNOWN,
                    content=call.result or "",
                    type=self._type(call),
                    round=call.round,
                )
                for n, call in enumerate(answered)
            ),
        )

    def _type(self, call: _Call) -> str:
        if call.name in self._functions:
            return "function_call"
        return _KINDS.get(call.name, "mcp_call")


def tool_statuses(response: Any) -> list[str]:  # Any: a response object of the host
    """Return how the server's own tool calls of a response ended, in order."""
    return [
        "failed" if getattr(item, "error", None) else getattr(item, "status", "completed")
        for item in response.output
        if item.type in _SERVER_SIDE
    ]


def _arguments(text: str) -> dict[str, object]:
    """Return a call's arguments; what a model wrote need not be JSON."""
    try:
        parsed = json.loads(text or "{}")
    except ValueError:
        return {"_": text}
    return dict(parsed) if isinstance(parsed, Mapping) else {"_": text}
