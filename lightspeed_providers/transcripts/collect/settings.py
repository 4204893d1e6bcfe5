"""The settings from an option, else the environment, else a file, else the default."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr, ValidationError

from lightspeed_providers.core.errors import ConfigurationError

from .config import CollectorConfig, is_token

ENVIRONMENT = {
    "enabled": "LIGHTSPEED_COLLECT_ENABLED",
    "ingress_server_url": "LIGHTSPEED_INGRESS_URL",
    "ingress_server_auth_token": "LIGHTSPEED_INGRESS_TOKEN",
    "ingress_server_auth_token_file": "LIGHTSPEED_INGRESS_TOKEN_FILE",
    "ingress_content_service_name": "LIGHTSPEED_INGRESS_SERVICE",
    "destination": "LIGHTSPEED_INGRESS_DESTINATION",
    "allow_token_over_http": "LIGHTSPEED_INGRESS_ALLOW_TOKEN_OVER_HTTP",
    "transcripts_storage": "LIGHTSPEED_TRANSCRIPTS_STORAGE",
    "feedback_storage": "LIGHTSPEED_FEEDBACK_STORAGE",
    "collection_interval": "LIGHTSPEED_COLLECT_INTERVAL",
    "retry_interval": "LIGHTSPEED_COLLECT_RETRY_INTERVAL",
    "cleanup_after_send": "LIGHTSPEED_COLLECT_CLEANUP",
    "max_archive_bytes": "LIGHTSPEED_COLLECT_MAX_ARCHIVE_BYTES",
    "max_file_bytes": "LIGHTSPEED_COLLECT_MAX_FILE_BYTES",
    "archive_directory": "LIGHTSPEED_COLLECT_ARCHIVE_DIRECTORY",
    "connection_timeout": "LIGHTSPEED_COLLECT_CONNECTION_TIMEOUT",
    "write_timeout": "LIGHTSPEED_COLLECT_WRITE_TIMEOUT",
    "read_timeout": "LIGHTSPEED_COLLECT_READ_TIMEOUT",
    "attempts": "LIGHTSPEED_COLLECT_ATTEMPTS",
    "lock_timeout": "LIGHTSPEED_COLLECT_LOCK_TIMEOUT",
}
"""The variable of each setting; an empty one counts as not set."""

_MAX_TOKEN_BYTES = 65_536


def load_config(
    file: Path | None, environment: Mapping[str, str], options: Mapping[str, object]
) -> CollectorConfig:
    """Return the settings in effect; a wrong one is named with its value, never the token's."""
    found = _from_file(file) if file else {}
    found |= {
        field: environment[variable]
        for field, variable in ENVIRONMENT.items()
        if environment.get(variable)
    }
    found |= {field: value for field, value in options.items() if value is not None}
    try:
        return CollectorConfig.model_validate(found)
    except ValidationError as fault:
        raise ConfigurationError(_told(fault)) from None


def load_token(config: CollectorConfig) -> SecretStr | None:
    """Return the token as it is now; one in a file may be replaced while the collector runs."""
    path = config.ingress_server_auth_token_file
    if path is None:
        return config.ingress_server_auth_token
    try:
        with path.expanduser().open("rb") as file:
            token = file.read(_MAX_TOKEN_BYTES).decode("ascii", "replace").strip()
    except OSError as fault:
        raise ConfigurationError(
            f"Token file '{path}' can't be read ({fault.strerror}): name one that can."
        ) from fault
    if not is_token(token):
        raise ConfigurationError(
            f"Token file '{path}' holds no token: write the token and nothing else into it."
        )
    return SecretStr(token)


def _from_file(path: Path) -> dict[str, object]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except OSError as fault:
        raise ConfigurationError(
            f"Collector settings '{path}' can't be read ({fault.strerror}): name another file."
        ) from fault
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as fault:
        # The parser's own words quote the file, which may hold a token.
        mark = getattr(fault, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigurationError(
            f"Collector settings '{path}' are no YAML{where}: correct the file."
        ) from None
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ConfigurationError(
            f"Collector settings '{path}' are no settings: write `name: value` lines."
        )
    return {name: value for name, value in found.items() if value is not None}


def _told(fault: ValidationError) -> str:
    lines = []
    for error in fault.errors(include_url=False, include_context=False):
        name = ".".join(str(part) for part in error["loc"])
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            message = f"unknown; known are {', '.join(CollectorConfig.model_fields)}"
        elif name and "token" not in name and "@" not in str(error["input"]):
            message = f"{message} (it is {str(error['input'])[:200]!a})"
        lines.append(f"{name}: {message}" if name else message)
    return f"Collector settings are wrong: {'; '.join(lines)}."
