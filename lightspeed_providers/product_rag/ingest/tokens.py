"""How much of a text the embedding model reads."""

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path

from lightspeed_providers.core.model_packages import embedding_model_path

_DEFAULT_LIMIT = 256
_PIECE = re.compile(r"[A-Za-z]{1,6}|\d{1,3}|[^\sA-Za-z\d]")


@functools.cache
def token_counter(model: str) -> Callable[[str], int]:
    """Return a function that counts tokens: exactly for a local model, else by estimate."""
    file = Path(embedding_model_path(model)) / "tokenizer.json"
    if not file.is_file():
        return lambda text: len(_PIECE.findall(text))
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    # Words repeat, and a word's tokens do not depend on its neighbours.
    @functools.lru_cache(maxsize=100_000)
    def of_word(word: str) -> int:
        return len(tokenizer.encode(word, add_special_tokens=False).ids)

    return lambda text: sum(map(of_word, text.split()))


@functools.cache
def token_limit(model: str) -> int:
    """Return how many tokens of a text the model reads, its two frame tokens left out."""
    file = Path(embedding_model_path(model)) / "sentence_bert_config.json"
    limit = json.loads(file.read_text()).get("max_seq_length") if file.is_file() else None
    return (limit if isinstance(limit, int) else _DEFAULT_LIMIT) - 2
