"""Vector stores and prompts have an owner; the host's access policy says who else may use them.

Where a request has no user, the host takes that for a server without authentication and permits
everything. With users known by a header, such requests come beside those of named users.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from llama_stack.core.access_control.access_control import is_action_allowed
from llama_stack.core.request_headers import PROVIDER_DATA_VAR
from llama_stack.core.routing_tables import common
from llama_stack.core.routing_tables.vector_stores import VectorStoresRoutingTable
from llama_stack_api import ResourceType

PROMPT = "prompt"
_OWNED = (ResourceType.vector_store.value, PROMPT)
_OF_BATCH = (
    "openai_retrieve_vector_store_file_batch",
    "openai_list_files_in_vector_store_file_batch",
    "openai_cancel_vector_store_file_batch",
)

type Method = Callable[..., Awaitable[Any]]  # Any: one of the host's answers


def keep_resources_from_nobody() -> None:
    """Let requests without a user reach only what has no owner."""
    setattr(common, "is_action_allowed", allowed)  # noqa: B010  # no public name of the module
    for name in _OF_BATCH:
        method = getattr(VectorStoresRoutingTable, name)
        if not hasattr(method, "__wrapped__"):
            setattr(VectorStoresRoutingTable, name, _not_telling(method))


def allowed(
    policy: list[Any],  # Any: the host's access rules
    action: Any,  # Any: the host passes an Action or its name
    resource: Any,  # Any: a registered object of whatever kind
    user: Any,  # Any: the host's user
) -> bool:
    """Tell whether a request's user may do this; outside requests the server itself always may."""
    owned = resource.type in _OWNED and resource.owner
    if user is None and owned and PROVIDER_DATA_VAR.get() is not None:
        return False
    return is_action_allowed(policy, action, resource, user)


def _not_telling(method: Method) -> Method:
    """Answer about a batch of another store as about none: the host tells that there is one."""

    @wraps(method)
    async def answer(table: Any, batch_id: str, *args: Any, **kwargs: Any) -> Any:  # Any: as it is
        try:
            return await method(table, batch_id, *args, **kwargs)
        except ValueError as fault:
            if "does not belong to vector store" in str(fault):
                raise ValueError(f"File batch {batch_id} not found") from None
            raise

    return answer
