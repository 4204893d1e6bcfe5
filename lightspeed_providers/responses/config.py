"""Configuration of `inline::lightspeed-responses`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import llama_stack
from llama_stack.providers.inline.responses.builtin.config import BuiltinResponsesImplConfig
from llama_stack_api import CreateResponseRequest
from pydantic import ConfigDict, Field, field_validator

from lightspeed_providers.core.paths import state_dir
from lightspeed_providers.responses.doors.config import SideDoors
from lightspeed_providers.responses.inline_profiles import source_in_run_configuration
from lightspeed_providers.responses.profiles.choosing import Profiles
from lightspeed_providers.responses.profiles.config import ProfileConfig
from lightspeed_providers.responses.profiles.loading import inline_profile, loaded_profiles

_PACKAGED = "llama_stack/distributions/lightspeed/profiles"
"""Where the wheel puts the distribution's own profiles."""


class LightspeedResponsesConfig(BuiltinResponsesImplConfig):
    """Configuration of the governed Responses API; the stock provider's fields come first."""

    model_config = ConfigDict(extra="forbid")

    default_model: str = Field(
        min_length=1,
        description="Model, as `provider/model`, that answers where a request asks for the alias.",
    )
    model_alias: str = Field(
        default="lightspeed",
        description="Model name by which a client asks for whatever the operator chose.",
    )
    system_prompt: str = Field(
        default="You are a helpful assistant",
        description="What the model is told first where neither the request nor the profile says; "
        "an empty text tells it nothing.",
    )
    profiles: list[str | ProfileConfig] = Field(
        default_factory=list,
        description="The profiles that there are: names of files in `profiles` under the state "
        "directory or in the distribution, paths of files and directories, or profiles themselves; "
        "names and paths may be one text, separated by commas.",
    )
    default_profile: str | None = Field(
        default=None,
        description="Name of the profile that holds where a request chooses none; the first where "
        "left out.",
    )
    disable_query_system_prompt: bool = Field(
        default=False,
        description="Answer 422 to a request that brings its own `instructions`.",
    )
    shield_id: str = Field(
        default="lightspeed",
        description="Registered shield whose provider holds the shield policy.",
    )
    user_header: str | None = Field(
        default=None,
        description="Header that names the user where the server authenticates nobody; only a "
        "proxy that you trust may be able to set it.",
    )
    max_question_chars: int = Field(
        default=32_000,
        ge=1,
        description="A request with more characters of input is answered 413.",
    )
    hold_first_event_s: float = Field(
        default=2.0,
        ge=0,
        description="Seconds for which the first events of a stream wait for the model: a fault "
        "that comes meanwhile is an HTTP status, a later one ends the stream.",
    )
    shutdown_grace_s: float = Field(
        default=20.0,
        ge=0,
        description="Seconds for which a server that is told to stop lets answers finish; then "
        "they end as cancelled ones do, and are recorded.",
    )
    checkpoint_chars: int = Field(
        default=200,
        ge=40,
        description="Shields that can't scan are asked about streamed text at the first sentence "
        "end, then at most once for so many characters.",
    )
    side_doors: SideDoors = Field(
        default=SideDoors.GUARDED,
        description="`/v1/chat/completions` and `/v1/completions` reach the same models: `guarded` "
        "answers there through the shields of the default profile, `closed` answers 403.",
    )

    @field_validator("profiles", mode="before")
    @classmethod
    def _entries(cls, given: Any) -> Any:  # Any: YAML
        """Take one text for several, and check profiles that stand here as files are checked."""
        if given is None:
            return []
        if isinstance(given, str):
            return [entry.strip() for entry in given.split(",") if entry.strip()]
        if not isinstance(given, list):
            return given
        return [
            inline_profile(entry, source_in_run_configuration(number))
            if isinstance(entry, dict)
            else entry
            for number, entry in enumerate(given)
        ]

    @classmethod
    def sample_run_config(cls, __distro_dir__: str = "", **kwargs: Any) -> dict[str, Any]:
        """Return what the distribution template writes into the run configuration."""
        return {
            **super().sample_run_config(__distro_dir__),
            "default_model": "${env.LIGHTSPEED_MODEL:=llama-cpp/gemma-3-270m}",
            "side_doors": "${env.LIGHTSPEED_SIDE_DOORS:=guarded}",
            "profiles": "${env.LIGHTSPEED_PROFILES:=django}",
            "default_profile": "${env.LIGHTSPEED_PROFILE:=}",
            "user_header": "${env.LIGHTSPEED_USER_HEADER:=}",
        }


def opened_profiles(config: LightspeedResponsesConfig) -> Profiles:
    """Return the configured profiles; raises a `ConfigurationError` with a file and a line."""
    loaded = loaded_profiles(config.profiles, profile_places(), source_in_run_configuration)
    profiles = Profiles(loaded, config.default_profile, config.system_prompt)
    profiles.check(frozenset(CreateResponseRequest.model_fields), datetime.now(UTC).date())
    return profiles


def profile_places() -> tuple[Path, Path]:
    """Return the directories in which a profile's name is looked up, the operator's own first."""
    packaged = Path(llama_stack.__file__).parents[1] / _PACKAGED
    return state_dir() / "profiles", packaged
