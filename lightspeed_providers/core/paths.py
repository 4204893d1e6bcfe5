"""Where this user's state lies."""

import os
from pathlib import Path


def state_dir() -> Path:
    """Return the directory of indexes, stores and models; it may not exist yet."""
    configured = os.environ.get("LIGHTSPEED_STATE_DIR")
    return Path(configured or "~/.llama/distributions/lightspeed").expanduser()
