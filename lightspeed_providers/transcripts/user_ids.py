"""Keyed hashes of user ids, so that a stored turn names nobody."""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError

KEY_BYTES = 32


class UserIds:
    """Turns a principal into the id that is stored for it."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def hash(self, principal: str) -> str:
        """64 hex digits, the same for the same principal and key."""
        message = principal.encode("utf-8", "surrogatepass")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


def load_or_create_key(path: Path) -> bytes:
    """The key in the file, generated where there is none; processes that race get the same one."""
    try:
        if not path.exists():
            _create(path)
        key = bytes.fromhex(path.read_text("ascii").strip())
    except OSError as error:
        raise ConfigurationError(
            f"Failed to keep the user id key in '{path}' ({error.strerror}): make its directory "
            "writable or set LIGHTSPEED_USER_ID_KEY."
        ) from error
    except ValueError as error:
        raise ConfigurationError(_WRONG_KEY.format(path=path)) from error
    if len(key) != KEY_BYTES:
        raise ConfigurationError(_WRONG_KEY.format(path=path))
    return key


_WRONG_KEY = (
    "The user id key in '{path}' is not 64 hex digits: restore it, or remove it and "
    "lose the link between users and their earlier turns."
)


def _create(path: Path) -> None:
    """Put a whole key at the path, or leave the one that another process put there first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
