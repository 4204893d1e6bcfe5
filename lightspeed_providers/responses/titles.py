"""Titles of new conversations, made after the answer and off the request's path.

A conversation has one once its metadata says so: `title`, and in `title_of` the response that it
was made from, so that it is forgotten with that turn. A title of the client's own stays.
"""

import asyncio
from typing import Any

from llama_stack.log import get_logger
from llama_stack_api import (
    GetConversationRequest,
    Inference,
    OpenAIChatCompletionRequestWithExtraBody,
    OpenAISystemMessageParam,
    OpenAIUserMessageParam,
)

from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.responses import metrics
from lightspeed_providers.responses.host_rows import HostRows
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.title_texts import beginning, title_in, title_prompt

logger = get_logger(name=__name__, category="openai_responses")

CONVERSATIONS = "openai_conversations"
TITLE = "title"
TITLE_OF = "title_of"
_MOST_TOKENS = 64
_PATIENCE_S = 60.0
_AT_ONCE = 4  # titles; a crowd of new conversations must not take the model from answers


class Titles:
    """Gives conversations titles where a profile asks for them."""

    def __init__(self, inference: Inference, conversations: Any) -> None:
        self._inference = inference
        self._conversations = conversations  # Any: the host's service, whose store is no contract
        self._rows = HostRows(conversations.sql_store)
        self._being_made: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(_AT_ONCE)

    def soon(self, turn: OpenTurn) -> None:
        """Begin to make a title for the turn's conversation, where it is to have one."""
        if not turn.rules.titles.enabled or turn.conversation_id is None:
            return
        if turn.refusal is not None or not turn.answer.strip():
            return
        task = asyncio.get_running_loop().create_task(self._make(turn, turn.conversation_id))
        self._being_made.add(task)
        task.add_done_callback(self._being_made.discard)

    async def aclose(self) -> None:
        """Stop: a conversation without a title gets it with its next turn."""
        for task in self._being_made:
            task.cancel()
        await asyncio.gather(*self._being_made, return_exceptions=True)

    async def _make(self, turn: OpenTurn, conversation_id: str) -> None:
        try:
            async with self._places, asyncio.timeout(_PATIENCE_S):
                if await self._has_title(conversation_id):
                    return
                title = await self._cleared(await self._title_for(turn), turn)
                if title:
                    await self._keep(title, turn, conversation_id)
        except Exception as fault:
            # Nobody waits for it, and the next turn tries again.
            logger.warning("No title was made", turn_id=turn.turn_id, fault=type(fault).__name__)

    async def _has_title(self, conversation_id: str) -> bool:
        request = GetConversationRequest(conversation_id=conversation_id)
        conversation = await self._conversations.get_conversation(request)
        return TITLE in (conversation.metadata or {})

    async def _title_for(self, turn: OpenTurn) -> str:
        """Return what the model calls the conversation; its tokens are counted as a title's."""
        rules = turn.rules.titles
        model = rules.model or turn.model
        provider = turn.provider if model == turn.model else model.partition("/")[0]
        with metrics.called(model, provider, metrics.TITLE):
            answer: Any = await self._inference.openai_chat_completion(
                OpenAIChatCompletionRequestWithExtraBody(
                    model=model,
                    messages=[
                        OpenAISystemMessageParam(content=title_prompt(rules.max_words)),
                        OpenAIUserMessageParam(content=beginning(turn.question, turn.answer)),
                    ],
                    temperature=0.0,
                    max_tokens=_MOST_TOKENS,
                )
            )
        if answer.usage is not None:
            metrics.spent(model, provider, metrics.TITLE, answer.usage)
        return title_in(answer.choices[0].message.content or "", rules.max_words)

    async def _cleared(self, title: str, turn: OpenTurn) -> str:
        """Return the title as the output shields leave it, nothing where they block it."""
        if not title or turn.shields is None or not turn.shields.screens(Direction.OUTPUT):
            return title
        screening = await turn.shields.screen(Direction.OUTPUT, title, turn.context)
        return "" if screening.blocked_by is not None else screening.text

    async def _keep(self, title: str, turn: OpenTurn, conversation_id: str) -> None:
        async with self._rows.transaction() as rows:
            row = await rows.one(CONVERSATIONS, id=conversation_id)
            # It may have been deleted, or named by its user, meanwhile.
            if row is None or TITLE in (row["metadata"] or {}):
                return
            named = {TITLE: title, TITLE_OF: turn.response_id or ""}
            metadata = {**(row["metadata"] or {}), **named}
            await rows.update(CONVERSATIONS, {"metadata": metadata}, id=conversation_id)


def without_title_of(metadata: dict[str, str] | None, response_id: str) -> dict[str, str] | None:
    """Return a conversation's metadata without a title that was made from this response."""
    if not metadata or metadata.get(TITLE_OF) != response_id:
        return metadata
    return {name: text for name, text in metadata.items() if name not in (TITLE, TITLE_OF)}
