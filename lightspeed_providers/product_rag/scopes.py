"""Which groups a question may be answered from, looked up once for questions of the same scope."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from lightspeed_providers.core.errors import InvalidRequestError
from lightspeed_providers.product_rag.filters import (
    LATEST,
    Wanted,
    groups_of,
    named_versions,
    names_version,
)
from lightspeed_providers.product_rag.index.content import Group

_KEPT = 128

Named = tuple[tuple[str, tuple[str, ...]], ...]
"""Products with the versions of theirs that a question names."""


class Scopes:
    """The groups of an index by what a search is limited to. Safe to share between threads.

    Pages with attributes of their own make many groups; looking at all of them for every question
    would take longer than the search.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._versions: dict[str, set[str]] = {}
        for group in groups:
            self._versions.setdefault(group.product, set()).add(group.version)
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[Wanted, Named, str], frozenset[int]] = OrderedDict()

    @property
    def products(self) -> frozenset[str]:
        """The products that the index holds."""
        return frozenset(self._versions)

    def __len__(self) -> int:
        return len(self._groups)

    def of(self, question: str, wanted: Wanted, default_version: str) -> frozenset[int]:
        """Return the groups that a search may find.

        Where no version is asked for, they are of the versions that the question names, else of
        the default. Each product is looked at on its own: a question about two versions finds
        both, and a product that has no such version as the default is searched in its latest.
        """
        named: Named = ()
        if wanted.version is None and not names_version(wanted.where):
            named = tuple(
                (product, named_versions(question, product, held))
                for product, held in sorted(self._versions.items())
            )
        key = (wanted, named, default_version)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        chosen = self._chosen(wanted, dict(named), default_version)
        with self._lock:
            self._known[key] = chosen
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return chosen

    def _chosen(
        self, wanted: Wanted, named: dict[str, tuple[str, ...]], default_version: str
    ) -> frozenset[int]:
        allowed = groups_of(wanted, self._groups)
        if not named:
            return allowed
        chosen: set[int] = set()
        for product, versions in named.items():
            inside = [g for g in self._groups if g.number in allowed and g.product == product]
            if versions:
                chosen |= {group.number for group in inside if group.version in versions}
            else:
                chosen |= _of_default(default_version, inside)
        return frozenset(chosen)


def _of_default(version: str, groups: Sequence[Group]) -> frozenset[int]:
    try:
        return groups_of(Wanted(version=version), groups)
    except InvalidRequestError:
        return groups_of(Wanted(version=LATEST), groups)
