"""What operators can count about calls of the model: never what was said.

Names are those that Lightspeed's operators know.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import metrics

_meter = metrics.get_meter("lightspeed.responses")

calls = _meter.create_counter(
    "ls_llm_calls_total", description="Calls of a model, by provider, model and purpose."
)
failures = _meter.create_counter(
    "ls_llm_calls_failures_total", description="Calls of a model that failed."
)
tokens_sent = _meter.create_counter(
    "ls_llm_token_sent_total", description="Tokens that models read."
)
tokens_received = _meter.create_counter(
    "ls_llm_token_received_total", description="Tokens that models wrote."
)
duration = _meter.create_histogram(
    "ls_llm_inference_duration_seconds", unit="s", description="Seconds that a model's call took."
)

ANSWER = "answer"
TITLE = "title"


@contextmanager
def called(model: str, provider: str | None, purpose: str) -> Iterator[None]:
    """Count a call of a model while it goes on; one that is cancelled has not failed."""
    about = _about(model, provider, purpose)
    began = time.perf_counter()
    calls.add(1, about)
    try:
        yield
    except Exception:
        failures.add(1, about)
        raise
    finally:
        duration.record(time.perf_counter() - began, about)


def spent(model: str, provider: str | None, purpose: str, usage: Any) -> None:  # Any: the host's
    """Count the tokens that a call has cost."""
    about = _about(model, provider, purpose)
    tokens_sent.add(usage.prompt_tokens, about)
    tokens_received.add(usage.completion_tokens, about)


def _about(model: str, provider: str | None, purpose: str) -> dict[str, str]:
    return {"provider": provider or "", "model": model, "purpose": purpose}
