"""`lightspeed ask`: one question over llama-stack-client, streamed to the terminal."""

import json
import logging
import sys
from typing import Any

from lightspeed_providers.core.errors import LightspeedError, UnavailableError


def ask(question: str, *, url: str, model: str, after: str | None = None) -> int:
    """Print the answer as it comes, then its sources; return the exit code."""
    from llama_stack_client import APIConnectionError, APIStatusError, LlamaStackClient

    logging.getLogger("httpx").setLevel(logging.WARNING)  # the client's package lets it chat
    client = LlamaStackClient(base_url=url, max_retries=0)
    request: dict[str, Any] = {"model": model, "input": question, "stream": True}
    if after:
        request["previous_response_id"] = after
    try:
        final = _print_answer(client.responses.create(**request))
    except APIConnectionError as fault:
        raise UnavailableError(
            f"No server answers at {url}: start one with `lightspeed up`."
        ) from fault
    except APIStatusError as fault:
        raise LightspeedError(_message(fault)) from fault
    _print_sources(final)
    return 0


def _print_answer(events: Any) -> Any:  # Any: the client's event and response classes
    for event in events:
        kind = getattr(event, "type", None)
        if kind == "response.output_text.delta":
            sys.stdout.write(event.delta)
            sys.stdout.flush()
        elif kind == "response.failed":
            sys.stdout.write("\n")
            error = event.response.error
            raise LightspeedError(error.message if error else "The answer failed.")
        elif kind in ("response.completed", "response.incomplete"):
            sys.stdout.write("\n")
            return event.response
        elif kind is None and getattr(event, "error", None):
            raise LightspeedError(str(event.error.get("message", event.error)))
    raise LightspeedError("The answer ended before it was complete: ask again.")


def _print_sources(response: Any) -> None:  # Any: the client's response class
    metadata = getattr(response, "metadata", None) or {}
    documents = json.loads(metadata.get("referenced_documents") or "[]")
    if documents:
        sys.stdout.write("\nSources:\n")
        for document in documents:
            sys.stdout.write(f"  {document['doc_title']}  {document['doc_url']}\n")
    sys.stderr.write(f"\nTo ask on: --after {response.id}\n")


def _message(fault: Any) -> str:  # Any: the client's status error
    body = fault.body if isinstance(fault.body, dict) else {}
    error = body.get("error")
    if isinstance(error, dict) and error.get("message"):
        return str(error["message"])
    return f"The server answered {fault.status_code}."
