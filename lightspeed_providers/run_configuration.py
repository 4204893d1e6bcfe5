"""The run configuration of a server, read as Llama Stack reads it, by a room or a command line."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from llama_stack.core.stack import EnvVarError, replace_env_vars
from llama_stack.core.utils.config_resolution import resolve_config_or_distro

from lightspeed_providers.core.errors import ConfigurationError

VARIABLE = "LLAMA_STACK_CONFIG"


def read_run_configuration(config: str) -> dict[str, Any]:  # Any: all of the host's settings
    """Return the settings of a file or a distribution's name, with `${env.…}` filled in.

    Raises a `ConfigurationError` in one line that quotes nothing of the file.
    """
    try:
        path = resolve_config_or_distro(config)
    except ValueError as fault:
        raise ConfigurationError(
            f"No run configuration '{config}': give its path or a distribution's name."
        ) from fault
    try:
        run = replace_env_vars(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, EnvVarError) as fault:
        raise ConfigurationError(
            f"Run configuration '{config}' can't be read: {_reason(fault)}."
        ) from fault
    if not isinstance(run, dict):
        raise ConfigurationError(f"Run configuration '{config}' is no mapping: correct the file.")
    return run


def provider_settings(
    run: Mapping[str, Any], api: str, provider_type: str, provider_id: str | None = None
) -> dict[str, Any]:
    """Return the settings of a configured provider, the first of its type where no id is given."""
    for provider in (run.get("providers") or {}).get(api) or ():
        is_it = provider_id is None or provider.get("provider_id") == provider_id
        if provider.get("provider_type") == provider_type and is_it:
            return dict(provider.get("config") or {})
    named = f" with id '{provider_id}'" if provider_id else ""
    raise ConfigurationError(
        f"The run configuration has no provider of type '{provider_type}'{named} under "
        f"providers.{api}: name the configuration that your server runs with."
    )


def configuration_path(
    environment: Mapping[str, str] = os.environ, arguments: Sequence[str] = sys.argv
) -> Path | None:
    """Return the file that this server was told to read, None where it was told none.

    Llama Stack resolves links before it remembers the file. The name that the operator gave is the
    one that goes on to mean the configuration, also after Kubernetes has swapped what it points to.
    """
    known = environment.get(VARIABLE)
    if not known:
        return None
    resolved = Path(known).resolve()
    for argument in arguments[1:]:
        given = Path(argument)
        if given.suffix and given.is_file() and given.resolve() == resolved:
            return given.absolute()
    if (mounted := _mounted(resolved)) is not None:
        return mounted
    try:
        return Path(known).absolute() if Path(known).is_file() else resolve_config_or_distro(known)
    except ValueError:
        return None


def _mounted(resolved: Path) -> Path | None:
    """Return a file's lasting name in a Kubernetes volume, where `..data` is what is swapped."""
    for parent in resolved.parents:
        if parent.name.startswith("..") and (parent.parent / "..data").is_symlink():
            lasting = parent.parent / resolved.relative_to(parent)
            return lasting if lasting.is_file() else None
    return None


def _reason(fault: Exception) -> str:
    """Say what is wrong without a line of the file, which may hold a secret."""
    match fault:
        case yaml.MarkedYAMLError(problem_mark=yaml.Mark() as mark):
            return f"no YAML in line {mark.line + 1}, column {mark.column + 1}"
        case EnvVarError():
            return f"variable {fault.var_name} is not set, which '{fault.path}' needs"
        case OSError():
            return fault.strerror or type(fault).__name__
        case UnicodeDecodeError():
            return "not UTF-8"
        case _:
            return "no YAML"
