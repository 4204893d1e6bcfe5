"""Which device classifiers and embeddings run on."""

import functools
import logging
import os

from lightspeed_providers.core.errors import ConfigurationError

logger = logging.getLogger(__name__)

DEVICE_VARIABLE = "LIGHTSPEED_DEVICE"
_CHOICES = ("auto", "cpu", "cuda")


def requested_device(requested: str | None = None) -> str:
    """Return `auto`, `cpu` or `cuda`: what the environment says, else what is given."""
    named = os.environ.get(DEVICE_VARIABLE) or requested or "auto"
    if named not in _CHOICES:
        raise ConfigurationError(
            f"Unknown device '{named}': set {DEVICE_VARIABLE} to one of {', '.join(_CHOICES)}."
        )
    return named


def choose_device(requested: str | None = None) -> str:
    """Return `cpu` or `cuda` for torch; the first call imports torch, which takes seconds."""
    share_cores()
    return _chosen(requested_device(requested))


def share_cores() -> None:
    """Let the threads of torch and llama.cpp sleep while they wait; call it before either loads.

    Waiting threads spin by default, and beside one other busy process on two cores a question's
    embedding then took half a second instead of 20 ms.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@functools.cache
def _chosen(named: str) -> str:
    if named == "cpu":
        logger.info("Device: cpu, as asked for")
        return "cpu"
    import torch

    if torch.cuda.is_available():
        why = "as asked for" if named == "cuda" else "found by torch"
        logger.info("Device: cuda (%s), %s", torch.cuda.get_device_name(), why)
        return "cuda"
    if named == "cuda":
        raise ConfigurationError(
            f"Device 'cuda' was asked for and torch {torch.__version__} sees no GPU: install its "
            f"driver, or set {DEVICE_VARIABLE} to cpu or auto."
        )
    logger.info("Device: cpu, torch %s sees no GPU", torch.__version__)
    return "cpu"
