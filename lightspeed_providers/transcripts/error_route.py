"""Errors of the transcripts routes, in the OpenAI shape and with the status that they mean.

The server's own handlers turn every invalid request into a 400 and print a stack trace for
exceptions that they don't know by type, also for a plain 404.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from llama_stack_api.common.errors import OpenAIErrorResponse

from lightspeed_providers.core.errors import LightspeedError


class ErrorRoute(APIRoute):
    """A route whose known errors become answers: 422 for a wrong body, 400 for a wrong address."""

    def get_route_handler(
        self,
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:  # Any: as FastAPI declares it
        """The handler with its errors answered."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return _answer(*_explain(error))
            except LightspeedError as error:
                return _answer(error.status_code, str(error))

        return answer


def _explain(error: RequestValidationError) -> tuple[int, str]:
    faults = error.errors()
    status = 422 if any(fault["loc"][:1] == ("body",) for fault in faults) else 400
    return status, "Invalid request: " + "; ".join(_fault(fault) for fault in faults[:5]) + "."


def _fault(fault: dict[str, Any]) -> str:  # Any: as pydantic declares it
    where = ".".join(str(part)[:50] for part in fault["loc"][1:])
    what = str(fault["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def _answer(status: int, message: str) -> JSONResponse:
    printable = message.encode("utf-8", "replace").decode("utf-8")
    return JSONResponse(
        status_code=status, content=OpenAIErrorResponse.from_message(printable).to_dict()
    )
