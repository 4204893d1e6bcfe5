"""The vector stores as the stock loop searches them: screened, cited, and never silently empty.

The stock loop turns a search that fails into one that finds nothing, and does not say whose search
it is. So the turn travels beside the call, and what went wrong waits in it for the next call of the
model.
"""

import asyncio
import hashlib
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

from llama_stack.log import get_logger
from llama_stack_api import (
    OpenAISearchVectorStoreRequest,
    VectorStoreContent,
    VectorStoreSearchResponse,
    VectorStoreSearchResponsePage,
)
from llama_stack_api.common.errors import LlamaStackError

from lightspeed_providers.core.errors import LightspeedError, UnavailableError
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.responses.deadlines import after
from lightspeed_providers.responses.deadlines import within as in_time
from lightspeed_providers.responses.grounding import heading_of
from lightspeed_providers.responses.input_guard import InputGuard
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.retrieving import Retrieving, with_release
from lightspeed_providers.responses.to_model import WITHHELD

logger = get_logger(name=__name__, category="openai_responses")

ANSWERING: ContextVar[OpenTurn | None] = ContextVar("lightspeed_answering", default=None)
"""The turn whose answer goes on in this task."""

_ADDRESSES = ("doc_url", "docs_url", "url", "link")
_TITLES = ("title", "filename", "file_name")
_TOLD = frozenset({*_ADDRESSES, *_TITLES, "document_id", "doc_id", "passage_id", "source"})


async def searching_for(turn: OpenTurn, events: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
    """Yield the stock loop's events; what it searches meanwhile is this turn's.

    A server reads each event in a task of its own, so the turn is named anew for each.
    """
    async with aclosing(events):
        while True:
            ANSWERING.set(turn)
            event = await anext(events, None)
            if event is None:
                return
            yield event


class SearchedStores:
    """The vector stores of the stock loop; passages of a turn are screened and noted in it."""

    def __init__(self, vector_io: Any, retrieving: Retrieving, guard: InputGuard) -> None:
        self._vector_io = vector_io  # Any: the host's router
        self._retrieving = retrieving
        self._guard = guard

    def __getattr__(self, name: str) -> Any:  # Any: whatever the router offers
        return getattr(self._vector_io, name)

    async def openai_search_vector_store(
        self, vector_store_id: str, request: OpenAISearchVectorStoreRequest
    ) -> VectorStoreSearchResponsePage:
        """Return what a store finds, as the shields leave it."""
        turn = ANSWERING.get()
        if turn is None:
            answer = await self._vector_io.openai_search_vector_store(vector_store_id, request)
            return VectorStoreSearchResponsePage.model_validate(answer)
        try:
            results = await self._results(vector_store_id, request, turn)
        except Exception as fault:
            turn.searches.failed(_told(fault, vector_store_id))
            logger.warning(
                "A vector store could not be searched",
                vector_store_id=vector_store_id,
                fault=type(fault).__name__,
            )
            raise
        turn.searches.answered()
        queries = [request.query] if isinstance(request.query, str) else request.query
        return VectorStoreSearchResponsePage(search_query=queries, data=results)

    async def _results(
        self, store: str, request: OpenAISearchVectorStoreRequest, turn: OpenTurn
    ) -> list[VectorStoreSearchResponse]:
        """Return the results of one store.

        The indexes are searched together, as before a question: the first of them answers for all.
        """
        if store in turn.searched_indexes:
            if store != turn.searched_indexes[0]:
                return []
            query = request.query if isinstance(request.query, str) else " ".join(request.query)
            found = await self._retrieving.found(with_release(query, turn.question), turn)
            results = [_result_of(passage) for passage in found]
        else:
            deadlines = turn.rules.deadlines
            page = await in_time(
                self._vector_io.openai_search_vector_store(store, request),
                after(deadlines.retrieval_s),
                deadlines.retrieval_late,
            )
            results = list(page.data)
            found = [_passage_of(result, store) for result in results]
        kept = await self._retrieving.within_budget(found, turn)
        return await self._screened(results[: len(kept)], kept, turn)

    async def _screened(
        self,
        results: Sequence[VectorStoreSearchResponse],
        passages: Sequence[Passage],
        turn: OpenTurn,
    ) -> list[VectorStoreSearchResponse]:
        """Return results as the tool shields leave them, and note what may be given."""
        cleared = await asyncio.gather(*(self._cleared(passage, turn) for passage in passages))
        turn.grounding.found([passage for passage in cleared if passage is not None])
        return [
            _withheld(result) if passage is None else _with_text(result, passage)
            for result, passage in zip(results, cleared, strict=True)
        ]

    async def _cleared(self, passage: Passage, turn: OpenTurn) -> Passage | None:
        """Return a passage as the shields leave it, title and text as the model reads them."""
        runner = turn.shields
        if runner is None or not runner.screens(Direction.TOOL):
            return passage
        heading = heading_of(passage)
        screening = await self._guard.passage(f"{heading}\n{passage.content}", turn, runner)
        turn.verdicts.extend(screening.verdicts)
        if screening.blocked_by is not None:
            return None
        first, _, content = screening.text.partition("\n")
        if first == heading:
            return passage.model_copy(update={"content": content})
        return passage.model_copy(update={"content": content, "title": first, "heading_path": ()})


def _told(fault: Exception, store: str) -> LightspeedError:
    if isinstance(fault, LightspeedError):
        return fault
    if isinstance(fault, LlamaStackError):
        return LightspeedError(str(fault), status_code=int(fault.status_code))
    return UnavailableError(
        f"Vector store '{store}' could not be searched ({type(fault).__name__}): try again later, "
        "or ask the operator."
    )


def _passage_of(result: VectorStoreSearchResponse, store: str) -> Passage:
    """Return a result as a passage that can be cited."""
    facts = _plain(result.attributes or {})
    content = "\n".join(part.text for part in result.content)
    document = _first(facts, ("document_id", "doc_id")) or result.file_id
    name = hashlib.sha256(f"{store}\0{document}\0{content}".encode(errors="replace"))
    return Passage(
        passage_id=facts.get("passage_id") or name.hexdigest()[:24],
        document_id=document,
        title=_first(facts, _TITLES) or result.filename or document,
        doc_url=_first(facts, _ADDRESSES),
        content=content,
        score=result.score if math.isfinite(result.score) else 1.0,
        source=facts.get("source") or store,
        product=facts.get("product", ""),
        version=facts.get("version", ""),
        language=facts.get("language", ""),
        attributes={name: value for name, value in facts.items() if name not in _TOLD},
    )


def _result_of(passage: Passage) -> VectorStoreSearchResponse:
    """Return a passage as a search result; its file has the id that the indexes' stores give it."""
    file = hashlib.sha256(passage.document_id.encode()).hexdigest()[:24]
    return VectorStoreSearchResponse(
        file_id=f"file-{file}",
        filename=passage.title or passage.doc_url,
        score=passage.score,
        attributes=dict(passage.told),
        content=[VectorStoreContent(type="text", text=passage.content)],
    )


def _with_text(result: VectorStoreSearchResponse, passage: Passage) -> VectorStoreSearchResponse:
    content = [VectorStoreContent(type="text", text=passage.content)]
    return result.model_copy(update={"content": content})


def _withheld(result: VectorStoreSearchResponse) -> VectorStoreSearchResponse:
    content = [VectorStoreContent(type="text", text=WITHHELD)]
    return result.model_copy(update={"content": content, "attributes": {}, "filename": ""})


def _plain(attributes: Mapping[str, Any]) -> dict[str, str]:
    plain = {n: v for n, v in attributes.items() if isinstance(v, str | int | float | bool)}
    return {name: str(value) for name, value in plain.items()}


def _first(facts: Mapping[str, str], names: Sequence[str]) -> str:
    return next((facts[name] for name in names if facts.get(name)), "")
