"""What a Markdown page says of itself before its text."""

import re
import tomllib
from dataclasses import dataclass
from typing import Any

import yaml

_FRONT_MATTER = re.compile(
    r"\A(---|\+\+\+)[ \t]*\n(.*?)\n?^\1[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_MOST = 65_536
_LONGEST = 1_000
_LANGUAGES = ("lang", "language", "locale")
_SCALARS = (str, int, float, bool)


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """A page's title, language and other attributes, each empty where not given."""

    title: str = ""
    language: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()


def front_matter_of(text: str) -> tuple[FrontMatter, str]:
    """Return what a page says of itself, in YAML or TOML, and the text after it."""
    found = _FRONT_MATTER.match(text)
    if found is None:
        return FrontMatter(), text
    said, problem = _values(found[2], is_toml=found[1] == "+++")
    rest = text[found.end() :]
    if said is None:
        # A page may begin with a line across; what follows that is its text.
        is_front_matter = bool(problem)
        problems = (problem,) if problem else ()
        return FrontMatter(problems=problems), rest if is_front_matter else text
    values = {str(name): shown for name, value in said.items() if (shown := _shown(value))}
    language = next((values.pop(name) for name in _LANGUAGES if name in values), "")
    title = values.pop("title", "")
    return FrontMatter(title, short_language(language), tuple(values.items())), rest


def short_language(language: str) -> str:
    """Return `en` for `en-US` and `en_GB.UTF-8`."""
    return re.split(r"[-_.]", language.strip().lower())[0]


def _values(source: str, *, is_toml: bool) -> tuple[dict[Any, Any] | None, str]:
    """Return a mapping, or None with the reason; none without one where it is text."""
    if len(source) > _MOST:
        return None, f"front matter is longer than {_MOST:,} characters and was not read"
    try:
        said = tomllib.loads(source) if is_toml else yaml.safe_load(source)
    except (yaml.YAMLError, tomllib.TOMLDecodeError, ValueError, RecursionError) as fault:
        kind = "TOML" if is_toml else "YAML"
        return None, f"front matter is no {kind}: {' '.join(str(fault).split())[:200]}"
    if said is None:
        return {}, ""
    return (said, "") if isinstance(said, dict) else (None, "")


def _shown(value: Any) -> str:  # whatever YAML or TOML can hold
    if isinstance(value, list):
        return ", ".join(str(v) for v in value if isinstance(v, _SCALARS))[:_LONGEST]
    if isinstance(value, dict) or value is None:
        return ""
    return " ".join(str(value).split())[:_LONGEST]
