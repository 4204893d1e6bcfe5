"""Llama Stack's registry follows the configuration, whatever an earlier start wrote into it."""

import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import OTHER_SWITCHES, run_config
from llama_stack.core.datatypes import ShieldWithOwner, User
from llama_stack.core.routing_tables.shields import ShieldsRoutingTable
from llama_stack.core.server.server import create_app
from llama_stack.core.storage.datatypes import KVStoreReference, SqliteKVStoreConfig
from llama_stack.core.storage.kvstore.kvstore import register_kvstore_backends
from llama_stack.core.store.registry import create_dist_registry
from llama_stack_api import Api, RegisterShieldRequest, Shield
from starlette.testclient import TestClient

from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.registered import RegisteredShields

SECRET_PATTERN = "s3cret-project-(alpha|beta)"
PATTERNS = {
    "kind": "patterns",
    "expressions": [SECRET_PATTERN],
    "must_block": ["s3cret-project-alpha"],
}
REDACTION = {"kind": "redaction"}


class Provider:
    """What the face does with a registration, over a real routing table and registry."""

    __provider_spec__ = SimpleNamespace(api=Api.safety)

    def __init__(self, shields: Mapping[str, Any]) -> None:
        self.config = LightspeedShieldsConfig.model_validate({"shields": dict(shields)})
        self.registered = RegisteredShields(self.config.composite_id)
        self.shield_store: ShieldsRoutingTable

    async def register_shield(self, shield: Shield) -> None:
        await self.registered.register(self.shield_store, shield, self.config.shields)


class Start:
    """One start of a server over a registry that is there already."""

    def __init__(self, directory: Path) -> None:
        register_kvstore_backends(
            {"kv": SqliteKVStoreConfig(db_path=str(directory / "registry.db"))}
        )

    async def __call__(
        self,
        shields: Mapping[str, Any],
        *resources: RegisterShieldRequest,
        provider_id: str = "lightspeed",
    ) -> tuple[Provider, ShieldsRoutingTable]:
        registry, _ = await create_dist_registry(
            KVStoreReference(backend="kv", namespace="registry"), "test"
        )
        provider = Provider(shields)
        table = ShieldsRoutingTable({provider_id: provider}, registry, [])
        await table.initialize()
        composite = RegisterShieldRequest(shield_id="lightspeed", provider_id=provider_id)
        for resource in resources or (composite,):
            await table.register_shield(resource)
        return provider, table


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path)


async def shown(table: ShieldsRoutingTable) -> dict[str, dict[str, Any]]:
    return {shield.identifier: shield.params or {} for shield in (await table.list_shields()).data}


async def test_the_composite_shield_brings_all_others(start: Start) -> None:
    _, table = await start({"input_words": PATTERNS, "inout_redaction": REDACTION})
    told = await shown(table)
    assert set(told) == {"lightspeed", "input_words", "inout_redaction"}
    assert told["lightspeed"] == {
        "kind": "composite",
        "shields": {
            "input": ["input_words", "inout_redaction"],
            "output": ["inout_redaction"],
            "tool": [],
        },
    }
    assert told["inout_redaction"] == {
        "kind": "redaction",
        "directions": ["input", "output"],
        "on_error": "block",
        "timeout_s": 5.0,
        "models": [],
    }


async def test_patterns_and_examples_are_not_shown(start: Start) -> None:
    _, table = await start({"input_words": PATTERNS})
    listed = (await table.list_shields()).model_dump_json()
    assert "s3cret" not in listed


@pytest.mark.parametrize("provider_id", ["lightspeed", "another-id"])
async def test_a_changed_shield_needs_no_new_registry(start: Start, provider_id: str) -> None:
    await start({"input_words": PATTERNS, "output_gone": REDACTION})
    changed = {"input_words": {**PATTERNS, "on_error": "allow", "timeout_s": 2}}
    _, table = await start(changed, provider_id=provider_id)
    told = await shown(table)
    assert set(told) == {"lightspeed", "input_words"}
    assert (told["input_words"]["on_error"], told["input_words"]["timeout_s"]) == ("allow", 2.0)
    assert await table.get_provider_impl("input_words")
    stored = await table.dist_registry.get_all()
    assert {entry.provider_id for entry in stored} == {provider_id}


async def test_shields_of_other_providers_stay(start: Start) -> None:
    _, table = await start({"input_words": PATTERNS})
    theirs = ShieldWithOwner(
        identifier="guard", provider_resource_id="guard", provider_id="elsewhere", params={}
    )
    await table.dist_registry.register(theirs)
    _, table = await start({"input_other": PATTERNS})
    assert set(await shown(table)) == {"lightspeed", "input_other", "guard"}


async def test_an_entry_that_the_operator_names_stands_for_the_shield(start: Start) -> None:
    composite = RegisterShieldRequest(shield_id="lightspeed", provider_id="lightspeed")
    named = RegisterShieldRequest(
        shield_id="team-words", provider_id="lightspeed", provider_shield_id="input_words"
    )
    for order in ((composite, named), (named, composite)):
        _, table = await start({"input_words": PATTERNS}, *order)
        data = (await table.list_shields()).data
        # Llama Stack refuses a moderation that two entries with one resource would serve.
        means = [shield.provider_resource_id for shield in data]
        assert sorted(means) == ["input_words", "lightspeed"]
        assert {shield.identifier for shield in data} == {"lightspeed", "team-words"}
    _, table = await start({"input_words": PATTERNS})
    assert set(await shown(table)) == {"lightspeed", "input_words"}


async def test_an_entry_keeps_its_owner(start: Start) -> None:
    _, table = await start({"input_words": PATTERNS})
    entry = await table.dist_registry.get("shield", "input_words")
    assert isinstance(entry, ShieldWithOwner)
    owner = User(principal="alice", attributes=None)
    await table.dist_registry.update(entry.model_copy(update={"owner": owner}))
    _, table = await start({"input_words": {**PATTERNS, "timeout_s": 3}})
    entry = await table.dist_registry.get("shield", "input_words")
    assert isinstance(entry, ShieldWithOwner)
    assert entry.owner is not None
    assert (entry.owner.principal, (entry.params or {})["timeout_s"]) == ("alice", 3.0)


async def test_a_reload_shows_what_runs_now(start: Start) -> None:
    provider, table = await start({"input_words": PATTERNS, "output_gone": REDACTION})
    new = LightspeedShieldsConfig.model_validate(
        {"shields": {"input_words": {**PATTERNS, "timeout_s": 1}, "tool_new": PATTERNS}}
    )
    await provider.registered.publish(table, new.shields)
    told = await shown(table)
    assert set(told) == {"lightspeed", "input_words", "tool_new"}
    assert told["input_words"]["timeout_s"] == 1.0


def test_a_conversation_survives_a_changed_shield(index: Path, tmp_path: Path) -> None:
    # A process of its own: Llama Stack knows one set of stores a process.
    story = multiprocessing.get_context("spawn").Process(
        target=conversation_story, args=(index, tmp_path)
    )
    story.start()
    story.join(timeout=180)
    assert story.exitcode == 0


def conversation_story(index: Path, state: Path) -> None:
    """Three starts over one state directory, each with another shield."""
    for name in OTHER_SWITCHES & os.environ.keys():
        del os.environ[name]
    file = state / "run.yaml"
    os.environ |= {
        "LIGHTSPEED_STATE_DIR": str(state),
        "LIGHTSPEED_INDEX": str(index),
        "LLAMA_CPP_URL": "http://127.0.0.1:9/v1",
        "LLAMA_STACK_CONFIG": str(file),
    }
    conversation = ""
    for timeout_s, provider_id in ((5, "lightspeed"), (2, "lightspeed"), (2, "another-id")):
        config = run_config()
        [safety] = config["providers"]["safety"]
        safety["provider_id"] = provider_id
        safety["config"]["shields"] = {"input_words": {**PATTERNS, "timeout_s": timeout_s}}
        config["registered_resources"]["shields"] = [
            {"shield_id": "lightspeed", "provider_id": provider_id}
        ]
        file.write_text(yaml.safe_dump(config))
        with TestClient(create_app()) as client:
            listed = client.get("/v1/shields").json()["data"]
            told = {shield["identifier"]: shield for shield in listed}
            assert set(told) == {"lightspeed", "input_words"}
            assert told["input_words"]["params"]["timeout_s"] == timeout_s
            assert told["input_words"]["provider_id"] == provider_id
            if not conversation:
                item = {"type": "message", "role": "user", "content": "What is a model?"}
                made = client.post("/v1/conversations", json={"items": [item]})
                conversation = made.json()["id"]
            items = client.get(f"/v1/conversations/{conversation}/items").json()["data"]
            assert items[0]["content"] == "What is a model?"
            blocked = client.post(
                "/v1/moderations", json={"input": "s3cret-project-beta", "model": "lightspeed"}
            ).json()
            assert blocked["results"][0]["flagged"] is True
