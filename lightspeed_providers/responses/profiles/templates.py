"""Prompts as templates: only the operator writes them, only known variables stand in them."""

import hashlib
import json
import traceback
from collections.abc import Iterator, Mapping
from datetime import date
from functools import lru_cache

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

OF_REQUEST = ("date", "locale")
"""Variables whose values come with each request."""

RENDERING_FAULTS = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError)

type Variables = tuple[tuple[str, str], ...]

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
_ENVIRONMENT.globals.clear()


class TemplateFault(Exception):
    """What is wrong in a template, and in which of its lines."""

    def __init__(self, said: str, line: int) -> None:
        super().__init__(said)
        self.line = line


def as_variables(given: Mapping[str, str]) -> Variables:
    """Return variables as they can be compared."""
    return tuple(sorted(given.items()))


@lru_cache(maxsize=512)
def rendered(template: str, variables: Variables, day: date, locale: str) -> str:
    """Return the text of a template on a day, for a locale."""
    values = dict(variables) | {"date": day.isoformat(), "locale": locale}
    return _ENVIRONMENT.from_string(template).render(values)


@lru_cache(maxsize=512)
def version_of(template: str, variables: Variables) -> str:
    """Return the first 12 hex digits of the sha256 of a template with its own variables.

    It changes where the operator changes something, and neither from day to day nor by locale.
    """
    text = template + (json.dumps(variables) if variables else "")
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


def check(template: str, variables: Variables, day: date, locale: str) -> None:
    """Raise a `TemplateFault` where a template can't be rendered, in branches not taken too."""
    known = {*OF_REQUEST, *dict(variables)}
    try:
        parsed = _ENVIRONMENT.parse(template)
        for name, line in _unknown(parsed, known):
            raise TemplateFault(
                f"unknown variable '{name}': choose from {', '.join(sorted(known))}, or add it to "
                "`variables`",
                line,
            )
        rendered(template, variables, day, locale)
    except TemplateSyntaxError as fault:
        raise TemplateFault(f"no valid template: {fault.message}", fault.lineno) from fault
    except RENDERING_FAULTS as fault:
        raise TemplateFault(f"the template fails: {fault}", _line_of(fault)) from fault


def _unknown(parsed: nodes.Template, known: set[str]) -> Iterator[tuple[str, int]]:
    names = list(parsed.find_all(nodes.Name))
    own = {name.name for name in names if name.ctx != "load"}
    for name in names:
        if name.ctx == "load" and name.name not in known | own:
            yield name.name, name.lineno


def _line_of(fault: Exception) -> int:
    frames = [f for f in traceback.extract_tb(fault.__traceback__) if f.filename == "<template>"]
    return (frames[-1].lineno if frames else None) or 1
