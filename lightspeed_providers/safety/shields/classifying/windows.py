"""Texts of any length as the windows of tokens that a classifier reads."""

from dataclasses import dataclass
from typing import Any

from lightspeed_providers.core.encoding import Piece
from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.safety.shields.parts import parts, spans

_MOST_TOKENS = 512
"""What classifiers are trained on; some could read more, at a cost that grows with its square."""
_ENGLISH = "How do I store sessions in cookies?"
_CHARACTERS = 8
"""A token has about 4; of a text that has more than this many for each, slices are read."""


@dataclass(frozen=True, slots=True)
class Windows:
    """A classifier's tokenizer and how many tokens the model reads at a time."""

    tokenizer: Any  # Any: tokenizers has no types
    before: list[int]
    after: list[int]
    max_tokens: int

    def of(self, text: str, most: int) -> list[Piece]:
        """Return overlapping windows over the text, at most so many and then evenly spread."""
        size = self.max_tokens - len(self.before) - len(self.after)
        if len(text) <= most * size * _CHARACTERS:
            tokens = self._tokens(text)
            read = [tokens[span] for span in spans(len(tokens), size, size // 4, most)]
        else:
            slices = parts(text, size * _CHARACTERS, 0, most)
            read = [self._tokens(part)[:size] for part in slices]
        return [Piece("", [*self.before, *tokens, *self.after]) for tokens in read]

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return tokens


def open_windows(tokenizer: Any, longest: int, model: str) -> Windows:  # Any: as above
    """Return a model's windows, with a copy of its tokenizer that several threads may use."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigurationError(
            f"Classifier '{model}' has no fast tokenizer: save it with a tokenizer.json."
        )
    from tokenizers import Tokenizer

    own = Tokenizer.from_str(backend.to_str())
    own.no_padding()
    own.no_truncation()
    own.encode_special_tokens = True  # a user who writes [SEP] writes a word
    known = {*own.encode(_ENGLISH, add_special_tokens=False).ids} - {tokenizer.unk_token_id}
    if not known:  # what transformers makes up where the tokenizer's files are missing
        raise ConfigurationError(
            f"Classifier '{model}' has a tokenizer without words: save it with its tokenizer.json."
        )
    framed = own.encode(_ENGLISH)
    first = framed.special_tokens_mask.index(0)
    last = len(framed.ids) - framed.special_tokens_mask[::-1].index(0)
    max_tokens = min(longest, int(tokenizer.model_max_length), _MOST_TOKENS)
    if max_tokens <= first + len(framed.ids) - last:
        raise ConfigurationError(
            f"Classifier '{model}' reads {max_tokens} tokens: correct model_max_length in its "
            "tokenizer_config.json."
        )
    return Windows(own, framed.ids[:first], framed.ids[last:], max_tokens)
