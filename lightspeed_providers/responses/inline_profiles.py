"""The lines of profiles that stand in the run configuration itself, for faults in them."""

from functools import lru_cache
from pathlib import Path

from lightspeed_providers.responses.profiles.loading import inline_source
from lightspeed_providers.responses.profiles.sources import (
    Place,
    ProfileFaults,
    Source,
    read_mapping,
)
from lightspeed_providers.run_configuration import configuration_path

PROVIDER_TYPE = "inline::lightspeed-responses"


def source_in_run_configuration(number: int) -> Source:
    """Return where a profile stands in this server's file; without lines where there is none."""
    path = configuration_path()
    found = _profiles_in(str(path), path.stat().st_mtime_ns) if path is not None else None
    place, source = found or ((), None)
    if source is None or (*place, number) not in source.lines:
        return inline_source(number)
    return source.within((*place, number))


@lru_cache(maxsize=1)
def _profiles_in(path: str, _changed: int) -> tuple[Place, Source] | None:
    try:
        run, source = read_mapping(Path(path))
        listed = run["providers"]["responses"]
        ours = next(n for n, p in enumerate(listed) if p["provider_type"] == PROVIDER_TYPE)
    except (ProfileFaults, KeyError, TypeError, StopIteration):
        return None
    return ("providers", "responses", ours, "config", "profiles"), source
