"""A client that goes away ends what is being done for it."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

Handler = Callable[[Request], Coroutine[Any, Any, Response]]  # Any: as FastAPI declares it

_LONG = re.compile(r"/v1(alpha)?/(responses|chat/completions|completions)")
"""Requests that a model answers; others are over before anybody could go."""

_GONE = 499
"""The status that proxies log for a client that closed its request."""


async def unless_client_goes(request: Request, handle: Handler) -> Response:
    """Return the handler's response; where the client goes first, the handler is cancelled.

    Servers tell this only to who asks, and FastAPI does not before a stream has begun.
    """
    if request.method != "POST" or not _LONG.fullmatch(request.scope["path"]):
        return await handle(request)
    await request.body()  # kept in the request: from now on only the client's going is received
    handling = asyncio.current_task()
    assert handling is not None  # noqa: S101  # for the type checker
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        handling.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await handle(request)
    except asyncio.CancelledError:
        if gone and handling.cancelling() == 1:
            return Response(status_code=_GONE)
        raise
    finally:
        watching.cancel()
        if gone:
            handling.uncancel()
