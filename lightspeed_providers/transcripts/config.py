"""Settings of the transcripts provider."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from llama_stack.core.storage.datatypes import SqlStoreReference
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator


class Durability(StrEnum):
    """When a finished turn lets its request go."""

    QUEUED = "queued"
    STRICT = "strict"


def _names(value: object) -> object:
    # An environment variable holds a list as text with commas; an empty one arrives as None.
    if value is None:
        return []
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return value


def _unset_if_empty(value: object) -> object:
    return None if value == "" else value


Roles = Annotated[list[str], BeforeValidator(_names)]
Directory = Annotated[Path | None, BeforeValidator(_unset_if_empty)]
Limit = Annotated[int | None, BeforeValidator(_unset_if_empty)]


class KeepConfig(BaseModel):
    """How long one kind of data is kept."""

    model_config = ConfigDict(extra="forbid")

    max_age_days: Limit = Field(
        default=None, ge=1, le=36_500, description="Older ones are removed; empty keeps all."
    )
    max_count: Limit = Field(
        default=None, ge=1, description="The oldest beyond these are removed; empty keeps all."
    )


class RetentionConfig(BaseModel):
    """What is removed by itself, in the background; an audit line says that it was."""

    model_config = ConfigDict(extra="forbid")

    turns: KeepConfig = Field(
        default_factory=KeepConfig,
        description="Turns, with the feedback, responses and conversation items that hold them.",
    )
    feedback: KeepConfig = Field(default_factory=KeepConfig, description="Feedback.")
    interval_s: float = Field(
        default=600.0, ge=1, le=86_400, description="Seconds between two looks."
    )


class LightspeedTranscriptsConfig(BaseModel):
    """What is recorded, where it is kept, for how long, and who may see it."""

    model_config = ConfigDict(extra="forbid")

    transcripts_enabled: bool = Field(default=True, description="Whether turns are recorded.")
    feedback_enabled: bool = Field(
        default=True,
        description="Whether feedback is taken; PUT /v1/feedback/status changes it until restart.",
    )
    transcripts_storage: Directory = Field(
        default=None,
        description="Directory into which every turn is also written as a JSON file, for an "
        "exporter or `lightspeed collect`; empty writes none.",
    )
    feedback_storage: Directory = Field(
        default=None,
        description="Directory into which all feedback is also written, one JSON file each; "
        "empty writes none.",
    )
    export_interval_s: float = Field(
        default=5.0,
        gt=0,
        le=3600,
        description="Seconds after which what is new is written into these directories.",
    )
    reader_roles: Roles = Field(
        default_factory=list,
        description="Roles (the user's attribute `roles`) that see every user's turns, feedback "
        "and the audit; separated by commas in a variable.",
    )
    admin_roles: Roles = Field(
        default_factory=list,
        description="Roles that also delete other users' data and switch feedback. Where the "
        "server authenticates nobody, anyone may switch feedback.",
    )
    retention: RetentionConfig = Field(
        default_factory=RetentionConfig, description="What is removed by itself."
    )
    store: SqlStoreReference = Field(
        default=SqlStoreReference(backend="sql_default", table_name="lightspeed_turns"),
        description="SQL backend of storage.backends (SQLite or PostgreSQL) and the table of the "
        "turns; the other tables have its name and a suffix.",
    )
    durability: Durability = Field(
        default=Durability.QUEUED,
        description="queued: a finished turn is written shortly after its answer. "
        "strict: the answer also waits until the turn is on disk, at most write_timeout_s.",
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
        default=3.0,
        gt=0,
        le=4.0,
        description="How long shutdown tries to write what is queued before it puts the rest into "
        "a file, from which the next start goes on; Llama Stack allows 5 seconds in all.",
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
            "transcripts_enabled": "${env.LIGHTSPEED_TRANSCRIPTS_ENABLED:=true}",
            "feedback_enabled": "${env.LIGHTSPEED_FEEDBACK_ENABLED:=true}",
            "transcripts_storage": "${env.LIGHTSPEED_TRANSCRIPTS_STORAGE:=}",
            "feedback_storage": "${env.LIGHTSPEED_FEEDBACK_STORAGE:=}",
            "reader_roles": "${env.LIGHTSPEED_READER_ROLES:=}",
            "admin_roles": "${env.LIGHTSPEED_ADMIN_ROLES:=}",
            "retention": {
                "turns": {
                    "max_age_days": "${env.LIGHTSPEED_TRANSCRIPTS_MAX_AGE_DAYS:=}",
                    "max_count": "${env.LIGHTSPEED_TRANSCRIPTS_MAX_COUNT:=}",
                },
                "feedback": {
                    "max_age_days": "${env.LIGHTSPEED_FEEDBACK_MAX_AGE_DAYS:=}",
                    "max_count": "${env.LIGHTSPEED_FEEDBACK_MAX_COUNT:=}",
                },
            },
            "store": {
                "backend": "${env.LIGHTSPEED_TRANSCRIPTS_BACKEND:=sql_transcripts}",
                "table_name": "lightspeed_turns",
            },
            "durability": "${env.LIGHTSPEED_TRANSCRIPTS_DURABILITY:=queued}",
            "user_id_secret": "${env.LIGHTSPEED_USER_ID_KEY:=}",
        }
