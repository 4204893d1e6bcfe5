"""From settings to the database they mean, for the server and for command lines."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from llama_stack.core.storage.datatypes import (
    PostgresSqlStoreConfig,
    SqliteSqlStoreConfig,
    SqlStoreReference,
)
from llama_stack.core.storage.sqlstore.sqlalchemy_sqlstore import SqlAlchemySqlStoreImpl
from llama_stack.core.storage.sqlstore.sqlstore import sqlstore_impl
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.paths import state_dir
from lightspeed_providers.run_configuration import provider_settings, read_run_configuration

from .config import Durability, LightspeedTranscriptsConfig
from .spill import Spill
from .store import TranscriptStore

PROVIDER_TYPE = "inline::lightspeed-transcripts"

_BACKEND: TypeAdapter[SqliteSqlStoreConfig | PostgresSqlStoreConfig] = TypeAdapter(
    SqliteSqlStoreConfig | PostgresSqlStoreConfig
)


def create_engine(reference: SqlStoreReference) -> AsyncEngine:
    """An engine for a backend of the running server, in the running loop."""
    return _engine_of(_host_store(reference))


def table_name_of(reference: SqlStoreReference) -> str:
    """The name that all tables begin with, checked together with the backend."""
    _host_store(reference)  # an unknown backend stops the start
    return _checked(reference.table_name)


def spill_of(reference: SqlStoreReference) -> Spill:
    """Where turns for these tables wait while their database is away."""
    name = f"{reference.backend}.{reference.table_name}"
    return Spill(state_dir() / "transcripts-spill" / name)


@asynccontextmanager
async def opened_store(
    config: str = "lightspeed",
) -> AsyncIterator[tuple[LightspeedTranscriptsConfig, TranscriptStore]]:
    """The transcripts that a server with this run configuration or distribution keeps.

    Turns that an ended server left in a file are in it too.
    """
    settings, backend = _settings(config)
    host_store = SqlAlchemySqlStoreImpl(backend)
    store = TranscriptStore(
        lambda: _engine_of(host_store),
        _checked(settings.store.table_name),
        sync_commits=settings.durability is Durability.STRICT,
    )
    try:
        await spill_of(settings.store).recover(store.insert_turns)
        yield settings, store
    finally:
        await store.close()


def _settings(
    config: str,
) -> tuple[LightspeedTranscriptsConfig, SqliteSqlStoreConfig | PostgresSqlStoreConfig]:
    run = read_run_configuration(config)
    configured = provider_settings(run, "transcripts", PROVIDER_TYPE)
    try:
        settings = LightspeedTranscriptsConfig.model_validate(configured)
        backends = run.get("storage", {}).get("backends", {})
        if settings.store.backend not in backends:
            raise ConfigurationError(
                f"Backend '{settings.store.backend}' of the transcripts is not in storage.backends "
                f"of '{config}' ({', '.join(sorted(backends))}): add it or name one of these."
            )
        backend = _BACKEND.validate_python(backends[settings.store.backend])
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"Setting '{place}' of the transcripts in '{config}' is wrong: {first['msg']}."
        ) from error
    return settings, backend


def _checked(name: str) -> str:
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]{0,39}", name):
        raise ConfigurationError(
            f"Table name '{name}' of the transcripts: "
            "use a letter and at most 39 letters, digits and underscores."
        )
    return name


def _host_store(reference: SqlStoreReference) -> SqlAlchemySqlStoreImpl:
    try:
        store = sqlstore_impl(reference)
    except ValueError as error:
        raise ConfigurationError(f"Failed to open the transcript store: {error}.") from error
    if not isinstance(store, SqlAlchemySqlStoreImpl):
        raise ConfigurationError(
            f"Backend '{reference.backend}' of the transcripts is not SQL: "
            "use one of type sql_sqlite or sql_postgres."
        )
    return store


def _engine_of(store: SqlAlchemySqlStoreImpl) -> AsyncEngine:
    if isinstance(store.config, SqliteSqlStoreConfig):
        path = Path(store.config.db_path).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite would let everybody read it; the files beside it get the same permissions.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine: AsyncEngine = store.create_engine()
    return engine
