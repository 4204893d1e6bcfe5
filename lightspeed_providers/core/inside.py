"""The way to the models for those who screen what passes there themselves.

Everybody else who holds the host's inference router goes through its doors, which screen (see
`responses/doors`): a shield that did so would be asked about its own question.
"""

import copy
from typing import Any

DOORS = ("openai_chat_completion", "openai_completion")
"""The router's methods that a door stands before."""


def inside(inference: Any) -> Any:  # Any: the host's router is no typed contract
    """Return the router as it is behind its doors, which keeps nothing of what it is asked.

    What is no router of the host, as in tests, is returned as it is.
    """
    if not hasattr(inference, "routing_table"):
        return inference
    behind = copy.copy(inference)
    for name in DOORS:
        vars(behind).pop(name, None)
    behind.store = None
    return behind
