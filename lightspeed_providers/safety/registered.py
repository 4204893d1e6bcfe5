"""What Llama Stack's registry says of our shields, kept as the configuration has it.

The registry outlives the process and refuses an entry that differs from the one it has. Ours are
whatever the configuration says now, so that a changed shield needs no new registry.
"""

from collections.abc import Mapping
from typing import Any

from llama_stack.core.datatypes import ShieldWithOwner
from llama_stack.core.routing_tables.shields import ShieldsRoutingTable
from llama_stack_api import ResourceType, Shield

from lightspeed_providers.core.verdicts import Direction
from lightspeed_providers.safety.routing import direction_of
from lightspeed_providers.safety.shields.base import ShieldOptions

_KIND = ResourceType.shield.value
_COMPOSITE = "composite"


class RegisteredShields:
    """The entries of one provider: the composite shield and every configured one.

    An entry that the operator gives another name stands in the place of the shield's own: Llama
    Stack takes a moderation's shield for ambiguous where two entries mean the same.
    """

    def __init__(self, composite_id: str) -> None:
        self._composite_id = composite_id
        self._provider_id: str | None = None
        self._listed: dict[str, str] = {}
        """What this process was told to register: identifiers, each with the shield it means."""

    async def register(
        self,
        store: ShieldsRoutingTable,
        shield: Shield,
        shields: Mapping[str, ShieldOptions],
    ) -> None:
        """Make way for an entry that Llama Stack is about to write, and fill in what it shows.

        With the composite shield come all others, so that nobody has to list them twice.
        """
        means = shield.provider_resource_id or shield.identifier
        self._listed[shield.identifier] = means
        shield.params = self._shown(means, shields)
        await _write(store, shield)
        if shield.identifier != means and means not in self._listed:
            await _delete_ours(store, means, shield.provider_id)
        if means == self._composite_id:
            self._provider_id = shield.provider_id
            await self.publish(store, shields)

    async def publish(
        self, store: ShieldsRoutingTable, shields: Mapping[str, ShieldOptions]
    ) -> None:
        """Bring all entries of the provider up to these shields; does nothing before it is known.

        Entries of shields that are gone go too, also those of a provider id that is no more.
        """
        if self._provider_id is None:
            return
        meant = set(self._listed.values())
        wanted = self._listed | {name: name for name in shields if name not in meant}
        known = {self._composite_id, *shields}
        wanted = {name: means for name, means in wanted.items() if means in known}
        for entry in await store.dist_registry.get_all():
            if self._is_ours(store, entry) and entry.identifier not in wanted:
                await store.dist_registry.delete(_KIND, entry.identifier)
        for name, means in wanted.items():
            await _write(
                store,
                ShieldWithOwner(
                    identifier=name,
                    provider_resource_id=means,
                    provider_id=self._provider_id,
                    params=self._shown(means, shields),
                ),
            )

    def _is_ours(self, store: ShieldsRoutingTable, entry: object) -> bool:
        if not isinstance(entry, ShieldWithOwner):
            return False
        is_orphan = entry.provider_id not in store.impls_by_provider_id
        return entry.provider_id == self._provider_id or (is_orphan and _is_shown(entry.params))

    def _shown(self, means: str, shields: Mapping[str, ShieldOptions]) -> dict[str, Any]:
        if means == self._composite_id:
            return {"kind": _COMPOSITE, "shields": _by_direction(shields)}
        return shown(means, shields[means])


def shown(shield_id: str, options: ShieldOptions) -> dict[str, Any]:  # Any: the registry's values
    """Return what everybody may see of a shield: no pattern, no example, no address, no key."""
    return {
        "kind": options.kind,
        "directions": [d.value for d in Direction if d in direction_of(shield_id)],
        "on_error": options.on_error.value,
        "timeout_s": options.timeout_s,
        "models": list(options.models),
    }


def _by_direction(shields: Mapping[str, ShieldOptions]) -> dict[str, list[str]]:
    return {
        direction.value: [name for name in shields if direction in direction_of(name)]
        for direction in Direction
    }


def _is_shown(params: dict[str, Any] | None) -> bool:
    """Tell an entry that an earlier start of ours wrote."""
    told = params or {}
    return told.get("kind") == _COMPOSITE or {"kind", "directions", "on_error"} <= told.keys()


async def _write(store: ShieldsRoutingTable, shield: Shield) -> None:
    """Put an entry in the place of one that differs; who owns that one still does."""
    entry = ShieldWithOwner.model_validate(shield.model_dump())
    before = await store.dist_registry.get(_KIND, entry.identifier)
    if isinstance(before, ShieldWithOwner):
        entry.owner = entry.owner or before.owner
    if before != entry:
        await store.dist_registry.update(entry)


async def _delete_ours(store: ShieldsRoutingTable, identifier: str, provider_id: str) -> None:
    entry = await store.dist_registry.get(_KIND, identifier)
    if entry is not None and entry.provider_id == provider_id:
        await store.dist_registry.delete(_KIND, identifier)
