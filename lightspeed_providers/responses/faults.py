"""What went wrong on the way to an answer, in one line with an HTTP status."""

import json
import sys
from collections.abc import Mapping
from typing import Any

import httpx
import openai
from llama_stack.core.datatypes import AuthenticationRequiredError
from llama_stack_api.common.errors import LlamaStackError
from pydantic import ValidationError

from lightspeed_providers.core.errors import (
    InvalidRequestError,
    LightspeedError,
    RequestTooLargeError,
    UnavailableError,
)
from lightspeed_providers.core.retry_after import retry_after_of

# openai's clients raise the errors of the HTTP library below them: httpx2 from version 3 on.
_http: Any = sys.modules.get("httpx2", httpx)
_TIMEOUTS = (openai.APITimeoutError, TimeoutError, httpx.TimeoutException, _http.TimeoutException)
_TRANSPORT = (openai.APIConnectionError, ConnectionError, httpx.TransportError)
_UNREACHABLE = (*_TRANSPORT, _http.TransportError)
_GARBAGE = (json.JSONDecodeError, UnicodeDecodeError, openai.APIResponseValidationError)


class BrokenOffError(Exception):
    """A model's stream ended before the model had said that it was done."""


def as_error(fault: Exception | None, model: str | None) -> LightspeedError:
    """Return the fault as a client should see it: never a stack trace, never somebody's text."""
    it = f"Model '{model}'" if model else "The model"
    if isinstance(fault, LightspeedError):
        return fault
    if isinstance(fault, _TIMEOUTS):
        return _too_late(it)
    if isinstance(fault, BrokenOffError | httpx.RemoteProtocolError | _http.RemoteProtocolError):
        return UnavailableError(
            f"{it} broke off in the middle of its answer: try again.", status_code=502
        )
    if isinstance(fault, _UNREACHABLE):
        return UnavailableError(
            f"{it} can't be reached: check that its server runs and that the provider's address "
            "is right."
        )
    if isinstance(fault, _GARBAGE):
        return UnavailableError(
            f"{it} answered with something that can't be read: try again, or check that the "
            "provider's address is right.",
            status_code=502,
        )
    if isinstance(fault, openai.APIError):
        return _answered(fault, it)
    if isinstance(fault, AuthenticationRequiredError):  # an MCP server said 401
        return LightspeedError(
            "A tool's server asks for authorization: send the tool's `authorization`.",
            status_code=401,
        )
    if isinstance(fault, LlamaStackError):
        return LightspeedError(str(fault), status_code=int(fault.status_code))
    # Pydantic's faults hold the values that they are about.
    if isinstance(fault, ValueError) and not isinstance(fault, ValidationError):
        return InvalidRequestError(str(fault))
    kind = type(fault).__name__ if fault is not None else "no reason given"
    return LightspeedError(f"{it} failed to answer ({kind}).")


def is_upstream(fault: BaseException) -> bool:
    """Whether a fault tells what a provider answered, in the provider's words."""
    return isinstance(fault, openai.APIError)


def _too_late(it: str, wait: float | None = None) -> LightspeedError:
    return UnavailableError(
        f"{it} did not answer in time: try again, or ask the operator.",
        status_code=504,
        retry_after_s=wait,
    )


def _answered(fault: openai.APIError, it: str) -> LightspeedError:
    """Return what a provider's own answer means, of which only numbers and known words are told.

    429, 503 and 504 stay what they are, with the time to wait; any other 5xx, and what is about
    this server's key and not about the request, is a 502.
    """
    provider = f"The provider of {it[0].lower()}{it[1:]}"
    status, headers = _status_and_headers(fault)
    wait = retry_after_of(headers)
    later = f"in {wait:g} seconds" if wait else "later"
    if status == 429 and _word(fault, "code") == "insufficient_quota":
        return UnavailableError(
            f"{provider} has no quota left for this server (429): the operator must raise it.",
            status_code=429,
            code="insufficient_quota",
            retry_after_s=wait,
        )
    if status == 429:
        return UnavailableError(
            f"{provider} takes no more requests for now (429): try again {later}.",
            status_code=429,
            retry_after_s=wait,
        )
    if status in (503, 529):  # some providers' word for 503
        return UnavailableError(
            f"{provider} is overloaded or down ({status}): try again {later}.", retry_after_s=wait
        )
    if status in (408, 504):
        return _too_late(it, wait)
    if status in (401, 403):
        return UnavailableError(
            f"{provider} refused this server's key ({status}): the operator must set a valid one.",
            status_code=502,
        )
    if status == 404:
        return LightspeedError(
            f"{provider} does not know it: see `GET /v1/models` for those that exist.",
            status_code=404,
        )
    if status == 413 or _word(fault, "code") == "context_length_exceeded":
        return RequestTooLargeError(
            f"The request is longer than {it[0].lower()}{it[1:]} can read: shorten it, or begin a "
            "new conversation.",
            code="context_length_exceeded",
        )
    if 400 <= status < 500:
        return LightspeedError(
            f"{provider} refused the request ({status}): check its fields and tools.",
            status_code=status,
        )
    return UnavailableError(
        f"{provider} failed ({status}): try again, or ask the operator.",
        status_code=502,
        retry_after_s=wait,
    )


def _status_and_headers(fault: openai.APIError) -> tuple[int, Mapping[str, str]]:
    """Return a fault's status; one that came within a stream says it in its body, if at all."""
    if isinstance(fault, openai.APIStatusError):
        return fault.status_code, fault.response.headers
    body = fault.body if isinstance(fault.body, dict) else {}
    if isinstance(number := body.get("code"), int) and 400 <= number < 600:
        return number, {}
    words = {_word(fault, "code"), _word(fault, "type")}
    if words & {"rate_limit_exceeded", "rate_limit_error", "insufficient_quota"}:
        return 429, {}
    return (503 if "overloaded_error" in words else 500), {}


def _word(fault: openai.APIError, name: str) -> str | None:
    body = fault.body if isinstance(fault.body, dict) else {}
    inner = body.get("error")
    value = (inner if isinstance(inner, dict) else body).get(name)
    return value if isinstance(value, str) else None
