"""A question as it was meant: slips of the keyboard set right from the words of the index."""

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from rapidfuzz import process
from rapidfuzz.distance import OSA

from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL, embedding_model_path

_WORD = re.compile(r"(?:(?<![\w.\-/:@$'])[a-z]+|^[A-Z][a-z]+)(?![\w\-/:@(]|\.\w)")
"""Plain words: no name and no part of an identifier, an address, a path or a flag."""
_SHORTEST = 4
_ONE_SLIP_UP_TO = 5
"""Letters up to which one slip is as much as one can be sure of; longer words may have two."""
_MOST_CHARACTERS = 1000


class Speller:
    """Sets words right that neither the index nor English has. Safe to share between threads."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._texts = dict(vocabulary)
        self._by_length: defaultdict[int, list[str]] = defaultdict(list)
        for word in self._texts:
            self._by_length[len(word)].append(word)

    def corrected(self, text: str, is_indexed: Callable[[str], bool]) -> str:
        """Return the text with its slips set right; what is not plainly a slip stays.

        `is_indexed` says whether any text has a word, in any of its forms.
        """
        if len(text) > _MOST_CHARACTERS or not self._texts:
            return text
        return _WORD.sub(lambda found: self._word(found[0], is_indexed), text)

    def _word(self, word: str, is_indexed: Callable[[str], bool]) -> str:
        plain = word.lower()
        is_known = len(plain) < _SHORTEST or plain in self._texts or plain in english_words()
        if is_known or is_indexed(plain):
            return word
        return self._nearest(plain) or word

    def _nearest(self, word: str) -> str | None:
        slips = 1 if len(word) <= _ONE_SLIP_UP_TO else 2
        near = [w for n in range(len(word) - 1, len(word) + 2) for w in self._by_length[n]]
        found = process.extract(word, near, scorer=OSA.distance, score_cutoff=slips, limit=8)
        ranked = [
            (slip, other[0] != word[0], -self._texts[other], other) for other, slip, _ in found
        ]
        return min(ranked)[-1] if ranked else None


@functools.cache
def english_words() -> frozenset[str]:
    """Return the common words that the packaged embedding model's tokenizer has whole."""
    from tokenizers import Tokenizer

    file = Path(embedding_model_path(DEFAULT_EMBEDDING_MODEL)) / "tokenizer.json"
    if not file.is_file():
        return frozenset()
    return frozenset(w for w in Tokenizer.from_file(str(file)).get_vocab() if w.isalpha())
