"""Which shields a changed configuration needs anew, and what becomes of the others."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.self_test import Result, complaint, self_test
from lightspeed_providers.safety.shields.base import Models, ShieldOptions

log = logging.getLogger(__name__)

_IN_USE_S = 900.0
"""Seconds after which no text is left that was begun with a shield out of use."""

type Marks = Mapping[Path, tuple[int, int, int, int] | None]
"""What tells a file from another one under the same name; None where there is none."""


async def rebuilt(
    config: LightspeedShieldsConfig,
    changed: frozenset[str],
    before: Mapping[str, ConfiguredShield],
    models: Models,
) -> list[ConfiguredShield]:
    """Return the shields of a configuration, the unchanged ones as they are, all others tested.

    Raises a `ConfigurationError` where one fails its self-test. One that can't be asked now is
    taken: its `on_error` says what becomes of texts.
    """
    new = {
        name: await asyncio.to_thread(_built, name, options, models)
        for name, options in config.shields.items()
        if name in changed or name not in before
    }
    outcomes = await self_test(list(new.values()))
    if (line := complaint(outcomes)) is not None:
        await asyncio.gather(*(s.shield.aclose() for s in new.values()), return_exceptions=True)
        raise ConfigurationError(line)
    for shield_id in dict.fromkeys(o.shield_id for o in outcomes if o.result is Result.NOT_RUN):
        log.warning("Shield %s is not tested: it can't be asked now", shield_id)
    return [new.get(name) or before[name] for name in config.shields]


def changed_shields(
    old: LightspeedShieldsConfig,
    new: LightspeedShieldsConfig,
    before: Marks,
    after: Marks,
) -> frozenset[str]:
    """Return the shields that are new, or whose options or files are not what they were."""
    return frozenset(
        name
        for name, options in new.shields.items()
        if options != old.shields.get(name)
        or any(before.get(file) != after.get(file) for file in options.files)
    )


def _built(name: str, options: ShieldOptions, models: Models) -> ConfiguredShield:
    return ConfiguredShield(name, options, options.build(models))


def unused(
    before: Iterable[ConfiguredShield], after: Iterable[ConfiguredShield]
) -> list[ConfiguredShield]:
    """Return the shields that a reload has put out of use, to be closed when nobody asks them."""
    kept = {id(configured.shield) for configured in after}
    return [configured for configured in before if id(configured.shield) not in kept]


def retire(shields: Iterable[ConfiguredShield], after_s: float = _IN_USE_S) -> None:
    """Close shields out of use once the texts that began with them must have ended."""
    for configured in shields:
        closing = asyncio.create_task(_closed_later(configured, after_s))
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()


async def _closed_later(configured: ConfiguredShield, after_s: float) -> None:
    try:
        await asyncio.sleep(after_s)
    finally:
        await configured.shield.aclose()
