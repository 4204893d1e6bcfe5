"""The embedding provider and the embedder that it shares with the documentation index."""

import asyncio
import base64
from typing import Any

import numpy as np
import pytest
from llama_stack_api import (
    HealthStatus,
    InferenceProvider,
    ModelType,
    OpenAIEmbeddingsRequestWithExtraBody,
)

from lightspeed_providers.core import devices
from lightspeed_providers.core.embedder import Embedder, shared_embedder
from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnavailableError,
)
from lightspeed_providers.core.model_packages import (
    DEFAULT_EMBEDDING_MODEL,
    embedding_model_path,
)
from lightspeed_providers.core.readiness import State, board
from lightspeed_providers.embeddings import get_provider_impl
from lightspeed_providers.embeddings.config import LightspeedEmbeddingsConfig
from lightspeed_providers.embeddings.embeddings import LightspeedEmbeddingsImpl


async def provider(**fields: Any) -> LightspeedEmbeddingsImpl:
    return await get_provider_impl(LightspeedEmbeddingsConfig(**fields), {})


def request(texts: Any, **fields: Any) -> OpenAIEmbeddingsRequestWithExtraBody:
    return OpenAIEmbeddingsRequestWithExtraBody(
        model=DEFAULT_EMBEDDING_MODEL, input=texts, **fields
    )


async def test_floats_and_base64_are_the_same_unit_vectors() -> None:
    impl = await provider()
    texts = ["How do I store sessions in cookies?", "Session engines", "Bananas are yellow"]
    floats = await impl.openai_embeddings(request(texts))
    packed = await impl.openai_embeddings(request(texts, encoding_format="base64"))
    rows = np.array([d.embedding for d in floats.data], dtype=np.float32)
    same = np.array([np.frombuffer(base64.b64decode(d.embedding), "<f4") for d in packed.data])
    assert rows.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(rows, same)
    assert rows[0] @ rows[1] > rows[0] @ rows[2]
    assert (await impl.health())["status"] is HealthStatus.OK


async def test_usage_counts_the_tokens_that_the_model_reads() -> None:
    impl = await provider()
    one = await impl.openai_embeddings(request("hello"))
    assert one.usage.prompt_tokens == 3  # the word between the two marks of the model
    long = await impl.openai_embeddings(request(["hello " * 1000, "hello"]))
    assert long.usage.total_tokens == 256 + 3


async def test_what_is_not_supported_is_refused_in_one_line() -> None:
    impl = await provider()
    with pytest.raises(InvalidRequestError, match="dimensions 100 is not supported"):
        await impl.openai_embeddings(request("hello", dimensions=100))
    assert (await impl.openai_embeddings(request("hello", dimensions=384))).data
    with pytest.raises(InvalidRequestError, match="send text"):
        await impl.openai_embeddings(request([1, 2, 3]))
    for method in ("openai_chat_completion", "openai_completion", "rerank"):
        with pytest.raises(NotImplementedError, match="only embeds"):
            await getattr(impl, method)(None)


async def test_lists_its_model() -> None:
    impl = await provider()
    (model,) = await impl.list_models() or []
    assert model.identifier == DEFAULT_EMBEDDING_MODEL
    assert model.model_type is ModelType.embedding
    assert model.metadata["embedding_dimension"] == 384
    assert not await impl.should_refresh_models()
    assert await impl.register_model(model) == model
    with pytest.raises(InvalidRequestError, match="is not served here"):
        await impl.register_model(model.model_copy(update={"provider_resource_id": "other"}))
    for name in vars(InferenceProvider):
        if not name.startswith("_") and callable(getattr(InferenceProvider, name)):
            assert getattr(type(impl), name) is not getattr(InferenceProvider, name), name


def test_rows_keep_the_order_of_the_texts_and_loops_may_differ() -> None:
    embedder = shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto")
    assert embedder is shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto")
    texts = [f"{'word ' * (n % 7)}{n}" for n in range(150)]
    together = embedder.encode(texts)
    again = asyncio.run(embedder.embed(texts))
    np.testing.assert_array_equal(together, again)
    alone = asyncio.run(embedder.embed([texts[37]]))
    np.testing.assert_allclose(together[37], alone[0], atol=1e-5)
    assert embedder.encode([]).shape == (0, embedder.dimension)
    assert embedder.max_tokens == 256


async def test_a_question_does_not_wait_for_a_whole_import() -> None:
    embedder = shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto")
    await embedder.embed(["warm"])
    many = asyncio.create_task(embedder.embed(["a passage of several words " * 5] * 256))
    await asyncio.sleep(0.01)
    await embedder.embed(["a question"])
    assert not many.done()
    assert (await many).shape == (256, 384)


async def test_a_model_that_is_not_there_is_reported_and_told(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {c.name: c for c in board.components()}
    embedder = Embedder(str(tmp_path), "cpu")
    with pytest.raises(UnavailableError, match="can't be loaded"):
        await embedder.embed(["hello"])
    (state,) = [c for c in board.components() if c.name == "embeddings"]
    assert state.state is State.FAILED
    if known := before.get("embeddings"):
        board.report(known.name, known.state, known.message)


def test_the_package_holds_only_the_default_model() -> None:
    assert embedding_model_path(DEFAULT_EMBEDDING_MODEL).endswith("model")
    assert embedding_model_path("intfloat/e5-small") == "intfloat/e5-small"


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv(devices.DEVICE_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    devices._chosen.cache_clear()
    assert devices.choose_device() == "cpu"
    with pytest.raises(ConfigurationError, match="sees no GPU"):
        devices.choose_device("cuda")
    monkeypatch.setenv(devices.DEVICE_VARIABLE, "cpu")
    assert devices.choose_device("cuda") == "cpu"
    monkeypatch.setenv(devices.DEVICE_VARIABLE, "gpu")
    with pytest.raises(ConfigurationError, match="Unknown device 'gpu'"):
        devices.choose_device()
    devices._chosen.cache_clear()
