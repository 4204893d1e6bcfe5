"""How the published clients read a stream: each over the bytes that left the server."""

from typing import Any

import httpx
import httpx2
from llama_stack_client import LlamaStackClient
from openai import OpenAI
from openai.lib.streaming.responses import ResponseStreamEvent
from openai.types.responses import ParsedResponse

SSE = {"content-type": "text/event-stream"}


def read_by_openai(body: str) -> tuple[list[ResponseStreamEvent], ParsedResponse[None] | None]:
    """Return what the openai client's accumulating stream yields, and the response it ends with."""
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, headers=SSE, text=body))
    client = OpenAI(
        api_key="none",
        base_url="http://server/v1",
        http_client=httpx2.Client(transport=transport),
    )
    with client.responses.stream(model="lightspeed", input="") as stream:
        events = list(stream)
        completed = events[-1].type == "response.completed"
        return events, stream.get_final_response() if completed else None


def read_by_llama_stack(body: str, *, strict: bool = True) -> list[Any]:
    """Return what llama-stack-client yields; `strict` makes it refuse what its classes lack."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, headers=SSE, text=body))
    client = LlamaStackClient(
        base_url="http://server",
        http_client=httpx.Client(transport=transport),
        _strict_response_validation=strict,
    )
    return list(client.responses.create(model="lightspeed", input="", stream=True))
