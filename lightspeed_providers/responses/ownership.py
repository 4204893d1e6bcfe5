"""What a request names must be its user's, which is found out before anything is done for it.

The host's stores show a row only to its user, so somebody else's id is an unknown one.
"""

from typing import Protocol

from llama_stack_api import CreateResponseRequest, GetConversationRequest


class _Conversations(Protocol):
    async def get_conversation(self, request: GetConversationRequest) -> object: ...


async def check_conversation(request: CreateResponseRequest, conversations: _Conversations) -> None:
    """Raise the host's 404 unless the conversation that a request continues is its user's.

    The stock loop finds out after shields and retrieval, in background after it has answered 200.
    """
    if request.conversation is not None and request.previous_response_id is None:
        named = GetConversationRequest(conversation_id=request.conversation)
        await conversations.get_conversation(named)
