"""Texts to vectors: the fastest way that gives what the plain model gives."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.precision import BFLOAT16, FLOAT32, choose_precision

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]

_CHECKED = (
    "How do I store sessions in cookies?",
    "migrate",
    "Größe, naïve café and 日本語 — 100 % of it",
    "Run `python manage.py createsuperuser --email admin@example.com` and answer its questions.",
    "The default is a database that keeps sessions for two weeks and is cleared by a command. " * 4,
)
"""What every way is compared on: short and long, words, code and other scripts."""
_LEAST_COSINE = {FLOAT32: 0.9999, BFLOAT16: 0.999}


@dataclass(frozen=True, slots=True)
class Piece:
    """A text and the tokens that the model reads of it."""

    text: str
    tokens: list[int]


class Encoder(Protocol):
    """One way to compute vectors."""

    name: str
    by_many_threads: bool
    """Whether several threads may compute at the same time."""

    def vectors(self, pieces: Sequence[Piece]) -> Vectors:
        """Return one row of length 1 a piece, computed together."""
        ...


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A loaded model: how texts become tokens, and tokens vectors."""

    encoder: Encoder
    device: str
    dimension: int
    max_tokens: int
    tokens_of: Callable[[Sequence[str]], list[list[int]]]

    def pieces(self, texts: Sequence[str]) -> list[Piece]:
        """Return the texts with their tokens, cut at what the model reads."""
        return [Piece(*pair) for pair in zip(texts, self.tokens_of(texts), strict=True)]


class PlainEncoder:
    """The model as sentence-transformers computes it; works for each of its models."""

    by_many_threads = False  # its tokenizer may not be used twice at once

    def __init__(self, model: Any, precision: str) -> None:  # Any: importing the type takes seconds
        self.name = f"plain {precision}"
        self._model = model
        self._bfloat16 = precision == BFLOAT16

    def vectors(self, pieces: Sequence[Piece]) -> Vectors:
        """Return one row of length 1 a piece, computed together."""
        import torch

        with torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._bfloat16):
            rows: Vectors = self._model.encode(
                [piece.text for piece in pieces],
                batch_size=len(pieces),
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return rows.astype(np.float32, copy=False)


class BertEncoder:
    """The forward pass of `core.bert`, for BERT models that take the mean of their tokens."""

    by_many_threads = True

    def __init__(self, model: Any, precision: str) -> None:  # Any: as above
        from lightspeed_providers.core.bert import Bert

        self.name = f"direct {precision}"
        self._bert = Bert(model[0].auto_model, bfloat16=precision == BFLOAT16)

    def vectors(self, pieces: Sequence[Piece]) -> Vectors:
        """Return one row of length 1 a piece, computed together."""
        rows: Vectors = self._bert.vectors([piece.tokens for piece in pieces]).numpy()
        return rows


def open_model(path: str, device: str, *, trust_remote_code: bool = False) -> OpenModel:
    """Return the model with the fastest encoder that agrees with the plain one."""
    precision = choose_precision(device)
    model = _plain_model(path, device, trust_remote_code)
    max_tokens = int(model.max_seq_length)
    tokens_of = _tokens_of(model.tokenizer, max_tokens)
    pieces = [Piece(*pair) for pair in zip(_CHECKED, tokens_of(_CHECKED), strict=True)]
    return OpenModel(
        encoder=_fastest(model, precision, pieces),
        device=device,
        dimension=_dimension(model),
        max_tokens=max_tokens,
        tokens_of=tokens_of,
    )


def agreement(encoder: Encoder, expected: Vectors, pieces: Sequence[Piece]) -> float:
    """Return the lowest cosine to what is expected, the pieces taken one by one and together."""
    together = encoder.vectors(pieces)
    alone = np.concatenate([encoder.vectors([piece]) for piece in pieces])
    lowest = min(float((rows * expected).sum(axis=1).min()) for rows in (together, alone))
    return lowest if np.isfinite(lowest) else -1.0


def _fastest(model: Any, precision: str, pieces: list[Piece]) -> Encoder:  # Any: as above
    plain = PlainEncoder(model, FLOAT32)
    expected = plain.vectors(pieces)
    for wanted, candidate in _candidates(model, precision):
        try:
            encoder = candidate()
            lowest = agreement(encoder, expected, pieces)
        except Exception as fault:  # whatever a processor or a version of torch can't do
            logger.warning("Embedding in another way than %s: %r", wanted, fault)
            continue
        least = _LEAST_COSINE[BFLOAT16 if BFLOAT16 in encoder.name else FLOAT32]
        if lowest >= least:
            return encoder
        logger.warning(
            "Embedding in another way than %s: cosine %.5f to the plain model, at least %s needed",
            encoder.name,
            lowest,
            least,
        )
    return plain


def _candidates(model: Any, precision: str) -> Iterator[tuple[str, Callable[[], Encoder]]]:
    direct = _is_mean_of_bert(model)
    for tried in dict.fromkeys((precision, FLOAT32)):
        if direct:
            yield f"direct {tried}", partial(BertEncoder, model, tried)
        if tried != FLOAT32:
            yield f"plain {tried}", partial(PlainEncoder, model, tried)


def _is_mean_of_bert(model: Any) -> bool:  # Any: as above
    """Whether a model is what `core.bert` computes; anything unknown says no."""
    kinds = [type(module).__name__ for module in model]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return False
    transformer, pooling = model[0], model[1]
    config = getattr(transformer.auto_model, "config", None)
    # sentence-transformers 6 has one name for what were five switches.
    mode = getattr(pooling, "pooling_mode", None) or pooling.get_pooling_mode_str()
    return (
        type(transformer.auto_model).__name__ == "BertModel"
        and mode == "mean"
        and getattr(config, "hidden_act", "") == "gelu"
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and not getattr(config, "is_decoder", False)
        and not getattr(transformer, "do_lower_case", False)
        and not getattr(model, "default_prompt_name", None)
        and not getattr(model, "truncate_dim", None)
    )


def _tokens_of(tokenizer: Any, max_tokens: int) -> Callable[[Sequence[str]], list[list[int]]]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return lambda texts: _slow_tokens(tokenizer, texts, max_tokens)
    from tokenizers import Tokenizer

    # A copy of our own: the model's is switched to and fro while it computes.
    own = Tokenizer.from_str(backend.to_str())
    own.no_padding()
    own.enable_truncation(max_tokens)

    def tokens_of(texts: Sequence[str]) -> list[list[int]]:
        if len(texts) == 1:
            return [own.encode(_encodable(texts[0])).ids]
        return [each.ids for each in own.encode_batch([_encodable(text) for text in texts])]

    return tokens_of


def _encodable(text: str) -> str:
    """The text as the model strips it, with a mark for half a surrogate pair."""
    return text.strip().encode(errors="replace").decode()


def _slow_tokens(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    encoded = tokenizer(list(texts), truncation=True, max_length=max_tokens)
    lists: list[list[int]] = encoded["input_ids"]
    return lists


def _plain_model(path: str, device: str, trust_remote_code: bool) -> Any:  # Any: as above
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_log

    transformers_log.disable_progress_bar()  # it takes a moment and would tear our own bar
    transformers_log.set_verbosity_error()
    return SentenceTransformer(
        path,
        device=device,
        trust_remote_code=trust_remote_code,
        # A directory needs no hub, and asking it costs seconds where there is no network.
        local_files_only=Path(path).is_dir(),
    )


def _dimension(model: Any) -> int:  # Any: as above
    # The method was renamed in sentence-transformers 5.
    named = getattr(model, "get_embedding_dimension", None)
    return int((named or model.get_sentence_embedding_dimension)())
