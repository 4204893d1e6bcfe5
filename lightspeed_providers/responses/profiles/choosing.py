"""Which profile holds for a request, and what the model is told first by it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from lightspeed_providers.core.errors import ConfigurationError, UnprocessableError
from lightspeed_providers.responses.profiles.config import ANY_SHIELD, ProfileConfig
from lightspeed_providers.responses.profiles.loading import LoadedProfile
from lightspeed_providers.responses.profiles.locales import locale_of
from lightspeed_providers.responses.profiles.sources import (
    BrokenProfilesError,
    Fault,
    Place,
    Source,
)
from lightspeed_providers.responses.profiles.templates import (
    RENDERING_FAULTS,
    TemplateFault,
    as_variables,
    check,
    rendered,
    version_of,
)
from lightspeed_providers.responses.retrieval_config import RetrievalConfig

METADATA_KEY = "profile"
NO_PROFILE = ProfileConfig(name="none", retrieval=RetrievalConfig(mode="off"))
"""What holds where the operator has configured none: no passages, every shield."""

_CONFIGURATION = Source("the run configuration")


@dataclass(frozen=True)
class ProductPrompt:
    """What the model is told first on a day, for a locale, and by which version."""

    text: str
    version: str


class Profiles:
    """The profiles that there are, by name."""

    def __init__(
        self, profiles: Sequence[LoadedProfile], default: str | None, system_prompt: str = ""
    ) -> None:
        loaded = profiles or [LoadedProfile(NO_PROFILE, _CONFIGURATION)]
        self._by_name = {p.config.name: p.config for p in loaded}
        self._sources = {p.config.name: p.source for p in loaded}
        self._default = default or next(iter(self._by_name))
        self._system_prompt = system_prompt
        if self._default not in self._by_name:
            raise ConfigurationError(
                f"Default profile '{self._default}' does not exist: add it to `profiles`, or "
                f"choose from {', '.join(sorted(self._by_name))}."
            )

    @property
    def all(self) -> tuple[ProfileConfig, ...]:
        """Every profile."""
        return tuple(self._by_name.values())

    @property
    def refusals(self) -> frozenset[str]:
        """Every text that a profile lets a blocked turn be answered with."""
        return frozenset(text for profile in self.all for text in profile.refusals.values())

    def chosen(self, metadata: Mapping[str, str] | None) -> ProfileConfig:
        """Return the profile that a request's metadata names, or the default."""
        name = (metadata or {}).get(METADATA_KEY, self._default)
        profile = self._by_name.get(name)
        if profile is None or not (profile.selectable or name == self._default):
            offered = {p.name for p in self.all if p.selectable} | {self._default}
            raise UnprocessableError(
                f"Profile '{name}' in `metadata` does not exist: "
                f"choose from {', '.join(sorted(offered))}."
            )
        return profile

    def named(self, name: str) -> ProfileConfig:
        """Return a profile, whether or not requests may choose it."""
        if name not in self._by_name:
            raise ConfigurationError(
                f"Profile '{name}' does not exist: choose from {', '.join(sorted(self._by_name))}."
            )
        return self._by_name[name]

    def prompt(
        self, profile: ProfileConfig, metadata: Mapping[str, str] | None, day: date
    ) -> ProductPrompt:
        """Return a profile's prompt, or the configured one where it has none."""
        template = self._template(profile)
        variables = as_variables(profile.variables)
        locale = locale_of(metadata, profile.locale)
        try:
            text = rendered(template, variables, day, locale)
        except RENDERING_FAULTS:  # it knows the profile's own locale, as was checked at start
            text = rendered(template, variables, day, profile.locale)
        return ProductPrompt(text, version_of(template, variables))

    def check(self, request_fields: frozenset[str], day: date) -> None:
        """Raise a `ConfigurationError` where a prompt can't be rendered or a locked field is none.

        Names and types were right already.
        """
        faults: list[Fault] = []
        for profile in self.all:
            faults += self._prompt_faults(profile, day)
            for number, name in enumerate(profile.locked):
                if name not in request_fields:
                    said = f"`{name}` is no field of a request: see `POST /v1/responses`"
                    faults.append(self._sources[profile.name].fault(("locked", number), said))
        if faults:
            raise BrokenProfilesError(faults)

    def check_shields(self, shields: frozenset[str]) -> None:
        """Raise a `ConfigurationError` where a profile names a shield that is not one of these."""
        faults = [fault for profile in self.all for fault in self._shield_faults(profile, shields)]
        if faults:
            raise BrokenProfilesError(faults)

    def _shield_faults(self, profile: ProfileConfig, shields: frozenset[str]) -> Iterator[Fault]:
        named: list[tuple[Place, str]] = [
            (("shields", direction.value, number), name)
            for direction, names in profile.shields.by_direction().items()
            for number, name in enumerate(names)
        ]
        named += [(("refusals", name), name) for name in profile.refusals if name != ANY_SHIELD]
        for place, name in named:
            if name not in shields:
                said = f"shield '{name}' does not exist: choose from {', '.join(sorted(shields))}"
                yield self._sources[profile.name].fault(place, said)

    def _template(self, profile: ProfileConfig) -> str:
        return profile.system_prompt or self._system_prompt

    def _prompt_faults(self, profile: ProfileConfig, day: date) -> list[Fault]:
        try:
            check(self._template(profile), as_variables(profile.variables), day, profile.locale)
        except TemplateFault as fault:
            return [self._prompt_fault(profile, fault)]
        return []

    def _prompt_fault(self, profile: ProfileConfig, fault: TemplateFault) -> Fault:
        if profile.system_prompt_file is not None:
            return Fault(str(profile.system_prompt_file), fault.line, str(fault))
        if profile.system_prompt is None:
            said = f"`system_prompt`, which profile '{profile.name}' goes by: {fault}"
            return _CONFIGURATION.fault((), said)
        return self._sources[profile.name].fault(("system_prompt",), str(fault), within=fault.line)
