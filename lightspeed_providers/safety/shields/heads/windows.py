"""The parts of a text that a head judges one by one, so that no length hides a sentence."""

import re
from collections.abc import Callable, Sequence

_WINDOW = 900
"""Characters that the usual embedding models read whole."""
_STEP = 600
_SENTENCE = 320
_ALONE = 320
"""A text up to here is judged as a whole: its sentences say less without each other."""
_SHORT = 24
"""A shorter sentence says little alone: it is read with the one after it."""
_LOOKED_AT = 400
"""Windows of a very long text whose wording is weighed; more would take long."""

_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+|(?<=[。！？；])|\s*\n+\s*")


def windows(text: str, most: int, suspicion: Callable[[str], int]) -> list[str]:
    """Return at most so many parts of the text, its most suspicious ones among them.

    A short text comes whole, a longer one sentence by sentence too. Of a long one come the
    overlapping windows whose wording is most suspicious and, where there is room, others evenly
    spread over it.
    """
    whole = text.strip()
    if len(whole) <= _WINDOW:
        sentences = _sentences(whole) if len(whole) > _ALONE else []
        return [whole, *_most_suspicious(sentences, most - 1, suspicion)][:most]
    chosen = _chosen_windows(whole, max(1, most // 3), suspicion)
    sentences = [sentence for window in chosen for sentence in _sentences(window)]
    unique = list(dict.fromkeys(sentences))
    return [*chosen, *_most_suspicious(unique, most - len(chosen), suspicion)]


def _chosen_windows(text: str, most: int, suspicion: Callable[[str], int]) -> list[str]:
    count = -(-(len(text) - _WINDOW) // _STEP) + 1
    starts = [number * _STEP for number in range(count)]
    hinted = [start for start in starts if suspicion(text[start : start + _WINDOW])]
    looked_at = _spread(hinted, _LOOKED_AT)
    looked_at.sort(key=lambda start: -suspicion(text[start : start + _WINDOW]))
    chosen = looked_at[:most]
    rest = [start for start in starts if start not in set(chosen)]
    chosen += _spread(rest, most - len(chosen))
    return [text[start : start + _WINDOW] for start in sorted(chosen)]


def _most_suspicious(
    sentences: Sequence[str], most: int, suspicion: Callable[[str], int]
) -> list[str]:
    ranked = sorted(sentences, key=lambda sentence: -suspicion(sentence))
    return ranked[: max(0, most)]


def _sentences(text: str) -> list[str]:
    """Return the sentences, short ones joined to the next, very long ones cut at words."""
    joined: list[str] = []
    for part in _SENTENCE_END.split(text):
        if joined and len(joined[-1]) < _SHORT:
            joined[-1] = f"{joined[-1]} {part}".strip()
        else:
            joined.append(part.strip())
    return [piece for part in joined if part for piece in _cut(part)]


def _cut(sentence: str) -> list[str]:
    if len(sentence) <= _SENTENCE:
        return [sentence]
    pieces = []
    start = 0
    while start < len(sentence):
        end = start + _SENTENCE
        blank = sentence.rfind(" ", start + _SENTENCE // 2, end) if end < len(sentence) else -1
        end = blank if blank > 0 else end
        pieces.append(sentence[start:end].strip())
        start = end
    return [piece for piece in pieces if piece]


def _spread(items: Sequence[int], most: int) -> list[int]:
    """Return at most so many of the items, evenly over them all, both ends among them."""
    if most <= 0 or len(items) <= most:
        return list(items[: max(0, most)])
    if most == 1:
        return [items[len(items) // 2]]
    return [items[number * (len(items) - 1) // (most - 1)] for number in range(most)]
