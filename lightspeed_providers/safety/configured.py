"""The shields of a run configuration."""

from collections.abc import Mapping
from typing import Any

from lightspeed_providers.run_configuration import provider_settings
from lightspeed_providers.safety.config import LightspeedShieldsConfig

PROVIDER_TYPE = "inline::lightspeed-shields"


def shields_of(
    run: Mapping[str, Any],  # Any: all of the host's settings
    provider_id: str | None = None,
) -> LightspeedShieldsConfig:
    """Return what is configured for a provider of ours, the first where no id is given."""
    settings = provider_settings(run, "safety", PROVIDER_TYPE, provider_id)
    return LightspeedShieldsConfig.model_validate(settings)
