"""A passage's public address, from a URL template."""

import re
from urllib.parse import quote

from lightspeed_providers.core.errors import ConfigurationError

PLACES = ("path", "suffix", "anchor", "version", "product")
_PLACE = re.compile(r"{(\w*)}")
_INDEX = re.compile(r"(?:^|/)(?:index|README)$")


def check_template(template: str) -> None:
    """Refuse a template with a place that nothing fills."""
    unknown = [name for name in _PLACE.findall(template) if name not in PLACES]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in PLACES)
        raise ConfigurationError(
            f"URL template has the unknown place '{{{unknown[0]}}}': it may hold {known}."
        )


def doc_url(
    template: str, *, path: str, anchor: str, version: str, product: str, suffix: str = ""
) -> str:
    """Return the address of an anchor in a page.

    Where the template has `{path}/`, pages are addressed as directories, so `db/index` is `db/`.
    """
    if "{path}/" in template:
        directory = _INDEX.sub("", path)
        template = template.replace("{path}/", f"{quote(directory)}/" if directory else "")
    values = {
        "path": path,
        "suffix": suffix,
        "anchor": anchor,
        "version": version,
        "product": product,
    }
    filled = _PLACE.sub(lambda found: quote(values[found[1]], safe="/=:,()!*"), template)
    return filled.removesuffix("#")
