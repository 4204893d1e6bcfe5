"""Which words a text has: the same for what is stored and what is searched, in every database."""

import hashlib
import re
from itertools import accumulate

LONGEST = 64
MOST_BYTES = 500_000  # PostgreSQL takes 1 MB of words

LARGEST_CHARACTER = 12  # bytes that one may become: three of four bytes each, without its case

_WORD = re.compile(r"[^\W_]+")


def words_of(*texts: str) -> list[str]:
    """The distinct words, without case; of a longer one its beginning, of very many the first."""
    found = dict.fromkeys(
        word[:LONGEST] for text in texts for word in _WORD.findall(text.casefold())
    )
    words = list(found)
    if sum(map(len, texts)) < MOST_BYTES // LARGEST_CHARACTER:
        return words
    sizes = accumulate(len(word.encode()) for word in words)
    return [word for word, size in zip(words, sizes, strict=True) if size <= MOST_BYTES]


def user_word(user_hash: str) -> str:
    """What stands for the user among the words; no text has it."""
    return "·" + hashlib.sha256(user_hash.encode()).hexdigest()[:32]
