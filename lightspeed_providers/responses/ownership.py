"""What a request names must be its user's, which is found out before anything is done for it.

The host's stores show a row only to its user, so somebody else's id is an unknown one.
"""

from typing import Protocol

from llama_stack_api import CreateResponseRequest, GetConversationRequest


class _Responses(Protocol):
    async def get_response_object(self, response_id: str) -> object: ...


class _Conversations(Protocol):
    async def get_conversation(self, request: GetConversationRequest) -> object: ...


async def check_owner(store: _Responses, response_id: str) -> None:
    """Raise the host's 404 unless the response is the request's user's.

    Ask before touching what this process keeps of a response beside the store: a turn that goes on.
    """
    await store.get_response_object(response_id)


async def check_conversation(request: CreateResponseRequest, conversations: _Conversations) -> None:
    """Raise the host's 404 unless the conversation that a request continues is its user's.

    The stock loop finds out after shields and retrieval, in background after it has answered 200.
    """
    if request.conversation is not None and request.previous_response_id is None:
        named = GetConversationRequest(conversation_id=request.conversation)
        await conversations.get_conversation(named)
