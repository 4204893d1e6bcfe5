"""Several indexes and stores answer as one, and go on answering while any of them changes."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import in_server
from llama_stack_api import (
    Api,
    ChunkMetadata,
    EmbeddedChunk,
    HealthStatus,
    InsertChunksRequest,
    OpenAICreateVectorStoreRequestWithExtraBody,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from starlette.testclient import TestClient

from lightspeed_providers.core.embedder import shared_embedder
from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnavailableError,
)
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.readiness import State, board
from lightspeed_providers.product_rag import current as current_module
from lightspeed_providers.product_rag import metrics
from lightspeed_providers.product_rag.config import (
    LightspeedRagConfig,
    RerankerSettings,
    SearchedStore,
)
from lightspeed_providers.product_rag.current import CurrentIndex
from lightspeed_providers.product_rag.filters import Condition, Wanted
from lightspeed_providers.product_rag.ingest.build import build_index
from lightspeed_providers.product_rag.ingest.reading import Documentation
from lightspeed_providers.product_rag.library import IndexSource, Library, Question
from lightspeed_providers.product_rag.product_rag import LightspeedRagImpl
from lightspeed_providers.product_rag.rerank import COMPONENT, CrossEncoderReranker
from lightspeed_providers.product_rag.retrieval import SearchResult, SearchSettings
from lightspeed_providers.product_rag.stores import fits, ranked_scores

MODEL = DEFAULT_EMBEDDING_MODEL
PUMP = "Grease the bearing of the pump every {} months with food safe grease."
OVEN = "Clean the oven's door with warm water; the grease comes off after {} minutes."


def built(folder: Path, product: str, version: str, text: str, name: str = "care") -> Path:
    """An index of one page, named after the product."""
    source = folder / f"docs-{product}-{version}"
    source.mkdir(parents=True, exist_ok=True)
    (source / f"{name}.md").write_text(f"# {product} {name}\n\n{text}\n")
    target = folder / f"{product.lower()}-{version}"
    build_index(
        Documentation(
            source=source,
            product=product,
            version=version,
            title=product,
            url_template="https://docs.example/{version}/{path}#{anchor}",
        ),
        target,
        model=MODEL,
        encoder=lambda: shared_embedder(MODEL, "auto"),
        report=lambda stage, done, total: None,
    )
    return target


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("library")
    return {
        "pump": built(folder, "Pump", "1", PUMP.format("six")),
        "pump-2": built(folder, "Pump", "2", PUMP.format("two")),
        "oven": built(folder, "Oven", "1", OVEN.format("ten")),
    }


@pytest.fixture
def copied(indexes: dict[str, Path], tmp_path: Path) -> Callable[[str, str], Path]:
    """Copies that a test may damage."""
    return lambda which, name: Path(shutil.copytree(indexes[which], tmp_path / name))


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_module, "_LOOK_EVERY_S", 0.0)


@pytest.fixture(autouse=True)
def _board_as_before() -> Iterator[None]:
    before = dict(board._components)
    yield
    board._components = before


async def embedded(text: str) -> Any:
    return (await shared_embedder(MODEL, "auto").embed([text]))[0]


def rag(*names: Path, stores: Sequence[SearchedStore] = (), vector_io: Any = None) -> Any:
    config = LightspeedRagConfig(
        index_dir=",".join(str(name) for name in names),
        stores=list(stores),
        embedding_model=MODEL,
    )
    deps: dict[Any, Any] = {Api.inference: EmbeddingsApi()}
    if vector_io is not None:
        deps[Api.vector_io] = vector_io
    return LightspeedRagImpl(config, deps)


class EmbeddingsApi:
    """The inference API over the real model."""

    async def openai_embeddings(self, params: Any) -> Any:
        text = params.input if isinstance(params.input, str) else params.input[0]
        vector = await embedded(text)

        return SimpleNamespace(data=[SimpleNamespace(embedding=vector.tolist())])


async def asked(impl: Any, query: str, **arguments: Any) -> Any:
    return await impl.invoke_tool("search_product_docs", {"query": query, **arguments})


def sources_of(result: Any) -> list[str]:
    return [passage["source"] for passage in result.metadata["passages"]]


async def test_two_indexes_are_searched_as_one(indexes: dict[str, Path]) -> None:
    impl = rag(indexes["pump"], indexes["oven"])
    await impl.initialize()
    try:
        result = await asked(impl, "How do I grease the bearing of a pump?")
        assert sources_of(result) == ["pump-1", "oven-1"]
        assert result.metadata["searched"] == ["pump-1", "oven-1"]
        assert result.metadata["errors"] == []
        assert "every six months" in result.content
        assert sources_of(await asked(impl, "How do I clean the oven's door?"))[0] == "oven-1"
        assert sources_of(await asked(impl, "grease", product="Oven")) == ["oven-1"]
        assert sources_of(await asked(impl, "grease", filters={"product": "pump"})) == ["pump-1"]
        both = await asked(impl, "grease", filters={"product": ["Pump", "Oven"]})
        assert sorted(sources_of(both)) == ["oven-1", "pump-1"]
        assert len(sources_of(await asked(impl, "grease", max_results=1))) == 1
        [tool] = (await impl.list_runtime_tools()).data
        assert "Pump 1, Oven 1" in tool.description
        for wrong in ({"product": "Kettle"}, {"filters": {"colour": "red"}}, {"language": "de"}):
            with pytest.raises(InvalidRequestError):
                await asked(impl, "grease", **wrong)
    finally:
        await impl.shutdown()
    with pytest.raises(UnavailableError, match="closed"):
        await asked(impl, "grease")


async def test_the_same_text_in_two_indexes_is_given_once(
    indexes: dict[str, Path], copied: Callable[[str, str], Path]
) -> None:
    impl = rag(indexes["pump"], copied("pump", "again"))
    await impl.initialize()
    assert len(sources_of(await asked(impl, "grease the bearing"))) == 1
    await impl.shutdown()


async def test_a_wrong_configuration_stops_the_start_in_one_line(
    indexes: dict[str, Path], tmp_path: Path, copied: Callable[[str, str], Path]
) -> None:
    wrong = [
        (rag(indexes["pump"], tmp_path / "none"), "No documentation index in"),
        (rag(indexes["pump"], copied("oven", "pump-1")), "Two configured indexes are called"),
        (rag(Path(",")), "No index is configured"),
        (
            rag(
                indexes["pump"],
                stores=[SearchedStore(vector_store_id="vs_pump-1")],
                vector_io=object(),
            ),
            "is an index that is searched already",
        ),
        (
            rag(indexes["pump"], stores=[SearchedStore(vector_store_id="vs_1")]),
            "there is no vector_io API",
        ),
    ]
    for impl, said in wrong:
        with pytest.raises(ConfigurationError, match=said) as fault:
            await impl.initialize()
        assert "\n" not in str(fault.value)


# One index takes the other's place


def texts(current: CurrentIndex) -> list[str]:
    with current.in_use() as index, index.snapshot() as snapshot:
        stored = snapshot.stored(range(snapshot.vectors.faiss_index.ntotal))
        return [found.passage.content for found in stored.values()]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def put(source: Path, directory: Path) -> None:
    """Put another index in place as a build does: files first, the manifest last, by rename."""
    for file in sorted(source.iterdir(), key=lambda file: file.name == "manifest.json"):
        shutil.copy(file, directory / ".copied")
        (directory / ".copied").replace(directory / file.name)


def test_a_new_index_is_picked_up_while_threads_search(
    indexes: dict[str, Path], copied: Callable[[str, str], Path]
) -> None:
    directory = copied("pump", "served")
    current = CurrentIndex(directory, MODEL)
    stop = threading.Event()
    seen: set[str] = set()

    def search() -> int:
        count = 0
        while not stop.is_set():
            with current.in_use() as index, index.snapshot() as snapshot:
                versions = {group.version for group in snapshot.groups}
                stored = snapshot.stored(range(snapshot.vectors.faiss_index.ntotal))
                told = {found.passage.version for found in stored.values()}
                assert told == versions
                seen.update(versions)
            count += 1
        return count

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(search) for _ in range(4)]
        for which in ("pump-2", "pump", "pump-2"):
            put(indexes[which], directory)
            version = "2" if which == "pump-2" else "1"
            until(lambda version=version: current.manifest.releases[0].version == version)
        stop.set()
        assert all(future.result() > 0 for future in running)
    assert seen == {"1", "2"}
    current.close()


def test_a_search_ends_on_the_index_it_began_with(
    indexes: dict[str, Path], copied: Callable[[str, str], Path]
) -> None:
    directory = copied("pump", "served")
    current = CurrentIndex(directory, MODEL)
    with current.in_use() as old:
        put(indexes["pump-2"], directory)
        until(lambda: any("two" in text for text in texts(current)))
        with old.snapshot() as snapshot:
            assert "six" in snapshot.stored([0])[0].passage.content
    assert old._connections.empty()  # closed with the last search
    current.close()


def test_symbolic_links_and_replaced_directories_are_noticed(
    indexes: dict[str, Path], tmp_path: Path
) -> None:
    link = tmp_path / "mounted"
    link.symlink_to(indexes["pump"])
    current = CurrentIndex(link, MODEL)
    assert "six" in texts(current)[0]
    (tmp_path / "next").symlink_to(indexes["pump-2"])
    (tmp_path / "next").replace(link)
    until(lambda: "two" in texts(current)[0])
    link.unlink()
    shutil.copytree(indexes["pump"], tmp_path / "staged")
    (tmp_path / "staged").rename(link)
    until(lambda: "six" in texts(current)[0])
    assert current.problem is None
    current.close()


def test_a_broken_new_index_leaves_the_old_one_in_use_until_it_is_whole(
    indexes: dict[str, Path],
    copied: Callable[[str, str], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = copied("pump", "served")
    current = CurrentIndex(directory, MODEL)
    (vectors,) = indexes["pump-2"].glob("vectors-*")
    put(indexes["pump-2"], directory)
    (directory / vectors.name).write_bytes(vectors.read_bytes()[:-10])
    until(lambda: "six" in texts(current)[0] and current.problem is not None)
    assert "bytes instead of" in str(current.problem)
    for _ in range(5):
        assert "six" in texts(current)[0]
    refusals = [r for r in caplog.records if "New index not used" in r.getMessage()]
    assert len(refusals) == 1
    (directory / vectors.name).write_bytes(vectors.read_bytes())
    until(lambda: "two" in texts(current)[0])
    assert current.problem is None
    current.close()


async def test_an_index_that_vanishes_still_answers_and_health_says_so(
    copied: Callable[[str, str], Path],
) -> None:
    directory = copied("pump", "served")
    impl = rag(directory)
    await impl.initialize()
    shutil.rmtree(directory)
    for _ in range(3):
        assert sources_of(await asked(impl, "grease")) == ["served"]
    health = await impl.health()
    assert health["status"] == HealthStatus.ERROR
    assert "is gone" in str(health["message"])
    await impl.shutdown()


async def test_a_file_that_was_cut_short_is_an_error_and_not_the_end_of_the_process(
    copied: Callable[[str, str], Path],
) -> None:
    directory = copied("pump", "served")
    impl = rag(directory)
    await impl.initialize()
    (vectors,) = directory.glob("vectors-*")
    with vectors.open("r+b") as file:
        file.truncate(10)
    with pytest.raises(UnavailableError, match="cut short while in use"):
        await asked(impl, "grease")
    await impl.shutdown()


# Sources that fail


@dataclass
class Failing:
    """A source that fails in the way it is told to."""

    name: str
    fault: Exception | None = None

    async def find(self, question: Question) -> SearchResult:
        if self.fault is not None:
            raise self.fault
        async with asyncio.timeout(0.01):
            await asyncio.sleep(5)
        raise AssertionError


async def test_what_fails_is_named_and_the_rest_answers(indexes: dict[str, Path]) -> None:
    current = CurrentIndex(indexes["pump"], MODEL)
    with ThreadPoolExecutor(1) as executor:
        whole = IndexSource(current, executor, 5.0)
        sources = [whole, Failing("slow"), Failing("odd", ZeroDivisionError())]
        found = await Library(sources, embedded).search("grease", SearchSettings())
        assert [passage.source for passage in found.passages] == ["pump-1"]
        assert found.errors == (
            "'slow' did not answer in time: it was left out.",
            "'odd' failed (ZeroDivisionError).",
        )
        assert found.asked == ("pump-1", "slow", "odd")
    current.close()


async def test_when_all_fail_that_is_an_error_and_never_an_empty_answer() -> None:
    sources = [Failing("slow"), Failing("odd", ZeroDivisionError())]
    with pytest.raises(UnavailableError, match=r"'slow' did not answer.*'odd' failed") as fault:
        await Library(sources, embedded).search("grease", SearchSettings())
    assert fault.value.status_code == 503

    async def dead(text: str) -> Any:
        raise UnavailableError("The embedding model is gone.")

    with pytest.raises(UnavailableError, match="did not answer"):
        await Library([Failing("slow")], dead).search("grease", SearchSettings())


async def test_a_refusal_counts_only_if_all_refuse(indexes: dict[str, Path]) -> None:
    refusing = Failing("other", InvalidRequestError("No documentation of version '9'."))
    with pytest.raises(InvalidRequestError):
        await Library([refusing], embedded).search("grease", SearchSettings())
    current = CurrentIndex(indexes["pump"], MODEL)
    with ThreadPoolExecutor(1) as executor:
        library = Library([refusing, IndexSource(current, executor, 5.0)], embedded)
        found = await library.search("grease", SearchSettings())
    assert len(found.hits) == 1
    assert found.errors == ()
    current.close()


async def test_searches_and_failures_are_counted_without_their_words(
    indexes: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    for name in ("searches", "source_failures"):
        monkeypatch.setattr(metrics, name, meter.create_counter(name))
    monkeypatch.setattr(metrics, "duration", meter.create_histogram("duration"))
    current = CurrentIndex(indexes["pump"], MODEL)
    with ThreadPoolExecutor(1) as executor:
        sources = [IndexSource(current, executor, 5.0), Failing("slow")]
        library = Library(sources, embedded)
        await library.search("grease of Mrs Smith", SearchSettings())
        await library.search("Smith", SearchSettings(min_score=1.0))
        with pytest.raises(InvalidRequestError):
            await library.search(" ", SearchSettings())
        with pytest.raises(UnavailableError):
            await Library(sources[1:], embedded).search("Smith", SearchSettings())
    current.close()
    data = reader.get_metrics_data()
    assert data is not None
    counted = {
        (metric.name, *dict(point.attributes or {}).values()): getattr(point, "value", None)
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    }
    outcomes = {"found": 1, "nothing": 1, "refused": 1, "failed": 1}
    assert {name[1]: n for name, n in counted.items() if name[0] == "searches"} == outcomes
    assert counted["source_failures", "slow", "timeout"] == 3
    assert "Smith" not in str(data.to_json())


# Customers' own stores


def test_ranks_become_scores() -> None:
    assert ranked_scores(4, 0.8) == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert ranked_scores(0, 0.8) == []


def test_a_chunk_that_says_nothing_of_its_version_is_of_any() -> None:
    assert fits(Wanted(product="Pump", version="latest"), {})
    assert fits(Wanted(version="5.2.1"), {"version": "5.2"})
    assert not fits(Wanted(version="5.1"), {"version": "5.2"})
    assert not fits(Wanted(product="Pump"), {"product": "Oven"})
    assert not fits(Wanted(where=Condition("team", "eq", "a")), {})


NOTE = "Our own rule: the pump's bearing is greased on the first Monday, by two people."


def test_a_faiss_store_is_searched_beside_the_index(
    client: TestClient, app: Any, indexes: dict[str, Path]
) -> None:
    async def story() -> None:
        vector_io = app.stack.impls[Api.vector_io]
        store = await vector_io.openai_create_vector_store(
            OpenAICreateVectorStoreRequestWithExtraBody(name="notes")
        )
        await vector_io.insert_chunks(
            InsertChunksRequest(vector_store_id=store.id, chunks=[await note_chunk()])
        )
        wanted = SearchedStore(vector_store_id=store.id, name="notes", weight=0.9)
        missing = SearchedStore(vector_store_id="vs_none")
        impl = rag(indexes["pump"], stores=[wanted, missing], vector_io=vector_io)
        await impl.initialize()
        result = await asked(impl, "When is the bearing of the pump greased?")
        assert sorted(sources_of(result)) == ["notes", "pump-1"]
        [note] = [p for p in result.metadata["passages"] if p["source"] == "notes"]
        assert note["doc_url"] == "https://wiki.example/pump"
        assert note["title"] == "Pump rules"
        assert note["attributes"] == {"team": "b"}
        assert note["score"] == 0.9
        [error] = result.metadata["errors"]
        assert "'vs_none' can't be searched" in error
        assert sources_of(await asked(impl, "bearing", version="1")) != []
        await impl.shutdown()
        await vector_io.openai_delete_vector_store(store.id)

    in_server(client, story)


async def note_chunk() -> EmbeddedChunk:
    vector = await embedded(NOTE)
    return EmbeddedChunk(
        content=NOTE,
        chunk_id="note-1",
        metadata={
            "document_id": "note",
            "url": "https://wiki.example/pump",
            "title": "Pump rules",
            "team": "b",
        },
        chunk_metadata=ChunkMetadata(chunk_id="note-1", document_id="note"),
        embedding=vector.tolist(),
        embedding_model=MODEL,
        embedding_dimension=len(vector),
    )


# The reranker; its weights are random, everything else is real


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from lightspeed_providers.core.model_packages import embedding_model_path

    target = tmp_path_factory.mktemp("cross-encoder")
    tokenizer = AutoTokenizer.from_pretrained(embedding_model_path(MODEL))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=1,
        initializer_range=1.0,  # scores that differ
    )
    BertForSequenceClassification(config).save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


async def test_a_cross_encoder_judges_in_the_background(
    cross_encoder: Path, indexes: dict[str, Path]
) -> None:
    impl = rag(indexes["pump"], indexes["oven"])
    impl.config.reranker = RerankerSettings(model=str(cross_encoder), device="cpu", timeout_s=20)
    await impl.initialize()

    def state() -> State | None:
        return next((c.state for c in board.components() if c.name == COMPONENT), None)

    await asyncio.to_thread(until_ready, state)
    plain = CrossEncoderReranker(impl.config.reranker)
    plain.start_loading()
    await asyncio.to_thread(until_ready, lambda: State.READY if plain._loaded.done() else None)
    result = await asked(impl, "grease")
    assert result.metadata["errors"] == []
    passages = result.metadata["passages"]
    expected = plain.scores("grease", [passage["content"] for passage in passages])
    assert [p["score"] for p in passages] == pytest.approx(expected, abs=1e-3)
    assert expected == sorted(expected, reverse=True)
    assert plain.scores("grease", []) == []
    plain.close()
    await impl.shutdown()


def until_ready(state: Callable[[], State | None]) -> None:
    deadline = time.monotonic() + 60
    while state() is not State.READY:
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_a_reranker_that_can_not_be_loaded_costs_only_itself(
    indexes: dict[str, Path], tmp_path: Path
) -> None:
    impl = rag(indexes["pump"])
    impl.config.reranker = RerankerSettings(model=str(tmp_path / "none"), device="cpu")
    await impl.initialize()
    result = await asked(impl, "grease")
    assert sources_of(result) == ["pump-1"]
    assert "Reranking failed" in result.metadata["errors"][0]
    await impl.shutdown()
