"""What a turn may still do, and which tools its next model call is offered."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Tool = dict[str, Any]  # a tool as chat completions take it

NOT_FINISHED = "I could not finish this answer within the steps that it may take."
"""What is answered where a model, asked for text only, still gives none."""

_ROUNDS = 10
_FILE_SEARCH = frozenset({"file_search", "knowledge_search"})


@dataclass(frozen=True)
class Budget:
    """At most so many calls of the model, and of the server's tools."""

    max_infer_iters: int = _ROUNDS
    max_tool_calls: int | None = None
    ends_in_text: bool = True
    """Whether the last call has to answer; without a profile, the stock loop ends as it does."""

    def is_spent(self, model_calls: int, tool_calls: int) -> bool:
        """Tell whether the next call of the model has to answer in text."""
        if not self.ends_in_text:
            return False
        if model_calls >= self.max_infer_iters:
            return True
        return self.max_tool_calls is not None and tool_calls >= self.max_tool_calls


class Limits(Protocol):
    """What bounds a turn: a request, or a profile's rules."""

    @property
    def max_infer_iters(self) -> int | None:
        """At most so many calls of the model."""
        ...

    @property
    def max_tool_calls(self) -> int | None:
        """At most so many calls of the server's tools."""
        ...


def budget_of(*limits: Limits, ends_in_text: bool = True) -> Budget:
    """Return a budget that keeps within all limits."""
    rounds = [n for each in limits if (n := each.max_infer_iters) is not None]
    calls = [n for each in limits if (n := each.max_tool_calls) is not None]
    return Budget(min(rounds, default=_ROUNDS), min(calls, default=None), ends_in_text)


def name_of(tool: Tool) -> str:
    """Return the name that a model calls a tool by."""
    return str((tool.get("function") or tool.get("custom") or {}).get("name") or "")


def names_of(tools: Sequence[Tool] | None) -> frozenset[str]:
    """Return the names that a model may call; a search of files has two."""
    names = frozenset(name_of(tool) for tool in tools or ())
    return names | _FILE_SEARCH if names & _FILE_SEARCH else names


def only_functions(fields: dict[str, Any], functions: Container[str]) -> dict[str, Any]:
    """Return a model call's fields with the client's functions as its only tools.

    A choice that would force another tool goes too.
    """
    tools = [tool for tool in fields.get("tools") or () if name_of(tool) in functions]
    choice = fields.get("tool_choice")
    if not tools:
        return {**fields, "tools": None, "tool_choice": None, "parallel_tool_calls": None}
    if isinstance(choice, dict) and name_of(choice) not in functions:
        choice = None
    return {**fields, "tools": tools, "tool_choice": choice}
