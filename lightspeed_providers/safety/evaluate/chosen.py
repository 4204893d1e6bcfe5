"""Which shields are measured, ready to be asked."""

import sys
from collections.abc import Mapping, Sequence

from lightspeed_providers.core.errors import ConfigurationError, LightspeedError
from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.routing import direction_of
from lightspeed_providers.safety.self_test import patient_answer
from lightspeed_providers.safety.shields.base import Models, ShieldOptions

_PATIENCE_S = 600.0
_WAKING = "What is this, and how does it work?"


def direction_for(names: Sequence[str]) -> Direction:
    """Return the first direction that the first of these shields watches, input where none is."""
    watched = direction_of(names[0]) if names else ()
    return next((direction for direction in Direction if direction in watched), Direction.INPUT)


def chosen_shields(
    shields: Mapping[str, ShieldOptions],
    names: Sequence[str],
    direction: Direction,
    models: Models,
    *,
    replaces: bool,
) -> list[ConfiguredShield]:
    """Return the named shields, or all that watch the direction; those that rewrite or the others.

    Raises in one line where a name is unknown or none is left.
    """
    unknown = [name for name in names if name not in shields]
    if unknown:
        raise ConfigurationError(
            f"Shield '{unknown[0]}' is not configured (there are: {', '.join(shields) or 'none'})."
        )
    wanted = names or [name for name in shields if direction in direction_of(name)]
    built = [ConfiguredShield(name, shields[name], shields[name].build(models)) for name in wanted]
    fitting = [one for one in built if one.shield.replaces is replaces]
    misfit = next((one for one in built if one not in fitting), None)
    if names and misfit is not None:
        what = "`spans` measure shields that rewrite" if replaces else "`block` measures others"
        raise ConfigurationError(
            f"Shield '{misfit.shield_id}' of kind '{misfit.kind}' can't be measured on these "
            f"texts: {what}."
        )
    if not fitting:
        raise ConfigurationError(
            f"No shield {'rewrites' if replaces else 'can block'} texts of direction "
            f"'{direction}': name one with --shield, or choose another --direction."
        )
    return fitting


async def awake(
    shields: Sequence[ConfiguredShield], direction: Direction, *, named: bool
) -> list[ConfiguredShield]:
    """Return the shields that can be asked here, their models loaded.

    One that can't be asked is an error where it was named, and a line on standard error where not.
    """
    able = []
    for configured in shields:
        reason = await _asleep(configured, direction)
        if reason is None:
            able.append(configured)
        elif named:
            raise ConfigurationError(
                f"Shield '{configured.shield_id}' can't be asked here: {reason}."
            )
        else:
            sys.stderr.write(f"Left out: shield '{configured.shield_id}', {reason}\n")
    if not able:
        raise ConfigurationError("None of the shields can be asked here: name others.")
    return able


async def _asleep(configured: ConfiguredShield, direction: Direction) -> str | None:
    try:
        await patient_answer(configured.shield, _WAKING, direction, _PATIENCE_S)
    except TimeoutError:
        return f"no answer within {_PATIENCE_S:g} s"
    except LightspeedError as fault:
        return str(fault).rstrip(".")
    except Exception as fault:  # a model's or a library's own; which, is what can be said
        return type(fault).__name__
    return None
