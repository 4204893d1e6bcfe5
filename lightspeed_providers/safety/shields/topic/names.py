"""Names of software in a text: one that the product has nothing to do with is a sign."""

import re
from collections import Counter
from collections.abc import Sequence

from lightspeed_providers.safety.shields.topic.generic import generic

_TOKEN = re.compile(r"[\w+#./-]+")
_PARTS = re.compile(r"[./-]+")
_CAPITALISED = re.compile(r"(?<=[a-z,] )[A-Z]\w+")
_LONGEST = 3
"""Words in the longest name of the list."""

SIGNS = 3
"""How many numbers `NamedSoftware.signs` gives."""


class NamedSoftware:
    """Tells the product's own names, and those its examples speak of, from all others."""

    def __init__(self, topic: str, on_topic: Sequence[str]) -> None:
        self._known = frozenset(name.casefold() for name in generic().software)
        self._own = self._named(topic)
        if not self._own:
            self._own = frozenset(name.casefold() for name in _CAPITALISED.findall(topic)[:1])
            self._known |= self._own
        # What is named beside the product is compared with it, and no part of it.
        apart = [names for names in map(self._named, on_topic) if not names & self._own]
        self._spoken_of = Counter(name for names in apart for name in names)

    def signs(self, text: str, *, is_example: bool = False) -> tuple[float, float, float]:
        """Say whether others are named alone, whether beside the product, whether the product is.

        An on-topic example is not to be its own witness.
        """
        names = self._named(text)
        own = bool(names & self._own)
        witnesses = 1 if is_example and not own else 0
        other = any(self._spoken_of[name] <= witnesses for name in names - self._own)
        return float(other and not own), float(other and own), float(own)

    def _named(self, text: str) -> frozenset[str]:
        tokens = [token.strip("./-") for token in _TOKEN.findall(text.casefold())]
        found = {
            " ".join(tokens[start : start + length])
            for start in range(len(tokens))
            for length in range(1, _LONGEST + 1)
        }
        found.update(part for token in tokens for part in _PARTS.split(token))
        return frozenset(found) & self._known
