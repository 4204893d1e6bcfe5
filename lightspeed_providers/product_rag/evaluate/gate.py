"""The least quality that a pipeline asks for."""

import re
from dataclasses import dataclass

from lightspeed_providers.core.errors import ConfigurationError, InvalidRequestError
from lightspeed_providers.product_rag.evaluate.metrics import metric_names
from lightspeed_providers.product_rag.evaluate.results import ALL, Level, Results

_ASKED = re.compile(r"(?:(pages|passages):)?([\w@]+)=(\d*\.?\d+)")


@dataclass(frozen=True, slots=True)
class Gate:
    """A metric over all questions, and the least that it must be."""

    level: Level
    metric: str
    least: float


def read_gate(text: str, k: int) -> Gate:
    """Return the gate of a text as `ndcg=0.7`, `recall@5=0.8` or `passages:mrr=0.5`."""
    found = _ASKED.fullmatch(text.strip())
    names = metric_names(k)
    wanted = found[2] if found else ""
    metric = next((n for n in names if wanted in (n, n.removesuffix(f"@{k}"))), None)
    if found is None or metric is None or float(found[3]) > 1:
        raise InvalidRequestError(
            f"'{text}' is no gate: write METRIC=LEAST with one of {', '.join(names)} and a number "
            "from 0 to 1, as ndcg=0.7 or passages:mrr=0.5."
        )
    return Gate("passages" if found[1] == "passages" else "pages", metric, float(found[3]))


def missed(gate: Gate, results: Results) -> str | None:
    """Return one line where the product's search misses a gate, None where it passes."""
    searcher = results.searcher()
    summary = searcher.summary(ALL, gate.level)
    if summary is None:
        raise ConfigurationError(
            f"Gate {gate.metric} on {gate.level} can't be judged: no question expects any; add "
            "such questions or drop the gate."
        )
    mean = summary.metrics[gate.metric].mean
    if mean >= gate.least:
        return None
    return (
        f"{searcher.name}: {gate.metric} on {gate.level} is {mean:.4f}, below the {gate.least:g} "
        "that is asked for."
    )
