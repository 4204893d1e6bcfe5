"""Which language a user reads, told by a tag such as `de` or `pt-BR`."""

import re
from collections.abc import Mapping

METADATA_KEY = "locale"
_TAG = re.compile(
    r"(?P<language>[a-z]{2,3})(?:[-_](?P<script>[a-z]{4}))?(?:[-_](?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?:[-_][a-z0-9]{1,8})*",
    re.IGNORECASE | re.ASCII,
)
_LONGEST = 35


def locale_of(metadata: Mapping[str, str] | None, default: str) -> str:
    """Return the locale that a request's metadata names, or the default where that is no tag.

    Only language, script and region are taken: what may follow them could spell out words, and
    the locale stands in the prompt.
    """
    return normal_locale((metadata or {}).get(METADATA_KEY, "")) or default


def normal_locale(tag: str) -> str | None:
    """Return a language tag in its usual spelling, as in `zh-Hant-TW`; None where it is none."""
    found = _TAG.fullmatch(tag) if len(tag) <= _LONGEST else None
    if found is None:
        return None
    language, script, region = found["language"], found["script"], found["region"]
    parts = [language.lower(), script and script.title(), region and region.upper()]
    return "-".join(part for part in parts if part)
