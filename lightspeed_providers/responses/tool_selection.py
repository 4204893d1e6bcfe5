"""With many tools, the model is offered those that have to do with the question.

Choosing costs an embedding of the question and no call of the model. On any doubt nothing is
dropped: no text to go by, no tool near it, a tool that is asked for by name, an embedding model
that fails or is late.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_stack.log import get_logger
from llama_stack_api import (
    Inference,
    OpenAIChatCompletionRequestWithExtraBody,
    OpenAIEmbeddingsRequestWithExtraBody,
)

from lightspeed_providers.core.encoding import Vectors
from lightspeed_providers.core.vector_cache import Known, VectorCache
from lightspeed_providers.responses.budget import Tool, name_of
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.tool_ranking import called_names, nearest, text_of

logger = get_logger(name=__name__, category="openai_responses")

_REMEMBERED = 5_000  # tools
_PATIENCE_S = 5.0
_DOCUMENTATION = ("file_search",)
"""What the assistant is for is always offered."""
_FREE_CHOICE = (None, "auto", "required")


class ToolSelection:
    """Chooses once a turn, so that the model's calls within it see the same tools."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._known: dict[str, VectorCache] = {}

    async def offered(
        self, params: OpenAIChatCompletionRequestWithExtraBody, turn: OpenTurn
    ) -> list[Tool] | None:
        """Return the tools to offer for a turn's question, or None where all are."""
        rules = turn.rules.tool_selection
        tools: Sequence[Any] = params.tools or ()  # Any: the host's tools, as JSON
        if rules.above is None or len(tools) <= rules.above:
            return None
        if turn.names_tools or params.tool_choice not in _FREE_CHOICE:
            return None
        if turn.chosen_tools is None:
            turn.chosen_tools = await self._chosen(tools, params.messages, turn)
        chosen = turn.chosen_tools
        if not chosen:
            return None
        return [tool for tool in tools if name_of(tool) in chosen]

    async def _chosen(
        self, tools: Sequence[Tool], messages: Sequence[Any], turn: OpenTurn
    ) -> frozenset[str]:
        """Return the names of the chosen tools, none where it can't be told."""
        rules = turn.rules.tool_selection
        # A follow-up may name its object only by way of the question before.
        asked = [t for t in (turn.question, " ".join([*turn.history[-1:], turn.question])) if t]
        if not turn.question.strip():
            return frozenset()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                vectors = await self._vectors(
                    rules.embedding_model, [*(text_of(t) for t in tools), *asked]
                )
        except Exception as fault:
            logger.warning("Tools are not chosen, all are offered", fault=type(fault).__name__)
            return frozenset()
        always = called_names(messages).union(rules.always, _DOCUMENTATION)
        chosen = nearest(
            tools,
            vectors[: len(tools)],
            vectors[len(tools) :],
            keep=rules.keep,
            certain=rules.certain,
            always=always,
        )
        logger.debug("Tools chosen", turn_id=turn.turn_id, offered=len(chosen), of=len(tools))
        return chosen

    async def _vectors(self, model: str, texts: Sequence[str]) -> Vectors:
        """Return vectors of length 1, texts x dimensions."""
        known = self._known.setdefault(model, VectorCache(_REMEMBERED))
        found = {text: known.get(text) for text in texts}
        missing = [text for text, vector in found.items() if vector is None]
        if missing:
            request = OpenAIEmbeddingsRequestWithExtraBody(model=model, input=missing)
            answer = await self._inference.openai_embeddings(request)
            for text, data in zip(missing, answer.data, strict=True):
                vector = np.asarray(data.embedding, dtype=np.float32)
                vector /= max(float(np.linalg.norm(vector)), 1e-9)
                found[text] = Known(vector, 0)
                known.put(text, Known(vector, 0))
        return np.stack([v.vector for text in texts if (v := found[text]) is not None])
