"""Settings of the transcripts provider."""

from enum import StrEnum
from typing import Any

from llama_stack.core.storage.datatypes import SqlStoreReference
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class Durability(StrEnum):
    """When a finished turn lets its request go."""

    QUEUED = "queued"
    STRICT = "strict"


class LightspeedTranscriptsConfig(BaseModel):
    """Where turns and feedback are kept, and how long a request may wait for that."""

    model_config = ConfigDict(extra="forbid")

    store: SqlStoreReference = Field(
        default=SqlStoreReference(backend="sql_default", table_name="lightspeed_turns"),
        description="SQL backend of storage.backends (SQLite or PostgreSQL) and the table of the "
        "turns; feedback goes to a second table with the suffix _feedback.",
    )
    durability: Durability = Field(
        default=Durability.STRICT,
        description="queued: a finished turn is written shortly after its answer. "
        "strict: the answer also waits until the turn is committed, at most write_timeout_s.",
    )
    write_timeout_s: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="How long a strict turn waits for its commit; it stays queued after that.",
    )
    max_queued_turns: int = Field(
        default=5000,
        ge=1,
        description="Turns held in memory while the database is slow or away; the newest beyond "
        "that are dropped and counted.",
    )
    max_batch_turns: int = Field(
        default=100, ge=1, description="Turns written in one database transaction."
    )
    drain_timeout_s: float = Field(
        default=4.0,
        gt=0,
        le=4.5,
        description="How long shutdown writes what is queued; Llama Stack allows 5 seconds in all.",
    )
    feedback_enabled: bool = Field(
        default=True,
        description="Whether feedback is taken; PUT /v1/feedback/status changes it until restart.",
    )
    # Llama Stack hides a setting in its log and its routes by words of the name, `secret` is one.
    user_id_secret: SecretStr | None = Field(
        default=None,
        description="Key of the user ids' HMAC-SHA256, 16 characters or more. Without one, a key "
        "is generated once and kept as user_id.key in the state directory.",
    )

    @field_validator("user_id_secret", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        # An environment variable of digits only arrives as a number.
        if value == "":
            return None
        return str(value) if isinstance(value, int | float) else value

    @field_validator("user_id_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("LIGHTSPEED_USER_ID_KEY is shorter than 16 characters: make it longer")
        return value

    @classmethod
    def sample_run_config(
        cls,
        __distro_dir__: str = "",
        **kwargs: Any,  # Any: the host passes whatever a template names
    ) -> dict[str, Any]:
        """The settings as they stand in a generated run configuration."""
        return {
            "store": {"backend": "sql_default", "table_name": "lightspeed_turns"},
            "durability": "${env.LIGHTSPEED_TRANSCRIPTS_DURABILITY:=strict}",
            "user_id_secret": "${env.LIGHTSPEED_USER_ID_KEY:=}",
        }
