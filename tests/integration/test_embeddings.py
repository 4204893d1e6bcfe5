"""The embedding provider and the embedder that it shares with the documentation index."""

import asyncio
import base64
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from llama_stack_api import (
    HealthStatus,
    InferenceProvider,
    ModelType,
    OpenAIEmbeddingsRequestWithExtraBody,
)

from lightspeed_providers.core import devices, precision
from lightspeed_providers.core.embedder import Embedder, shared_embedder
from lightspeed_providers.core.embedding_turns import Turns
from lightspeed_providers.core.encoding import (
    BertEncoder,
    OpenModel,
    Piece,
    PlainEncoder,
    Vectors,
    agreement,
    open_model,
)
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
from lightspeed_providers.core.vector_cache import VectorCache
from lightspeed_providers.embeddings import get_provider_impl
from lightspeed_providers.embeddings.config import LightspeedEmbeddingsConfig
from lightspeed_providers.embeddings.embeddings import LightspeedEmbeddingsImpl

TEXTS = [
    "How do I store sessions in cookies?",
    "migrate",
    "",
    "   ",
    "?!",
    "Größe, naïve café, 日本語, 🎉 and 한국어",
    "\x00\x07 control characters",
    "Run `manage.py migrate --fake app_label 0001` " * 4,
    "one word and another " * 30,
    "far more than the model reads " * 100,
]


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
    # Few tokens are computed with shorter weights than many, many perhaps in bfloat16.
    assert together[37] @ alone[0] > 0.999
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


@pytest.fixture(scope="module")
def plain() -> Any:
    """The model as sentence-transformers computes it."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(embedding_model_path(DEFAULT_EMBEDDING_MODEL), device="cpu")


@pytest.fixture(scope="module")
def float32_model() -> Iterator[OpenModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(precision.PRECISION_VARIABLE, "float32")
        yield open_model(embedding_model_path(DEFAULT_EMBEDDING_MODEL), "cpu")


def test_vectors_are_those_of_the_plain_model(plain: Any) -> None:
    embedder = shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto")
    expected = plain.encode(TEXTS, normalize_embeddings=True)
    together = embedder.encode(TEXTS)
    alone = np.concatenate([asyncio.run(embedder.embed([text])) for text in TEXTS])
    for rows in (together, alone):
        assert rows.dtype == np.float32
        assert (rows * expected).sum(axis=1).min() > 0.999
    assert embedder.encoder_name.startswith("direct ")


async def test_many_callers_each_get_their_own_vectors() -> None:
    embedder = Embedder(DEFAULT_EMBEDDING_MODEL, "cpu")
    texts = [f"{'question ' * (n % 9)}number {n} about {n * n}" for n in range(50)]
    alone = await asyncio.to_thread(embedder.encode, texts)
    computed: list[int] = []
    encoder = embedder._ready().model.encoder
    turns = embedder._ready().questions
    turns._compute = lambda pieces: computed.append(len(pieces)) or encoder.vectors(pieces)
    rows = await asyncio.gather(*(embedder.embed([text]) for text in texts))
    assert (np.concatenate(rows) * alone).sum(axis=1).min() > 0.999
    assert ((np.concatenate(rows) @ alone.T).argmax(axis=1) == range(50)).all()
    assert sum(computed) == 50
    assert len(computed) < 25, "those that wait are computed together"


async def test_a_question_asked_again_is_not_computed_again() -> None:
    embedder = Embedder(DEFAULT_EMBEDDING_MODEL, "cpu")
    first = await embedder.embed_counted(["What is a session?", "What is a view?"])
    embedder._ready().questions._compute = lambda pieces: pytest.fail("computed again")
    again = await embedder.embed_counted(["What is a view?", "What is a session?"] * 2)
    np.testing.assert_array_equal(again.vectors, first.vectors[[1, 0, 1, 0]])
    assert (
        again.tokens
        == 2 * first.tokens
        == 2 * await embedder.count_tokens(["What is a session?", "What is a view?"])
    )
    again.vectors[:] = 0  # a caller's rows are its own
    np.testing.assert_array_equal((await embedder.embed(["What is a view?"]))[0], first.vectors[1])


async def test_the_cache_is_bounded_and_passages_stay_out_of_it() -> None:
    embedder = Embedder(DEFAULT_EMBEDDING_MODEL, "cpu")
    embedder._cache = VectorCache(2)
    for text in ("one", "two", "one", "three"):
        await embedder.embed([text])
    await embedder.embed(["four"] * 8)
    await embedder.embed(["a long text " * 400])
    assert len(embedder._cache) == 2
    assert embedder._cache.get("two") is None
    assert embedder._cache.get("one") is not None
    assert not any(b"one" in key or b"three" in key for key in embedder._cache._known)


class _Gate:
    """Computes only once it is opened, and remembers what it computed."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[str]] = []

    def __call__(self, pieces: Sequence[Piece]) -> Vectors:
        self.batches.append([piece.text for piece in pieces])
        self.entered.set()
        assert self.opened.wait(10)
        if any(piece.text == "bad" for piece in pieces):
            raise ValueError("this text has no vector")
        return np.array([[float(piece.text)] for piece in pieces], dtype=np.float32)


@pytest.fixture
def gate() -> Iterator[_Gate]:
    gate = _Gate()
    yield gate
    gate.opened.set()


def queue(gate: _Gate, *, most_waiting: int = 8) -> Turns:
    executor = ThreadPoolExecutor(1)
    return Turns(gate, executor, dimension=1, budget=6, most_waiting=most_waiting)


def pieces(*texts: str, tokens: int = 1) -> list[Piece]:
    return [Piece(text, [0] * tokens) for text in texts]


def test_calls_that_wait_are_computed_together_and_long_ones_take_turns(gate: _Gate) -> None:
    turns = queue(gate, most_waiting=100)
    first = turns.submit(pieces("0"))
    assert gate.entered.wait(10)
    long = turns.submit(pieces(*"123456789"))
    short = turns.submit(pieces("10"))
    gate.opened.set()
    assert first.result(10).tolist() == [[0]]
    assert long.result(10)[:, 0].tolist() == list(range(1, 10))
    assert short.result(10).tolist() == [[10]]
    assert gate.batches == [["0"], [*"123456"], ["10", *"789"]]


def test_a_batch_holds_no_more_tokens_than_its_budget(gate: _Gate) -> None:
    gate.opened.set()
    turns = queue(gate, most_waiting=100)
    mixed = [*pieces("1", tokens=1), *pieces("2", tokens=9), *pieces("3", tokens=3)]
    assert turns.submit(mixed).result(10)[:, 0].tolist() == [1, 2, 3]
    assert gate.batches == [["2"], ["3", "1"]]
    assert turns.submit([]).result(10).shape == (0, 1)


def test_a_call_that_is_cancelled_while_it_waits_is_not_computed(gate: _Gate) -> None:
    turns = queue(gate)
    turns.submit(pieces("0"))
    assert gate.entered.wait(10)
    given_up, kept = turns.submit(pieces("1")), turns.submit(pieces("2"))
    assert given_up.cancel()
    gate.opened.set()
    assert kept.result(10).tolist() == [[2]]
    assert gate.batches == [["0"], ["2"]]


def test_a_full_queue_says_so_and_empties_again(gate: _Gate) -> None:
    turns = queue(gate, most_waiting=2)
    turns.submit(pieces("0"))
    assert gate.entered.wait(10)
    waiting = [turns.submit(pieces("1")), turns.submit(pieces("2"))]
    with pytest.raises(UnavailableError, match=r"Too many texts wait .* \(2 of 2\)") as refused:
        turns.submit(pieces("3"))
    assert refused.value.status_code == 503
    assert waiting[0].cancel()
    last = turns.submit(pieces("4"))
    gate.opened.set()
    assert [last.result(10).item(), waiting[1].result(10).item()] == [4, 2]


def test_a_fault_reaches_only_the_call_that_it_belongs_to(gate: _Gate) -> None:
    turns = queue(gate)
    first = turns.submit(pieces("0"))
    assert gate.entered.wait(10)
    good, bad, other = (turns.submit(pieces(text)) for text in ("1", "bad", "2"))
    gate.opened.set()
    assert [first.result(10).item(), good.result(10).item(), other.result(10).item()] == [0, 1, 2]
    with pytest.raises(ValueError, match="has no vector"):
        bad.result(10)
    assert turns.submit(pieces("3")).result(10).item() == 3


async def test_a_cancelled_request_leaves_the_queue() -> None:
    embedder = Embedder(DEFAULT_EMBEDDING_MODEL, "cpu")
    await embedder.embed(["warm"])
    many = asyncio.create_task(embedder.embed(["a passage of several words " * 20] * 400))
    await asyncio.sleep(0.3)
    many.cancel()
    with pytest.raises(asyncio.CancelledError):
        await many
    await asyncio.wait_for(embedder.embed(["passages after it " * 3] * 5), 5)
    assert not embedder._ready().passages._waiting


def test_bfloat16_can_be_forced_and_agrees(monkeypatch: pytest.MonkeyPatch, plain: Any) -> None:
    monkeypatch.setenv(precision.PRECISION_VARIABLE, "bfloat16")
    model = open_model(embedding_model_path(DEFAULT_EMBEDDING_MODEL), "cpu")
    assert model.encoder.name == "direct bfloat16"
    rows = model.encoder.vectors(model.pieces(TEXTS))
    expected = plain.encode(TEXTS, normalize_embeddings=True)
    assert 0.999 < (rows * expected).sum(axis=1).min() < 0.9999999
    plainly = PlainEncoder(plain, "bfloat16").vectors(model.pieces(TEXTS[:3]))
    assert (plainly * expected[:3]).sum(axis=1).min() > 0.999


def test_what_disagrees_with_the_plain_model_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, float32_model: OpenModel
) -> None:
    monkeypatch.setenv(precision.PRECISION_VARIABLE, "bfloat16")
    honest = BertEncoder.vectors
    checked = float32_model.pieces(TEXTS)
    expected = honest(float32_model.encoder, checked)  # type: ignore[arg-type]  # it is one

    def wrong(self: BertEncoder, some: Sequence[Piece]) -> Vectors:
        return honest(self, some) if self.name == "direct float32" else -honest(self, some)

    monkeypatch.setattr(BertEncoder, "vectors", wrong)
    path = embedding_model_path(DEFAULT_EMBEDDING_MODEL)
    assert open_model(path, "cpu").encoder.name == "plain bfloat16"
    assert "direct bfloat16: cosine -1." in caplog.text

    def broken(self: BertEncoder, some: Sequence[Piece]) -> Vectors:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(BertEncoder, "vectors", broken)
    monkeypatch.setenv(precision.PRECISION_VARIABLE, "float32")
    fallen_back = open_model(path, "cpu")
    assert fallen_back.encoder.name == "plain float32"
    assert agreement(fallen_back.encoder, expected, checked) > 0.9999


def test_a_model_of_another_kind_is_computed_as_it_is(tmp_path: Any, plain: Any) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling

    other = SentenceTransformer(modules=[plain[0], Pooling(384, pooling_mode="cls")], device="cpu")
    other.save(str(tmp_path / "other"))
    embedder = Embedder(str(tmp_path / "other"), "cpu")
    assert embedder.encoder_name == "plain float32"
    expected = other.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(embedder.encode(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(asyncio.run(embedder.embed(TEXTS[:2])), expected[:2], atol=1e-5)


def test_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv(precision.PRECISION_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    assert precision.choose_precision("cpu") == "float32"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert precision.choose_precision("cpu") == "bfloat16"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert precision.choose_precision("cuda") == "float32"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert precision.choose_precision("cuda") == "bfloat16"
    monkeypatch.setenv(precision.PRECISION_VARIABLE, "float32")
    assert precision.choose_precision("cuda") == "float32"
    monkeypatch.setenv(precision.PRECISION_VARIABLE, "int4")
    with pytest.raises(ConfigurationError, match="Unknown precision 'int4'"):
        precision.choose_precision("cpu")


def test_the_processors_flags_are_read_where_torch_does_not_tell(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    flags = tmp_path / "cpuinfo"
    monkeypatch.setattr(precision, "_CPU_FLAGS", flags)
    assert precision.bfloat16_instructions() == ()
    flags.write_text("flags : fpu avx512_vnni\n")
    assert precision.bfloat16_instructions() == ()
    flags.write_text("flags : fpu avx512_bf16 amx_bf16 amx_tile\n")
    assert precision.bfloat16_instructions() == ("avx512_bf16", "amx_bf16")


async def test_half_a_surrogate_pair_is_embedded_like_a_question_mark() -> None:
    embedder = shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto")
    broken, marked = await embedder.embed(["cut \ud83d short", "cut ? short"])
    np.testing.assert_array_equal(broken, marked)
