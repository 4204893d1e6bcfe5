"""Settings of the collector."""

import ipaddress
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from lightspeed_providers.core.paths import state_dir

_TOKEN = re.compile(r"[\x21-\x7e]+")


class Destination(StrEnum):
    """How an archive travels, and what the server answers when it took it."""

    RAW = "raw"
    MULTIPART = "multipart"


def _as_text(value: object) -> object:
    # YAML reads a token or a service of digits only as a number.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class CollectorConfig(BaseModel):
    """What is collected, where it goes, and when."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    enabled: bool = Field(default=True, description="Whether anything is collected at all.")
    ingress_server_url: str | None = Field(
        default=None, description="Where archives are posted to; required."
    )
    ingress_server_auth_token: SecretStr | None = Field(
        default=None,
        description="Bearer token; from the environment or the file of settings, never an option.",
    )
    ingress_server_auth_token_file: Path | None = Field(
        default=None,
        description="File that holds the bearer token; read again in every round.",
    )
    ingress_content_service_name: Annotated[str | None, BeforeValidator(_as_text)] = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$",
        description="Service in the content type "
        "`application/vnd.redhat.<service>.periodic+tar`; required.",
    )
    destination: Destination = Field(
        default=Destination.RAW,
        description="raw: the archive is the body, any answer 2xx accepts it. multipart: it is "
        "the form's field `file`, only 202 with a `request_id` accepts it.",
    )
    allow_token_over_http: bool = Field(
        default=False,
        description="Send the token over plain http to another machine: anyone between can read "
        "it.",
    )
    transcripts_storage: Path | None = Field(
        default=None, description="Directory of the transcripts, as the server's setting."
    )
    feedback_storage: Path | None = Field(
        default=None, description="Directory of the feedback, as the server's setting."
    )
    collection_interval: float = Field(
        default=7200, gt=0, le=31_536_000, description="Seconds between two rounds."
    )
    retry_interval: float = Field(
        default=300, gt=0, le=31_536_000, description="Seconds until the round after a failed one."
    )
    cleanup_after_send: bool = Field(
        default=True,
        description="Remove what the server accepted. Otherwise it stays, is remembered, and is "
        "sent again only when it changes.",
    )
    max_archive_bytes: int = Field(
        default=100_000_000,
        ge=10_000,
        description="Size of an archive, compressed; what is beyond goes into the next one.",
    )
    max_file_bytes: int = Field(
        default=1_000_000_000,
        ge=1,
        description="A larger file stays and is told; one larger than an archive goes alone.",
    )
    archive_directory: Path | None = Field(
        default=None,
        validate_default=True,
        description="Where an archive lies while it is sent, on a disk that holds one; by default "
        "`collect` in the state directory.",
    )
    connection_timeout: Seconds = Field(
        default=30, description="Seconds until a connection stands."
    )
    write_timeout: Seconds = Field(
        default=60, description="Seconds without the server taking more of an archive."
    )
    read_timeout: Seconds = Field(
        default=300, description="Seconds without an answer once it has the archive."
    )
    attempts: int = Field(
        default=5,
        ge=1,
        le=100,
        description="Requests for one archive in a round, when the connection fails or the server "
        "answers 408, 429 or 5xx; the wait doubles from 1 to 60 s, with jitter.",
    )
    lock_timeout: float = Field(
        default=600,
        ge=0,
        le=86_400,
        description="Seconds to wait for another collector of the same storage.",
    )

    @field_validator("ingress_server_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = _split(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            raise ValueError("it is no address of a server: write https://host/path")
        if parts.username is not None or parts.password is not None:
            raise ValueError("it holds a user or password: use ingress_server_auth_token_file")
        return url

    @field_validator("ingress_server_auth_token", mode="before")
    @classmethod
    def _token_as_text(cls, value: object) -> object:
        return _as_text(value)

    @field_validator("ingress_server_auth_token")
    @classmethod
    def _is_a_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not is_token(token.get_secret_value()):
            raise ValueError("it is empty or holds spaces, line ends or signs beyond ASCII")
        return token

    @field_validator("transcripts_storage", "feedback_storage", "archive_directory")
    @classmethod
    def _is_absolute(cls, path: Path | None) -> Path | None:
        if path is not None and "\x00" in str(path):
            raise ValueError("it is no path")
        return None if path is None else path.expanduser().absolute()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.enabled:
            return self
        if self.ingress_server_url is None:
            raise ValueError("ingress_server_url is missing: set it or LIGHTSPEED_INGRESS_URL")
        if self.ingress_content_service_name is None:
            raise ValueError(
                "ingress_content_service_name is missing: set it or LIGHTSPEED_INGRESS_SERVICE"
            )
        self._check_storages()
        self._check_token(_split(self.ingress_server_url))
        return self

    def _check_storages(self) -> None:
        storages = [one.resolve() for _, one in self.storages()]
        if not storages:
            raise ValueError(
                "transcripts_storage and feedback_storage are missing: set at least one"
            )
        for one in storages:
            if sum(one == other or one in other.parents for other in storages) > 1:
                raise ValueError(
                    "transcripts_storage and feedback_storage lie within each other: "
                    "use two directories beside each other"
                )

    def _check_token(self, url: SplitResult) -> None:
        if self.ingress_server_auth_token and self.ingress_server_auth_token_file:
            raise ValueError("a token and a token file are set: leave one out")
        has_token = self.ingress_server_auth_token or self.ingress_server_auth_token_file
        if (
            has_token
            and url.scheme == "http"
            and not is_loopback(url.hostname or "")
            and not self.allow_token_over_http
        ):
            raise ValueError(
                f"the token would go to {url.hostname} readable by anyone between: use https, or "
                "set allow_token_over_http"
            )

    def storages(self) -> list[tuple[str, Path]]:
        """The directories that are set, each with what its archives are called."""
        named = (("feedback", self.feedback_storage), ("transcripts", self.transcripts_storage))
        return [(name, path) for name, path in named if path is not None]

    @property
    def archives(self) -> Path:
        """Where archives lie while they are sent."""
        return self.archive_directory or state_dir().absolute() / "collect"

    @property
    def shown_url(self) -> str:
        """The destination without what may be secret in it."""
        parts = _split(self.ingress_server_url or "")
        return f"{parts.scheme}://{parts.netloc}{parts.path}"


def is_token(text: str) -> bool:
    """Whether the text can be a bearer token."""
    return _TOKEN.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Whether what is sent to the host stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split(url: str) -> SplitResult:
    if any(sign <= " " or sign == "\x7f" for sign in url):
        raise ValueError("it holds spaces or control characters")
    parts = urlsplit(url)
    _ = parts.port  # raises ValueError where it is no number
    return parts
