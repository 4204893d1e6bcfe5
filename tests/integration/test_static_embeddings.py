"""Vectors from a table: what they are good for, and that nothing else is loaded for them."""

import subprocess
import sys
import time

import numpy as np
import pytest

from lightspeed_providers.safety.shields import static_embeddings as module
from lightspeed_providers.safety.shields.static_embeddings import static_embeddings


def test_a_vector_has_length_one_and_no_words_have_none() -> None:
    vectors = static_embeddings().embed(["How do I add a foreign key?", "x", ""])
    assert vectors.shape == (3, static_embeddings().dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 0], abs=1e-5)


def test_likeness_follows_the_meaning() -> None:
    question, alike, other = static_embeddings().embed(
        ["How do I add a foreign key?", "adding foreign keys to a model", "bake a loaf of bread"]
    )
    assert question @ alike > question @ other + 0.3


def test_a_batch_gives_what_single_texts_give() -> None:
    texts = ["one", "two words", "a rather longer sentence about three things"]
    together = static_embeddings().embed(texts)
    alone = np.vstack([static_embeddings().embed([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize(
    "text", ["\ud800 half a pair", "\x00", "🤖" * 1000, "日本語", "\u200b" * 9]
)
def test_any_text_has_a_finite_vector(text: str) -> None:
    assert np.isfinite(static_embeddings().embed([text])).all()


def test_a_sentence_takes_a_fraction_of_a_millisecond() -> None:
    embeddings = static_embeddings()
    sentences = [f"How do I add field number {number} to my model?" for number in range(500)]
    began = time.process_time()
    for sentence in sentences:
        embeddings.embed([sentence])
    assert (time.process_time() - began) / len(sentences) < 0.001


def test_the_package_is_read_and_never_imported() -> None:
    script = (
        "import sys; from lightspeed_providers.safety.shields.static_embeddings import "
        "static_embeddings as s; s().embed(['a']); "
        "sys.exit(bool({'wordllama', 'torch', 'transformers', 'requests'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGE", "no_such_package")
    with pytest.raises(ValueError, match="install the package no_such_package"):
        static_embeddings.__wrapped__()


def test_a_package_without_its_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGE", "json")
    with pytest.raises(ValueError, match=r"Package json lacks 'weights/.*safetensors'"):
        static_embeddings.__wrapped__()
