"""Settings of the readiness provider."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class LightspeedReadinessConfig(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def sample_run_config(
        cls,
        __distro_dir__: str = "",
        **kwargs: Any,  # Any: the host passes whatever a template names
    ) -> dict[str, Any]:
        """The settings as they stand in a generated run configuration."""
        return {}
