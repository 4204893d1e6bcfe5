"""The user that a trusted proxy names in a header, where the server itself authenticates nobody.

Whoever may send the header is any user: the proxy has to set it, or take it away, on every request,
and nobody else may reach the server. The host's own authentication always wins.
"""

import re
import sys
from collections.abc import Iterable
from typing import Any

from llama_stack.core import request_headers
from llama_stack.core.datatypes import User
from starlette.types import Receive, Scope, Send

from lightspeed_providers.core.error_route import error_response
from lightspeed_providers.core.errors import ConfigurationError, InvalidRequestError
from lightspeed_providers.core.principals import ANONYMOUS

MAX_CHARS = 255
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SECRETS = ("authorization", "cookie", "proxy-authorization", "x-llamastack-provider-data")
_USER = "__authenticated_user"  # where the host keeps a request's user


class _Setting:
    """Which header names users in this process; none where empty."""

    header = ""


def know_users_by(header: str) -> None:
    """Take a header's value as the name of a request's user; an empty name switches that off.

    Raises a `ConfigurationError` for what can't be the name of such a header.
    """
    if header and (not _NAME.fullmatch(header) or header.lower() in _SECRETS):
        raise ConfigurationError(
            f"`user_header` '{header}' can't name users: give the name of a header that holds "
            "nothing but a user's name, as X-Forwarded-User."
        )
    _Setting.header = header.lower()


def user_named_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the user that a request's headers name, None where they name nobody.

    Raises an `InvalidRequestError` for a value that can't be a user's name.
    """
    if not _Setting.header:
        return None
    name = _Setting.header.encode()
    values = [value for key, value in headers if key.lower() == name]
    if len(values) > 1:
        raise InvalidRequestError(
            f"Header '{_Setting.header}' is there {len(values)} times: send it once."
        )
    try:
        user = values[0].decode().strip() if values else ""
    except UnicodeDecodeError:
        user = "\0"
    if len(user) > MAX_CHARS or not user.isprintable() or user == ANONYMOUS:
        raise InvalidRequestError(
            f"Header '{_Setting.header}' must hold a user's name of at most {MAX_CHARS} printable "
            f"characters, other than '{ANONYMOUS}'."
        )
    return user or None


def listen_for_users() -> None:
    """Let the host find the named user where it looks for the authenticated one."""
    # Only what is loaded serves: a library client needs no server, and a server no client.
    server = sys.modules.get("llama_stack.core.server.server")
    if server is not None:
        # The server adds its middleware, by this name, after it has asked for our providers.
        server.ProviderDataMiddleware = _listening(server.ProviderDataMiddleware)  # type: ignore[attr-defined]  # a module known by name only
    library = sys.modules.get("llama_stack.core.library_client")
    if library is not None:
        library.request_provider_data_context = _library_context  # type: ignore[attr-defined]  # see above


def _listening(middleware: Any) -> Any:  # Any: the host's middleware class
    if getattr(middleware, "knows_users_by_header", False):
        return middleware

    class Listening(middleware):  # type: ignore[misc]  # a class given as a value
        """Names the user of each request, as the host's authentication does, then goes on."""

        knows_users_by_header = True

        def __init__(self, app: Any) -> None:  # Any: an ASGI application
            async def without_forged_users(scope: Scope, receive: Receive, send: Send) -> None:
                _forget_forged(request_headers.PROVIDER_DATA_VAR.get())
                await app(scope, receive, send)

            super().__init__(without_forged_users)

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:  # Any: as host
            if scope["type"] == "http" and not _authenticated(scope):
                try:
                    user = user_named_in(scope["headers"])
                except InvalidRequestError as fault:
                    await error_response(fault.status_code, str(fault))(scope, receive, send)
                    return None
                if user is not None:
                    scope["principal"] = user
            return await super().__call__(scope, receive, send)

    return Listening


def _authenticated(scope: Scope) -> bool:
    return bool(scope.get("principal") or scope.get("user_attributes"))


def _library_context(headers: dict[str, str], user: User | None = None) -> Any:  # Any: as the host
    """Return the context of a library client's request, which can name its user in its headers."""
    texts = ((k, v) for k, v in headers.items() if isinstance(k, str) and isinstance(v, str))
    named = user_named_in((k.encode(), v.encode()) for k, v in texts)
    if user is None and named is not None:
        user = User(principal=named, attributes={})
    context = request_headers.request_provider_data_context(headers, user)
    _forget_forged(getattr(context, "provider_data", None))
    return context


def _forget_forged(provider_data: object) -> None:
    """Take out a user that a client wrote into the provider data: JSON is never one."""
    if isinstance(provider_data, dict) and not isinstance(provider_data.get(_USER), User):
        provider_data.pop(_USER, None)
