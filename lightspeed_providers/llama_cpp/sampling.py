"""What a request to the model gets where it does not say."""

from collections.abc import Mapping

# What follows a finished quotation or answer in the question-answer template. The closing quotation
# mark alone would cut answers that quote a setting's value.
_STOPS = ("”\n", "”.\n", "\n")

_GREEDY = {
    "temperature": 0.0,
    "stop": list(_STOPS),
    # Breaks endless repetition; shorter repeats are settings' names and are wanted.
    "dry_multiplier": 0.8,
    "dry_allowed_length": 20,
}


def defaults_for(
    request: Mapping[str, object], *, max_tokens: int, is_base_model: bool
) -> dict[str, object]:
    """Return the values to add to a request, none that it has set itself."""
    defaults: dict[str, object] = dict(_GREEDY) if is_base_model else {}
    if request.get("response_format") or request.get("stop") is not None:
        defaults.pop("stop", None)
    if request.get("max_completion_tokens") is None:
        defaults["max_tokens"] = max_tokens
    return {name: value for name, value in defaults.items() if request.get(name) is None}
