"""Which texts a shield screens, told by its name."""

from lightspeed_providers.core.verdicts import Direction

_PREFIXES = {
    "input_": frozenset({Direction.INPUT}),
    "output_": frozenset({Direction.OUTPUT}),
    "inout_": frozenset({Direction.INPUT, Direction.OUTPUT}),
    "tool_": frozenset({Direction.TOOL}),
}


def direction_of(shield_id: str) -> frozenset[Direction]:
    """Return the directions that a shield watches; a name without a known prefix means input."""
    return next(
        (directions for prefix, directions in _PREFIXES.items() if shield_id.startswith(prefix)),
        frozenset({Direction.INPUT}),
    )
