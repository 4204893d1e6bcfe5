"""Vectors of examples are kept between starts, and never trusted blindly."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lightspeed_providers.safety.shields.kept_vectors import kept_vectors

TEXTS = [f"example {n}" for n in range(40)]


class Model:
    """Gives each text a vector of its own; notes how many it was asked for."""

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.asked = seed, 0

    async def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        self.asked += len(texts)
        rows = [np.random.default_rng([self.seed, *text.encode()]).normal(size=8) for text in texts]
        return np.array(rows, np.float32)


def files_in(cache: Path) -> list[Path]:
    return list(cache.iterdir())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIGHTSPEED_CACHE_DIR", str(tmp_path))
    return tmp_path / "vectors"


async def test_a_second_start_embeds_a_few() -> None:
    first = await kept_vectors("m", TEXTS, Model())
    again = Model()
    assert np.array_equal(await kept_vectors("m", TEXTS, again), first)
    assert again.asked == 3


@pytest.mark.parametrize(
    ("model", "texts"), [("other", TEXTS), ("m", TEXTS[::-1]), ("m", [*TEXTS, "one more"])]
)
async def test_another_model_or_other_texts_are_embedded(model: str, texts: list[str]) -> None:
    await kept_vectors("m", TEXTS, Model())
    again = Model()
    assert np.array_equal(await kept_vectors(model, texts, again), await Model()(texts))
    assert again.asked == len(texts)


async def test_a_model_that_changed_under_its_name_is_noticed() -> None:
    await kept_vectors("m", TEXTS, Model())
    changed = Model(seed=1)
    assert np.array_equal(await kept_vectors("m", TEXTS, changed), await Model(seed=1)(TEXTS))
    unchanged = Model(seed=1)
    await kept_vectors("m", TEXTS, unchanged)
    assert unchanged.asked == 3


@pytest.mark.parametrize("damage", [b"", b"no numbers", b"\x93NUMPY\x01\x00"])
async def test_a_damaged_file_costs_only_time(damage: bytes, cache: Path) -> None:
    await kept_vectors("m", TEXTS, Model())
    [file] = files_in(cache)
    file.write_bytes(damage)
    assert np.array_equal(await kept_vectors("m", TEXTS, Model()), await Model()(TEXTS))
    assert len(file.read_bytes()) > len(damage)


async def test_a_directory_that_can_not_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIGHTSPEED_CACHE_DIR", str(tmp_path / "file"))
    assert np.array_equal(await kept_vectors("m", TEXTS, Model()), await Model()(TEXTS))
    assert "not kept" in caplog.text


async def test_only_the_latest_files_stay(cache: Path) -> None:
    for n in range(20):
        await kept_vectors(f"model {n}", TEXTS, Model())
    assert len(files_in(cache)) == 16
