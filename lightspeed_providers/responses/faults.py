"""What went wrong on the way to an answer, in one line with an HTTP status."""

import httpx
import openai
from llama_stack_api.common.errors import LlamaStackError

from lightspeed_providers.core.errors import (
    InvalidRequestError,
    LightspeedError,
    UnavailableError,
)


def as_error(fault: Exception | None, model: str) -> LightspeedError:
    """Return the fault as a client should see it: never a stack trace, never somebody's text."""
    match fault:
        case LightspeedError():
            return fault
        case openai.APITimeoutError() | TimeoutError() | httpx.TimeoutException():
            return UnavailableError(
                f"Model '{model}' did not answer in time: try again, or ask the operator.",
                status_code=504,
            )
        case openai.APIConnectionError() | ConnectionError() | httpx.TransportError():
            return UnavailableError(
                f"Model '{model}' can't be reached: check that its server runs and that the "
                "provider's address is right."
            )
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return UnavailableError(
                f"The provider of model '{model}' refused this server's key "
                f"({fault.status_code}): the operator must set a valid one.",
                status_code=502,
            )
        case openai.NotFoundError():
            return LightspeedError(
                f"The provider of model '{model}' does not know it: "
                "see `GET /v1/models` for those that exist.",
                status_code=404,
            )
        case openai.APIStatusError():
            return LightspeedError(
                f"The provider of model '{model}' answered {fault.status_code}.",
                status_code=fault.status_code,
            )
        case LlamaStackError():
            return LightspeedError(str(fault), status_code=int(fault.status_code))
        case ValueError():
            return InvalidRequestError(str(fault))
        case _:
            kind = type(fault).__name__ if fault is not None else "no reason given"
            return LightspeedError(f"Model '{model}' failed to answer ({kind}).")
