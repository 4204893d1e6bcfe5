"""Errors of HTTP routes: one clear line, OpenAI-shaped, with the status that they mean.

The host's own handlers answer some errors as `{"detail": …}`, and for others print a stack trace
that holds the request's values, user text included.
"""

import math
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from lightspeed_providers.core.client_gone import unless_client_goes
from lightspeed_providers.core.errors import LightspeedError, code_of


class Fault(NamedTuple):
    """What a client is told of an error."""

    status: int
    message: str
    code: str | None = None
    retry_after_s: float | None = None


Explain = Callable[[Exception], Fault | None]
"""Gives an exception's status and line; None where it is not known and must go on up."""


def explain_status_code(fault: Exception) -> Fault | None:
    """Return the status that an exception carries itself, as a `LightspeedError` does."""
    ours = untranslated(fault)
    if isinstance(ours, LightspeedError):
        return Fault(ours.status_code, str(ours), ours.code, ours.retry_after_s)
    if isinstance(fault, HTTPException):
        detail = fault.detail
        return Fault(fault.status_code, detail if isinstance(detail, str) else "Invalid request.")
    status = getattr(fault, "status_code", None)
    return Fault(int(status), str(fault)) if isinstance(status, int) else None


def untranslated(fault: Exception) -> Exception:
    """Return what the host's own routes have made an `HTTPException` of, which knows less."""
    cause = fault.__cause__
    if isinstance(fault, HTTPException) and isinstance(cause, Exception):
        return cause
    return fault


def answering(
    route: type[APIRoute], *, invalid_body: int, explain: Explain = explain_status_code
) -> type[APIRoute]:
    """Return a route class that answers known errors itself.

    `invalid_body` is the status for a body that breaks its schema; other invalid values are 400.
    """

    class Answering(route):  # type: ignore[misc, valid-type]  # a class given as a value
        def get_route_handler(
            self,
        ) -> Callable[[Request], Coroutine[Any, Any, Response]]:  # Any: as FastAPI declares it
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                try:
                    return await unless_client_goes(request, handle)
                except RequestValidationError as fault:
                    return error_response(*_invalid(fault, invalid_body))
                except Exception as fault:
                    known = explain(fault)
                    if known is None:
                        raise
                    return error_response(*known)

            return answer

    return Answering


def error_response(
    status: int, message: str, code: str | None = None, retry_after_s: float | None = None
) -> JSONResponse:
    """Return an error as OpenAI clients read it; they wait for as long as `Retry-After` says."""
    printable = message.encode("utf-8", "replace").decode("utf-8")
    headers = None if retry_after_s is None else {"Retry-After": str(math.ceil(retry_after_s))}
    error = {"message": printable, "type": code_of(status), "code": code or code_of(status)}
    return JSONResponse(status_code=status, content={"error": error}, headers=headers)


def _invalid(fault: RequestValidationError, invalid_body: int) -> Fault:
    faults = fault.errors()
    in_body = any(f["loc"][:1] == ("body",) for f in faults)
    line = "; ".join(dict.fromkeys(_line(f) for f in faults[:5]))
    return Fault(invalid_body if in_body else 400, f"Invalid request: {line}.")


def _line(fault: dict[str, Any]) -> str:  # Any: as pydantic declares it
    where = ".".join(str(part)[:50] for part in fault["loc"][1:])
    what = str(fault["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
