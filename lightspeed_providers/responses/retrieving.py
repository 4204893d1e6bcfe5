"""Passages for a question: before the model is asked, or when it searches itself."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from llama_stack_api import Api, CreateResponseRequest, OpenAIResponseInputToolFileSearch

from lightspeed_providers.core.errors import UnavailableError
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.core.verdicts import Direction, ShieldRunner, Verdict
from lightspeed_providers.responses.context_window import tokens_of
from lightspeed_providers.responses.deadlines import after
from lightspeed_providers.responses.deadlines import within as in_time
from lightspeed_providers.responses.follow_ups import searched_for
from lightspeed_providers.responses.grounding import within
from lightspeed_providers.responses.input_guard import InputGuard
from lightspeed_providers.responses.open_turn import OpenTurn

_INDEXES = "lightspeed-index"
_MOST_LISTED = 1_000
_RELEASE = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+)+)(?![\w.]*\w)")


class Retrieving:
    """Searches the documentation as a profile says."""

    def __init__(self, deps: dict[Api, Any], guard: InputGuard) -> None:
        self._deps = deps
        self._guard = guard
        self._indexes: list[str] = []

    async def passages(
        self, question: str, turn: OpenTurn, runner: ShieldRunner
    ) -> tuple[tuple[Passage, ...], tuple[Verdict, ...]]:
        """Return the passages for a question that the tool shields let through."""
        turn.retrieves = turn.retrieves and bool(question.strip())
        if not turn.retrieves:
            return (), ()
        found = await self.found(searched_for(question, turn.history), turn)
        if not runner.screens(Direction.TOOL):
            return await self.within_budget(found, turn), ()
        screenings = await asyncio.gather(
            *(self._guard.passage(p.content, turn, runner) for p in found)
        )
        kept = [
            p.model_copy(update={"content": s.text})
            for p, s in zip(found, screenings, strict=True)
            if s.blocked_by is None
        ]
        verdicts = tuple(v for s in screenings for v in s.verdicts)
        return await self.within_budget(kept, turn), verdicts

    async def with_search(
        self, request: CreateResponseRequest, turn: OpenTurn
    ) -> CreateResponseRequest:
        """Return the request with a search of the documentation, where the model is to decide.

        A client that brings its own `file_search` said what is to be searched: it stays as it is,
        and the stock loop knows only one.
        """
        tools = request.tools or []
        if turn.rules.retrieval.mode != "tool" or any(t.type == "file_search" for t in tools):
            return request
        turn.searched_indexes = await self._index_stores()
        search = OpenAIResponseInputToolFileSearch(
            vector_store_ids=turn.searched_indexes,
            max_num_results=turn.rules.retrieval.max_passages,
        )
        return request.model_copy(update={"tools": [*tools, search]})

    async def found(self, query: str, turn: OpenTurn) -> list[Passage]:
        """Return what the product search finds, best first, before any shield has seen it."""
        retrieval, deadlines = turn.rules.retrieval, turn.rules.deadlines
        result = await in_time(
            self._deps[Api.tool_runtime].invoke_tool(
                tool_name=retrieval.tool, kwargs=retrieval.arguments(query)
            ),
            after(deadlines.retrieval_s),
            deadlines.retrieval_late,
        )
        if result.error_message:
            raise UnavailableError(f"Documentation search failed: {result.error_message}")
        return [Passage.model_validate(p) for p in (result.metadata or {}).get("passages", [])]

    async def within_budget(
        self, passages: Sequence[Passage], turn: OpenTurn
    ) -> tuple[Passage, ...]:
        """Return the best passages that the profile's `max_tokens` has room for."""
        most = turn.rules.retrieval.max_tokens
        if most is None or not passages:
            return tuple(passages)
        return within(passages, await tokens_of(p.content for p in passages), most)

    async def _index_stores(self) -> list[str]:
        """Return the ids of the indexes as vector stores; while a process runs, they stay."""
        if not self._indexes:
            listed = await self._deps[Api.vector_io].openai_list_vector_stores(limit=_MOST_LISTED)
            self._indexes = sorted(
                store.id
                for store in listed.data
                if (store.metadata or {}).get("provider_id") == _INDEXES
            )
        if not self._indexes:
            raise UnavailableError(
                "Retrieval mode `tool` needs the indexes as vector stores: add the provider "
                "inline::lightspeed-index to `providers.vector_io`."
            )
        return self._indexes


def with_release(query: str, question: str) -> str:
    """Return a model's query with the releases that the user named and the model left out."""
    if _RELEASE.search(query):
        return query
    named = dict.fromkeys(_RELEASE.findall(question))
    return f"{query} (version {', '.join(named)})" if named else query
