"""What a client asks of a vector store, in the words of the engine."""

from typing import Any, cast, get_args

from llama_stack_api import ComparisonFilter, CompoundFilter, SearchRankingOptions

from lightspeed_providers.core.errors import InvalidRequestError

from .filters import Condition, Operator, Together, Value, Where
from .retrieval import Mode

MOST_RESULTS = 50
_MODES: dict[str, Mode] = {"vector": "dense", "keyword": "keyword", "hybrid": "hybrid"}
_DEEPEST = 10


def where_of(given: Any, depth: int = 0) -> Where | None:  # Any: what a client sent
    """Return a filter, or refuse what is none in one line."""
    if not given:
        return None
    if isinstance(given, ComparisonFilter | CompoundFilter):
        given = given.model_dump()
    if not isinstance(given, dict) or depth > _DEEPEST:
        raise InvalidRequestError(
            'A filter is an object such as {"type": "eq", "key": "version", "value": "5.2"}, '
            f"at most {_DEEPEST} deep."
        )
    kind = given.get("type")
    if kind in ("and", "or"):
        parts = given.get("filters")
        if not isinstance(parts, list) or not parts:
            raise InvalidRequestError(f"Filter '{kind}' needs a list of `filters`.")
        of = tuple(part for each in parts if (part := where_of(each, depth + 1)) is not None)
        return Together("all" if kind == "and" else "any", of)
    if not isinstance(kind, str) or kind not in get_args(Operator):
        raise InvalidRequestError(
            f"Unknown filter type '{str(kind)[:40]}': use {', '.join(get_args(Operator))}, and, or."
        )
    key, value = given.get("key"), given.get("value")
    if not isinstance(key, str) or not key:
        raise InvalidRequestError(f"Filter '{kind}' needs the name of a field as `key`.")
    return Condition(key, cast(Operator, kind), _value(kind, value))


def mode_of(named: str | None) -> Mode:
    """Return how to search; a client that names nothing gets the best there is."""
    if named is None:
        return "hybrid"
    if named not in _MODES:
        raise InvalidRequestError(f"Unknown search_mode '{named[:40]}': use {', '.join(_MODES)}.")
    return _MODES[named]


def count_of_results(asked: Any) -> int:  # Any: what a client sent
    """Return how many results to give, or refuse a number that makes no sense."""
    if asked is None:
        return 10
    if not isinstance(asked, int) or not 1 <= asked <= MOST_RESULTS:
        raise InvalidRequestError(
            f"{str(asked)[:20]} results were asked for: ask for 1 to {MOST_RESULTS}."
        )
    return asked


def threshold_of(options: SearchRankingOptions | None) -> float:
    """Return the least score that is given; refuse rankers that this store does not have."""
    if options is None:
        return 0.0
    if options.model or options.weights or options.ranker == "neural":
        raise InvalidRequestError(
            "This store has no rankers by model or weights: a reranker is set in the "
            "configuration of the documentation search."
        )
    return options.score_threshold or 0.0


def _value(kind: str, value: Any) -> Value | tuple[Value, ...]:  # Any: what a client sent
    if kind in ("in", "nin"):
        if isinstance(value, list) and value and all(_is_plain(each) for each in value):
            return tuple(value)
        raise InvalidRequestError(f"Filter '{kind}' needs a list of values.")
    if not _is_plain(value):
        raise InvalidRequestError(f"Filter '{kind}' needs a text, a number, true or false.")
    return cast(Value, value)


def _is_plain(value: Any) -> bool:  # Any: what a client sent
    return isinstance(value, str | int | float | bool)
