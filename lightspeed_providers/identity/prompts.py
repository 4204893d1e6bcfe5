"""Stored prompts belong to the user that created them, as vector stores do.

The host keeps no owner, so anybody may rewrite the prompt that another's answers are made with.
A prompt created without a user stays everybody's.
"""

import json
from dataclasses import dataclass
from typing import Any

from llama_stack.core.datatypes import User
from llama_stack.core.prompts.prompts import PromptServiceImpl
from llama_stack.core.request_headers import get_authenticated_user
from llama_stack_api import (
    CreatePromptRequest,
    DeletePromptRequest,
    GetPromptRequest,
    ListPromptsResponse,
    ListPromptVersionsRequest,
    Prompt,
    SetDefaultVersionRequest,
    UpdatePromptRequest,
)

from lightspeed_providers.identity.resources import PROMPT, allowed

_create = PromptServiceImpl.create_prompt
_list = PromptServiceImpl.list_prompts
_get = PromptServiceImpl.get_prompt
_versions = PromptServiceImpl.list_prompt_versions
_update = PromptServiceImpl.update_prompt
_set_default = PromptServiceImpl.set_default_version
_delete = PromptServiceImpl.delete_prompt


def give_prompts_owners() -> None:
    """Replace what the host's service does by what it does for the owner."""
    for method in (
        create_prompt,
        list_prompts,
        get_prompt,
        list_prompt_versions,
        update_prompt,
        set_default_version,
        delete_prompt,
    ):
        setattr(PromptServiceImpl, method.__name__, method)


@dataclass(frozen=True)
class _OwnedPrompt:
    """A prompt as the host's access policy sees resources."""

    identifier: str
    owner: User | None
    type: str = PROMPT


async def create_prompt(service: PromptServiceImpl, request: CreatePromptRequest) -> Prompt:
    """Create a prompt of the request's user."""
    prompt = await _create(service, request)
    user = get_authenticated_user()
    if user is not None and user.principal:
        await service.kvstore.set(_owner_key(prompt.prompt_id), user.model_dump_json())
    return prompt


async def list_prompts(service: PromptServiceImpl) -> ListPromptsResponse:
    """List the prompts that the request's user may read."""
    every = (await _list(service)).data
    return ListPromptsResponse(data=[p for p in every if await _may(service, "read", p.prompt_id)])


async def get_prompt(service: PromptServiceImpl, request: GetPromptRequest) -> Prompt:
    """Return a prompt that the request's user may read; another one is not found."""
    if not await _may(service, "read", request.prompt_id):
        version = f"{request.version}" if request.version else "default"
        raise ValueError(f"Prompt {request.prompt_id}:{version} not found")
    return await _get(service, request)


async def list_prompt_versions(
    service: PromptServiceImpl, request: ListPromptVersionsRequest
) -> ListPromptsResponse:
    """Return the versions of a prompt that the request's user may read."""
    if not await _may(service, "read", request.prompt_id):
        raise ValueError(f"Prompt {request.prompt_id} not found")
    return await _versions(service, request)


async def update_prompt(service: PromptServiceImpl, request: UpdatePromptRequest) -> Prompt:
    """Write a new version of a prompt that the request's user may change."""
    if not await _may(service, "update", request.prompt_id):
        raise ValueError(f"Prompt {request.prompt_id} not found")
    return await _update(service, request)


async def set_default_version(
    service: PromptServiceImpl, request: SetDefaultVersionRequest
) -> Prompt:
    """Choose the default version of a prompt that the request's user may change."""
    if not await _may(service, "update", request.prompt_id):
        raise ValueError(f"Prompt {request.prompt_id} version {request.version} not found")
    return await _set_default(service, request)


async def delete_prompt(service: PromptServiceImpl, request: DeletePromptRequest) -> None:
    """Delete a prompt that the request's user may delete."""
    if not await _may(service, "delete", request.prompt_id):
        raise ValueError(f"Prompt {request.prompt_id}:default not found")
    await _delete(service, request)
    await service.kvstore.delete(_owner_key(request.prompt_id))


def _owner_key(prompt_id: str) -> str:
    return f"lightspeed:prompt_owner:{prompt_id}"


async def _may(service: PromptServiceImpl, action: str, prompt_id: str) -> bool:
    stored = await service.kvstore.get(_owner_key(prompt_id))
    prompt = _OwnedPrompt(prompt_id, User(**json.loads(stored)) if stored else None)
    auth = service.stack_config.server.auth
    policy: list[Any] = auth.access_policy if auth else []  # Any: the host's access rules
    return allowed(policy, action, prompt, get_authenticated_user())
