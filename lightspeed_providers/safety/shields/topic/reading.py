"""What of a text is judged: stretches of it that a model reads, and what it asks for."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from lightspeed_providers.safety.shields.matching.normalise import normalised
from lightspeed_providers.safety.shields.topic.small_talk import is_small_talk

WINDOW = 1000
"""Characters that the usual embedding models read."""
_MOST_REQUESTS = 32
_SHORTEST_REQUEST = 3
_LINE = 2000
"""A line that is longer holds no sentence worth looking for."""
_SENTENCES = re.compile(r"(?<=[.!?？。！])\s+|\n+|(?<=[？。！])")
_MIXED = re.compile(r"[A-Za-z][\u0370-\u052f]|[\u0370-\u052f][A-Za-z]")
"""A Latin letter beside a Greek or Cyrillic one: most likely one stands for the other."""
_FILLERS = "\u034f\u115f\u1160\u2800\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10)))
_BLANKS = re.compile(r"[^\S\n]+")
_ASKS = re.compile(
    r"[?？]\W*$"
    r"|^\W*(?:(?:and|then|also|now|next|but|ok|okay|please|first|finally|by the way)\b\W*)*"
    r"(?:write|tell|give|make|explain|translate|summari[sz]e|list|draft|compose|plan|recommend"
    r"|suggest|create|show|describe|compare|find|help|solve|calculate|convert|rewrite|rephrase"
    r"|correct|teach|generate|recite|sing|act|pretend|imagine|invent|answer|say|let's|how|what|who"
    r"|which|why|when|where|i (?:need|want|would like|'d like)|(?:can|could|would|will) you)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Reading:
    """A text as a judge reads it."""

    windows: tuple[str, ...]
    """The whole of a short text; the beginning and the end of a long one. None is small talk."""
    requests: tuple[str, ...]
    """The sentences that ask for something, where there are other sentences too."""


def read(text: str) -> Reading:
    """Return what is to be judged: what nobody sees, and lines that repeat, are left out."""
    seen = _without_repeats(_visible(text))
    if is_small_talk(seen):
        return Reading((), ())
    windows = (seen,) if len(seen) <= WINDOW else (seen[:WINDOW], seen[-WINDOW:])
    return Reading(windows, _requests(seen))


def _visible(text: str) -> str:
    """Return the text without what is not seen, and with words of mixed scripts in one script."""
    if text.isascii():
        return text
    hidden = {ord(sign): None for sign in set(text) if _is_hidden(sign)}
    seen = text.translate(hidden) if hidden else text
    return normalised(seen) if _MIXED.search(seen) else seen


def _is_hidden(sign: str) -> bool:
    return unicodedata.category(sign) == "Cf" or sign in _FILLERS


def _without_repeats(text: str) -> str:
    lines = dict.fromkeys(_BLANKS.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(lines).strip()


def _requests(text: str) -> tuple[str, ...]:
    sentences = [sentence for line in _lines(text) for sentence in _SENTENCES.split(line)]
    sentences = [sentence.strip() for sentence in sentences if sentence and sentence.strip()]
    if len(sentences) < 2:
        return ()
    asking = [
        sentence[:WINDOW]
        for sentence in sentences
        if len(sentence.split()) >= _SHORTEST_REQUEST and _ASKS.search(sentence[:WINDOW])
    ]
    half = _MOST_REQUESTS // 2
    return tuple(asking if len(asking) <= _MOST_REQUESTS else asking[:half] + asking[-half:])


def _lines(text: str) -> Iterable[str]:
    for line in text.split("\n"):
        for start in range(0, len(line), _LINE):
            yield line[start : start + _LINE]
