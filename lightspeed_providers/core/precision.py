"""In which numbers embeddings are computed."""

import os
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError

PRECISION_VARIABLE = "LIGHTSPEED_PRECISION"
FLOAT32 = "float32"
BFLOAT16 = "bfloat16"
_CHOICES = ("auto", FLOAT32, BFLOAT16)
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")
_CPU_FLAGS = Path("/proc/cpuinfo")


def choose_precision(device: str) -> str:
    """Return what the environment says, else bfloat16 where the processor computes in it."""
    named = os.environ.get(PRECISION_VARIABLE) or "auto"
    if named not in _CHOICES:
        raise ConfigurationError(
            f"Unknown precision '{named}': set {PRECISION_VARIABLE} to one of "
            f"{', '.join(_CHOICES)}."
        )
    if named != "auto":
        return named
    fast = _gpu_has_bfloat16() if device == "cuda" else bool(bfloat16_instructions())
    return BFLOAT16 if fast else FLOAT32


def bfloat16_instructions() -> tuple[str, ...]:
    """Return the names of the processor's instructions for bfloat16.

    oneDNN's own "bfloat16 is supported" is no answer: it says so of processors that only emulate
    it, several times slower than float32.
    """
    import torch

    capabilities = getattr(torch.cpu, "get_capabilities", None)  # came after torch 2.4
    if capabilities is not None:
        known = capabilities()
        return tuple(flag for flag in _BFLOAT16_FLAGS if known.get(flag))
    if not _CPU_FLAGS.is_file():
        return ()
    words = frozenset(_CPU_FLAGS.read_text().split())
    return tuple(flag for flag in _BFLOAT16_FLAGS if flag in words)


def _gpu_has_bfloat16() -> bool:
    import torch

    return torch.cuda.get_device_capability() >= (8, 0)  # Ampere; older ones emulate it
