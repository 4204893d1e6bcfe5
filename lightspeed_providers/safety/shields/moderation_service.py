"""A service with OpenAI's moderations format, asked about many texts in one request."""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from lightspeed_providers.core.errors import UnavailableError

_MOST_ANSWER_BYTES = 1_000_000
"""Many times what 32 results take; a service that sends more sends something else."""
_CONNECTIONS = 8

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_/ .:-]{1,64}$")]
"""Names of categories are shown to operators, so they may not hold a text."""
_Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Moderated(BaseModel):
    """What the service says of one text."""

    model_config = ConfigDict(extra="ignore", strict=True)

    flagged: bool
    categories: dict[_Name, bool | None] = Field(default_factory=dict)
    category_scores: dict[_Name, _Score | None] = Field(default_factory=dict)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    results: list[Moderated]


class ModerationService:
    """One pooled connection to the service; belongs to the event loop it is made in.

    Every fault is one line that names the service's host and no text, and has the status 503: the
    service's own 429 is not the caller's.
    """

    def __init__(
        self, url: str, *, api_key: SecretStr | None, model: str | None, timeout_s: float
    ) -> None:
        self._url = url
        self._host = urlsplit(url).hostname or ""
        self._model = model
        key = api_key.get_secret_value() if api_key else ""
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=_CONNECTIONS),
            follow_redirects=False,
        )

    async def moderate(self, texts: Sequence[str]) -> list[Moderated]:
        """Return one result a text, in their order."""
        request = {"input": list(texts)} | ({"model": self._model} if self._model else {})
        try:
            async with self._client.stream("POST", self._url, json=request) as response:
                if response.status_code != 200:
                    raise self._fault(f"answered with status {response.status_code}")
                body = await self._body(response)
        except httpx.TimeoutException:
            raise self._fault("did not answer in time") from None
        except httpx.HTTPError as fault:
            raise self._fault(f"can't be reached ({type(fault).__name__})") from None
        try:
            results = _Answer.model_validate_json(body).results
        except ValidationError:
            raise self._fault("gave an answer that is no moderation") from None
        if len(results) != len(texts):
            raise self._fault(f"gave {len(results)} results for {len(texts)} texts")
        return results

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _MOST_ANSWER_BYTES:
                raise self._fault(f"answered with more than {_MOST_ANSWER_BYTES} bytes")
        return bytes(body)

    def _fault(self, what: str) -> UnavailableError:
        return UnavailableError(f"Moderation service at {self._host} {what}.")
