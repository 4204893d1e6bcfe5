"""Which profile holds for a request."""

from collections.abc import Mapping, Sequence

from lightspeed_providers.core.errors import ConfigurationError, UnprocessableError
from lightspeed_providers.responses.profiles.config import ProfileConfig
from lightspeed_providers.responses.retrieval_config import RetrievalConfig

METADATA_KEY = "profile"
NO_PROFILE = ProfileConfig(name="none", retrieval=RetrievalConfig(mode="off"))
"""What holds where the operator has configured none: no prompt, no passages, every shield."""


class Profiles:
    """The profiles that there are, by name."""

    def __init__(self, profiles: Sequence[ProfileConfig], default: str | None) -> None:
        self._by_name = {p.name: p for p in profiles} or {NO_PROFILE.name: NO_PROFILE}
        self._default = default or next(iter(self._by_name))
        if self._default not in self._by_name:
            raise ConfigurationError(
                f"Default profile '{self._default}' does not exist: "
                f"choose from {', '.join(sorted(self._by_name))}."
            )

    @property
    def all(self) -> tuple[ProfileConfig, ...]:
        """Every profile."""
        return tuple(self._by_name.values())

    def chosen(self, metadata: Mapping[str, str] | None) -> ProfileConfig:
        """Return the profile that a request's metadata names, or the default."""
        name = (metadata or {}).get(METADATA_KEY, self._default)
        if name not in self._by_name:
            raise UnprocessableError(
                f"Profile '{name}' in `metadata` does not exist: "
                f"choose from {', '.join(sorted(self._by_name))}."
            )
        return self._by_name[name]
