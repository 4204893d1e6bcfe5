"""An archive streamed to the server, and what counts as accepted."""

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import IO

import httpx
from pydantic import SecretStr

from lightspeed_providers.core.errors import ConfigurationError

from .attempts import AwayError, RefusedError, retry_after
from .config import CollectorConfig, Destination, is_loopback

_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
# Of one archive these speak; another one may be accepted.
_ABOUT_THE_ARCHIVE = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
_ADVICE = {
    HTTPStatus.UNAUTHORIZED: "check the token",
    HTTPStatus.FORBIDDEN: "check the token",
    HTTPStatus.NOT_FOUND: "check ingress_server_url",
    HTTPStatus.METHOD_NOT_ALLOWED: "check ingress_server_url",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "set a smaller max_archive_bytes",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "check ingress_content_service_name",
}
_READ_OF_AN_ANSWER = 65_536


class IngressServer:
    """The operator's server, which takes archives."""

    def __init__(self, client: httpx.Client, config: CollectorConfig) -> None:
        self._client = client
        self._config = config

    def send(self, archive: IO[bytes], name: str) -> str | None:
        """Post an archive once; return where it is accepted, with the server's id of the request.

        A redirect is not followed, as it would take token and archive to a server that nobody
        configured, and is no acceptance.
        """
        archive.seek(0)
        content_type = (
            f"application/vnd.redhat.{self._config.ingress_content_service_name}.periodic+tar"
        )
        url = self._config.ingress_server_url or ""
        if self._config.destination is Destination.MULTIPART:
            files = {"file": (name, archive, content_type)}
            request = self._client.build_request("POST", url, files=files)
        else:
            headers = {"Content-Type": content_type}
            request = self._client.build_request("POST", url, content=archive, headers=headers)
        try:
            answer = self._client.send(request, stream=True)
            try:
                return self._accepted(answer)
            finally:
                answer.close()
        except httpx.TransportError as fault:
            raise AwayError(_told(fault, self._config)) from None

    def _accepted(self, answer: httpx.Response) -> str | None:
        status = answer.status_code
        if self._config.destination is Destination.MULTIPART and status == HTTPStatus.ACCEPTED:
            found = request_id(_begin(answer))
            if found is None:
                raise RefusedError("it answered 202 without a request_id", others_too=True)
            return found
        if self._config.destination is Destination.RAW and answer.is_success:
            return None
        told = f"it answered {shown_status(status)}"
        if status in _AGAIN or answer.is_server_error:
            wait_s = retry_after(answer.headers, datetime.now(UTC))
            raise AwayError(told, wait_s)
        if answer.is_success:
            told += ", which is no 202 with a request_id: check destination"
        elif answer.is_redirect:
            told += ", which is not followed: set ingress_server_url to the final address"
        elif status in _ADVICE:
            told += f": {_ADVICE[HTTPStatus(status)]}"
        raise RefusedError(told, others_too=status not in _ABOUT_THE_ARCHIVE)


@contextmanager
def opened_server(config: CollectorConfig, token: SecretStr | None) -> Iterator[IngressServer]:
    """Be ready to send; the token goes to the configured server only."""
    url = httpx.URL(config.ingress_server_url or "")
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token.get_secret_value()}"
    timeout = httpx.Timeout(
        connect=config.connection_timeout,
        write=config.write_timeout,
        read=config.read_timeout,
        pool=config.connection_timeout,
    )
    # A proxy would read what goes to this machine's own http in the clear.
    proxies = url.scheme == "https" or not is_loopback(url.host)
    try:
        client = httpx.Client(
            headers=headers, timeout=timeout, follow_redirects=False, trust_env=proxies
        )
    except (OSError, ssl.SSLError, ValueError, httpx.InvalidURL, ImportError) as fault:
        raise ConfigurationError(
            f"A connection can't be prepared ({type(fault).__name__}): check SSL_CERT_FILE, "
            "SSL_CERT_DIR and the proxy variables."
        ) from None
    with client:
        yield IngressServer(client, config)


def request_id(body: bytes) -> str | None:
    """The server's id of the request, where its answer holds one."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    name = found.get("request_id") if isinstance(found, dict) else None
    return name if isinstance(name, str) and name.strip() else None


def shown_status(status: int) -> str:
    """The status with the standard's own words; a server's words could hold anything."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _begin(answer: httpx.Response) -> bytes:
    body = b""
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > _READ_OF_AN_ANSWER:
            break
    return body


def _told(fault: httpx.TransportError, config: CollectorConfig) -> str:
    match fault:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return f"no connection stood within {config.connection_timeout:g} s"
        case httpx.WriteTimeout():
            return f"it took nothing of the archive for {config.write_timeout:g} s"
        case httpx.ReadTimeout():
            return f"it gave no answer within {config.read_timeout:g} s"
        case httpx.ConnectError():
            why = re.sub(r"[^\x20-\x7e]+", " ", str(fault))[:200]
            return f"no connection could be made ({why})"
        case httpx.ProxyError():
            return "the proxy refused"
        case _:
            return f"the connection broke ({type(fault).__name__})"
