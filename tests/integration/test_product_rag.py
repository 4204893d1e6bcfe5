"""The tool `search_product_docs`: what a model and a program get from it, and what stops it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from llama_stack_api import (
    Api,
    OpenAIEmbeddingData,
    OpenAIEmbeddingsRequestWithExtraBody,
    OpenAIEmbeddingsResponse,
    OpenAIEmbeddingUsage,
)
from pump_manual import build_really, manual, written

from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.embeddings.config import LightspeedEmbeddingsConfig
from lightspeed_providers.embeddings.embeddings import LightspeedEmbeddingsImpl
from lightspeed_providers.product_rag import get_provider_impl
from lightspeed_providers.product_rag.config import LightspeedRagConfig
from lightspeed_providers.product_rag.index.manifest import read_manifest
from lightspeed_providers.product_rag.index.open import open_index
from lightspeed_providers.product_rag.product_rag import LightspeedRagImpl, as_text

TOOL = "search_product_docs"

OLD = """---
audience: admin
---
# Pressure alarms

## Silence an alarm

Turn the key to the left and hold it until the bell stops; it rings again after one hour.
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two releases of the manual in one index."""
    folder = tmp_path_factory.mktemp("tool")
    old = manual(written(folder / "old", {"alarms.md": OLD}), version="2.0")
    build_really(old, folder / "index")
    build_really(manual(folder / "docs"), folder / "index", add=True)
    return folder / "index"


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(built, tmp_path / "index"))


@pytest.fixture
async def tool(built: Path) -> AsyncIterator[LightspeedRagImpl]:
    inference = LightspeedEmbeddingsImpl(LightspeedEmbeddingsConfig(device="auto"))
    config = LightspeedRagConfig(index_dir=str(built))
    opened = await get_provider_impl(config, {Api.inference: inference})
    yield opened
    await opened.shutdown()


async def found(tool: LightspeedRagImpl, query: str, **arguments: Any) -> list[Passage]:
    result = await tool.invoke_tool(TOOL, {"query": query, **arguments})
    assert result.metadata is not None
    assert result.metadata["errors"] == []
    return [Passage.model_validate(passage) for passage in result.metadata["passages"]]


# Calling it


async def test_the_tool_is_listed_with_its_arguments(tool: LightspeedRagImpl) -> None:
    listed = (await tool.list_runtime_tools("lightspeed")).data
    assert [(t.toolgroup_id, t.name) for t in listed] == [("lightspeed", TOOL)]
    assert "Acme Pump 2.1" in (listed[0].description or "")
    assert listed[0].input_schema is not None
    assert listed[0].input_schema["required"] == ["query"]
    assert {"query", "max_results", "product", "version", "language", "filters"} <= set(
        listed[0].input_schema["properties"]
    )
    assert (await tool.health())["status"] == "OK"


async def test_the_tool_answers_for_a_model_and_for_code(tool: LightspeedRagImpl) -> None:
    arguments = {"query": "How do I silence an alarm?", "max_results": 2, "version": "2.1.7"}
    result = await tool.invoke_tool(TOOL, arguments)
    assert isinstance(result.content, str)
    assert result.content.startswith("[1] Pressure alarms › Silence an alarm\n")
    assert "\n\n[2] " in result.content
    assert result.metadata is not None
    passages = [Passage.model_validate(p) for p in result.metadata["passages"]]
    assert len(passages) == 2
    assert passages[0].doc_url == "https://docs.example.com/2.1/pressure/#silence-an-alarm"
    assert result.metadata["best_score"] > 0.5
    assert result.metadata["took_ms"] > 0
    assert json.dumps(result.metadata)


async def test_the_tool_may_be_called_with_its_groups_name(tool: LightspeedRagImpl) -> None:
    result = await tool.invoke_tool(f"lightspeed/{TOOL}", {"query": "alarm"})
    assert str(result.content).startswith("[1] ")


async def test_the_newest_version_answers_unless_another_is_named(tool: LightspeedRagImpl) -> None:
    query = "silence an alarm"
    assert (await found(tool, query))[0].version == "2.1"
    assert {p.version for p in await found(tool, query, version="2.0")} == {"2.0"}
    assert {p.version for p in await found(tool, f"{query} in Acme Pump 2.0")} == {"2.0"}
    assert {p.version for p in await found(tool, query, version="all", max_results=20)} == {
        "2.0",
        "2.1",
    }


async def test_the_tool_filters_by_what_pages_say_of_themselves(tool: LightspeedRagImpl) -> None:
    for value in ("admin", ["admin", "guest"]):
        passages = await found(tool, "alarm", version="all", filters={"audience": value})
        assert {p.doc_url for p in passages} == {
            "https://docs.example.com/2.0/alarms/#silence-an-alarm"
        }


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "says"),
    [
        ("other_tool", {"query": "x"}, NotFoundError, "other_tool"),
        (TOOL, {}, InvalidRequestError, "'query'"),
        (TOOL, {"query": 7}, InvalidRequestError, "'query'"),
        (TOOL, {"query": " "}, InvalidRequestError, "empty"),
        (TOOL, {"query": "x", "max_results": 0}, InvalidRequestError, "'max_"),
        (TOOL, {"query": "x", "max_results": 10**4}, InvalidRequestError, "'max_"),
        (TOOL, {"query": "x", "colour": 1}, InvalidRequestError, "'colour'"),
        (TOOL, {"query": "x", "product": "Foo"}, InvalidRequestError, "Acme Pump"),
        (TOOL, {"query": "x", "version": "3"}, InvalidRequestError, "2.0, 2.1"),
        (TOOL, {"query": "x", "language": "fr"}, InvalidRequestError, "en"),
        (TOOL, {"query": "x", "filters": {"colour": "red"}}, InvalidRequestError, "audience"),
        (TOOL, {"query": "x", "filters": "audience"}, InvalidRequestError, "'filters'"),
    ],
)
async def test_wrong_calls_are_told_what_is_wrong(
    tool: LightspeedRagImpl, name: str, arguments: dict[str, object], kind: type, says: str
) -> None:
    with pytest.raises(kind, match=r"^[^\n]+$") as caught:
        await tool.invoke_tool(name, arguments)
    assert says in str(caught.value)


def test_no_passages_are_said_in_words() -> None:
    assert as_text([]) == "Nothing in the documentation matches."


async def test_a_threshold_and_a_budget_are_the_configurations(built: Path) -> None:
    inference = LightspeedEmbeddingsImpl(LightspeedEmbeddingsConfig(device="auto"))
    config = LightspeedRagConfig(index_dir=str(built), min_score=0.4, max_tokens=100)
    tool = await get_provider_impl(config, {Api.inference: inference})
    assert await found(tool, "Who won the election?") == []
    bounded = await found(tool, "Which pressure alarms are there?")
    assert sum(len(passage.content.split()) for passage in bounded) < 100
    assert 1 <= len(bounded) < config.max_results
    await tool.shutdown()


class FakeInference:
    """A fake: embeds with another model, of 3 dimensions."""

    async def openai_embeddings(
        self, params: OpenAIEmbeddingsRequestWithExtraBody
    ) -> OpenAIEmbeddingsResponse:
        data = [OpenAIEmbeddingData(embedding=[1.0, 0.0, 0.0], index=0)]
        usage = OpenAIEmbeddingUsage(prompt_tokens=1, total_tokens=1)
        return OpenAIEmbeddingsResponse(data=data, model=params.model, usage=usage)


async def test_a_model_of_other_dimensions_is_named(built: Path) -> None:
    config = LightspeedRagConfig(index_dir=str(built))
    tool = await get_provider_impl(config, {Api.inference: FakeInference()})
    with pytest.raises(ConfigurationError, match="3 dimensions and the index has 384"):
        await tool.invoke_tool(TOOL, {"query": "x"})
    await tool.shutdown()
    assert (await tool.health())["status"] == "Error"
    with pytest.raises(UnavailableError, match="stopping"):
        await tool.invoke_tool(TOOL, {"query": "x"})


# Opening its index


def passages_file(directory: Path) -> Path:
    return directory / read_manifest(directory).passages_file.name


def truncate(directory: Path) -> None:
    path = directory / read_manifest(directory).vectors.name
    path.write_bytes(path.read_bytes()[:-100])


def change_a_byte(directory: Path) -> None:
    path = passages_file(directory)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def edit(key: str, value: object) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        facts = json.loads((directory / "manifest.json").read_text())
        (directory / "manifest.json").write_text(json.dumps(facts | {key: value}))

    return change


def remove_manifest(directory: Path) -> None:
    (directory / "manifest.json").unlink()


def break_manifest(directory: Path) -> None:
    (directory / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "bytes instead of"),
        (change_a_byte, "does not have the hash"),
        (lambda directory: passages_file(directory).unlink(), "can't be read"),
        (remove_manifest, "lightspeed ingest"),
        (break_manifest, "build it again"),
        (edit("format_version", 99), "format version 99"),
        (edit("format_version", 1), "build the index again"),
        (edit("dimension", 768), "768"),
        (edit("pages", "many"), "wrong at 'pages'"),
        (edit("embedding_model", "other/model"), "other/model"),
    ],
)
async def test_a_wrong_index_stops_the_start_with_one_line(
    index: Path, damage: Callable[[Path], None], says: str
) -> None:
    damage(index)
    config = LightspeedRagConfig(index_dir=str(index))
    with pytest.raises(ConfigurationError, match=r"^[^\n]+$") as caught:
        await get_provider_impl(config, {Api.inference: None})
    assert says in str(caught.value)


def test_opening_does_not_import_torch(built: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from lightspeed_providers.product_rag.index.open import open_index\n"
        "from lightspeed_providers.product_rag.retrieval import Retriever\n"
        f"Retriever(open_index(Path({str(built)!r}), {DEFAULT_EMBEDDING_MODEL!r}))\n"
        "assert not {'torch', 'llama_stack', 'llama_stack_api'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
async def test_a_write_protected_index_opens(index: Path) -> None:
    subprocess.run(["chmod", "-R", "a-w", index], check=True)  # noqa: ASYNC221 # takes no time
    inference = LightspeedEmbeddingsImpl(LightspeedEmbeddingsConfig(device="auto"))
    tool = await get_provider_impl(
        LightspeedRagConfig(index_dir=str(index)), {Api.inference: inference}
    )
    try:
        assert await found(tool, "pressure")
    finally:
        await tool.shutdown()
        subprocess.run(["chmod", "-R", "u+w", index], check=True)  # noqa: ASYNC221 # see above


def test_a_model_may_have_its_providers_name_in_front(built: Path) -> None:
    with closing(open_index(built, f"some-provider/{DEFAULT_EMBEDDING_MODEL}")) as opened:
        assert opened.manifest.embedding_model == DEFAULT_EMBEDDING_MODEL
