"""The audit log: one line for each text that was blocked or could not be checked, without it.

Written by the logger `lightspeed_providers.safety.audit`, so that it can be sent elsewhere.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lightspeed_providers.core.verdicts import Action, Context, Verdict

log = logging.getLogger(__name__)


def record(verdict: Verdict, context: Context | None = None) -> None:
    """Write a line where a text was blocked, or where the check of it failed."""
    blocked = verdict.action is Action.BLOCK
    if not blocked and verdict.error is None:
        return
    event = "Shield failed" if verdict.error is not None else "Shield violation"
    parts = {
        "shield": verdict.shield,
        "kind": verdict.kind,
        "direction": verdict.direction.value,
        "action": verdict.action.value,
        "stage": verdict.stage,
        "error": verdict.error,
        "reference": _one_word(context.reference) if context is not None else None,
    }
    told = " ".join(f"{name}={value!r}" for name, value in parts.items() if value)
    log.warning("%s %s", event, told)


@contextmanager
def unwritten() -> Iterator[None]:
    """Write no lines for a while: of texts that nobody sent, as when shields are measured."""
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _one_word(reference: str) -> str:
    """Keep a reference that came from outside from writing lines of its own."""
    return "".join(character for character in reference[:200] if character.isprintable())
