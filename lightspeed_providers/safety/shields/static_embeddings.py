"""Sentence vectors from a table of word pieces: rough, and hundreds of times faster than a model.

The table and its tokenizer come in the package wordllama, whose own loader would ask a hub, so its
two files are read here.
"""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PACKAGE = "wordllama"
_WEIGHTS = Path("weights", "l2_supercat_256.safetensors")
_TOKENIZER = Path("tokenizers", "l2_supercat_tokenizer_config.json")
_TABLE = "embedding.weight"

type Vectors = NDArray[np.float32]


class StaticEmbeddings:
    """The mean of a text's word pieces, of length 1; a text without any has only zeros."""

    def __init__(self, table: NDArray[np.float16], tokenizer: "Tokenizer") -> None:
        self._table = table
        self._tokenizer = tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()

    @property
    def dimension(self) -> int:
        """How long a vector is."""
        return int(self._table.shape[1])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row a text; 30 µs each for sentences, longer texts take longer."""
        encoded = self._tokenizer.encode_batch(
            [_encodable(text) for text in texts], add_special_tokens=False
        )
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for row, pieces in zip(rows, encoded, strict=True):
            if pieces.ids:
                row[:] = self._table[pieces.ids].mean(axis=0, dtype=np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)


@cache
def static_embeddings() -> StaticEmbeddings:
    """Return the packaged embeddings, read once; raises ValueError where they are missing."""
    from safetensors import safe_open
    from tokenizers import Tokenizer

    directory = _directory()
    with safe_open(directory / _WEIGHTS, framework="numpy") as weights:
        table = weights.get_tensor(_TABLE)
    return StaticEmbeddings(table, Tokenizer.from_file(str(directory / _TOKENIZER)))


def _directory() -> Path:
    """Return where the package's files lie, without importing it."""
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise ValueError(f"Static embeddings are not installed: install the package {_PACKAGE}.")
    directory = Path(package.origin).parent
    for file in (_WEIGHTS, _TOKENIZER):
        if not (directory / file).is_file():
            raise ValueError(f"Package {_PACKAGE} lacks '{file}': install wordllama>=0.4,<0.5.")
    return directory


def _encodable(text: str) -> str:
    """Return the text without halves of surrogate pairs, which the tokenizer refuses."""
    return text.encode("utf-8", "replace").decode("utf-8")
