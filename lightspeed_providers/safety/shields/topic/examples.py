"""Example questions of a topic in a file of their own."""

from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

DEMO = "django-demo"
"""Name of the examples that come with this package."""

_SHIPPED = {DEMO: Path(__file__).parents[2] / "demo" / "topic.yaml"}


class TopicExamples(BaseModel):
    """Questions on either side."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_topic: tuple[str, ...] = ()
    off_topic: tuple[str, ...] = ()


def examples_file(name: str) -> Path:
    """Return the file of a shipped name, or the path that is given."""
    return _SHIPPED.get(name) or Path(name).expanduser()


def read_examples(name: str) -> TopicExamples:
    """Return the examples of a file, or of a shipped name; raises ValueError in one line."""
    file = examples_file(name)
    try:
        changed = file.stat().st_mtime_ns
        return _read(file, changed)
    except OSError as fault:
        raise ValueError(
            f"examples '{name}' can't be read ({fault.strerror}): give a YAML file with `on_topic` "
            f"and `off_topic`, or {DEMO}"
        ) from fault
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as fault:
        raise ValueError(
            f"examples '{name}' are no YAML with lists of texts `on_topic` and `off_topic`"
        ) from fault


@lru_cache(maxsize=8)
def _read(file: Path, changed: int) -> TopicExamples:
    """Read a file as it was changed last."""
    return TopicExamples.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
