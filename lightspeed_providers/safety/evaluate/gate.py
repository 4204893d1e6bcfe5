"""The least quality, or the most false alarms, that a pipeline asks for."""

import re
from dataclasses import dataclass

from lightspeed_providers.core.errors import ConfigurationError, InvalidRequestError
from lightspeed_providers.safety.evaluate.rates import Rate
from lightspeed_providers.safety.evaluate.redactions import ALL
from lightspeed_providers.safety.evaluate.results import Results

METRICS = ("precision", "recall", "false_positives")
_ASKED = re.compile(r"(?:([^:=]+):)?(\w+)=(\d*\.?\d+)")


@dataclass(frozen=True, slots=True)
class Gate:
    """A share, and the least or most that it may be."""

    metric: str
    limit: float
    is_least: bool
    entity: str = ""


def read_gate(text: str, *, is_least: bool) -> Gate:
    """Return the gate of a text as `recall=0.9` or, of an entity, `EMAIL:recall=0.98`."""
    found = _ASKED.fullmatch(text.strip())
    if found is None or found[2] not in METRICS or float(found[3]) > 1:
        raise InvalidRequestError(
            f"'{text}' is no gate: write METRIC=NUMBER with one of {', '.join(METRICS)} and a "
            "number from 0 to 1, as recall=0.9 or EMAIL:recall=0.98."
        )
    return Gate(found[2], float(found[3]), is_least, found[1] or "")


def missed(gate: Gate, results: Results) -> str | None:
    """Return one line where the results miss a gate, None where they pass."""
    told = _rate(gate, results)
    if told is None or told.share is None:
        raise ConfigurationError(
            f"Gate {gate.metric}{f' of {gate.entity}' if gate.entity else ''} can't be judged: no "
            "text tells; add such texts or drop the gate."
        )
    if told.share >= gate.limit if gate.is_least else told.share <= gate.limit:
        return None
    side = "below" if gate.is_least else "over"
    of = f" of {gate.entity}" if gate.entity else ""
    return f"{gate.metric}{of} is {told.share:.4f}, {side} the {gate.limit:g} that is asked for."


def _rate(gate: Gate, results: Results) -> Rate | None:
    measured: object | None
    if results.redacted is None:
        measured = results.qualities[0] if not gate.entity else None
    else:
        wanted = gate.entity or ALL
        measured = next((e for e in results.redacted.entities if e.name == wanted), None)
    told = getattr(measured, gate.metric, None)
    return told if isinstance(told, Rate) else None
