"""What a client is told of a fault between us and the llama.cpp server."""

import httpx
import openai

from lightspeed_providers.core.errors import (
    InvalidRequestError,
    LightspeedError,
    RequestTooLargeError,
    UnavailableError,
)


def told_to_client(fault: openai.APIError | httpx.HTTPError, *, model: str) -> LightspeedError:
    """Return one of our errors, in one line, for what the HTTP client raised."""
    if isinstance(fault, openai.APITimeoutError | httpx.TimeoutException):
        return UnavailableError(
            f"Language model '{model}' did not answer in time: try again, or ask for less."
        )
    if isinstance(fault, openai.APIStatusError) and fault.status_code < 500:
        return _refused(fault, model)
    if isinstance(fault, openai.APIConnectionError | httpx.HTTPError):
        return UnavailableError(
            f"Language model '{model}' is not reachable or stopped in the middle of an answer: try "
            "again in a moment."
        )
    return UnavailableError(f"Language model '{model}' failed ({_one_line(fault)}): try again.")


def _refused(fault: openai.APIStatusError, model: str) -> LightspeedError:
    body = fault.body if isinstance(fault.body, dict) else {}
    if body.get("type") == "exceed_context_size_error":
        return RequestTooLargeError(
            f"The request has {body.get('n_prompt_tokens')} tokens and model '{model}' reads "
            f"{body.get('n_ctx')}: shorten it, or raise n_ctx."
        )
    if fault.status_code in (401, 403):
        return UnavailableError(
            f"The server of language model '{model}' refused our key: set api_key for its url."
        )
    return InvalidRequestError(f"Language model '{model}' refused the request: {_one_line(fault)}")


def _one_line(fault: openai.APIError) -> str:
    body = fault.body if isinstance(fault.body, dict) else {}
    text = str(body.get("message") or fault.message)
    return " ".join(text.split())[:200]
