"""Which of many tools have to do with a question."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.responses.budget import Tool, name_of

type Vectors = NDArray[np.float32]

_LONGEST = 1_000  # characters of a tool's text; an embedding model reads little more


def text_of(tool: Tool) -> str:
    """Return what a tool says about itself: name, description, parameters."""
    function = tool.get("function") or tool.get("custom") or {}
    words = name_of(tool).replace("_", " ").replace("-", " ").replace(".", " ")
    schema = function.get("parameters") or {}
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    parameters = ", ".join(properties) if isinstance(properties, Mapping) else ""
    parts = (words, str(function.get("description") or "").rstrip("."), parameters)
    return ". ".join(p.strip() for p in parts if p.strip())[:_LONGEST]


def called_names(messages: Sequence[Any]) -> frozenset[str]:  # Any: the host's messages
    """Return the names of the tools that were called in a conversation."""
    calls = (c for m in messages for c in getattr(m, "tool_calls", None) or ())
    functions = (getattr(call, "function", None) for call in calls)
    return frozenset(f.name for f in functions if f is not None and f.name)


def nearest(
    tools: Sequence[Tool],
    vectors: Vectors,
    asked: Vectors,
    *,
    keep: int,
    certain: float,
    always: frozenset[str],
) -> frozenset[str]:
    """Return the names of the tools to offer.

    Those are the ones that are always offered and, up to `keep` in all, the nearest to any of the
    asked texts; every tool where none is as near as `certain`. `vectors` (tools x dimensions) and
    `asked` (texts x dimensions) are of length 1.
    """
    names = [name_of(tool) for tool in tools]
    likeness = (vectors @ asked.T).max(axis=1)
    if likeness.max() < certain:
        return frozenset(names)
    by_likeness = [names[n] for n in np.argsort(-likeness, kind="stable")]
    kept = always.intersection(names)
    rest = [name for name in by_likeness if name not in kept]
    return kept.union(rest[: max(0, keep - len(kept))])
