"""Trains a head, and measures it on families that it was not trained with."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.progress import Report
from lightspeed_providers.safety.shields.heads.parts import parts
from lightspeed_providers.safety.shields.heads.trained import TrainedHead
from lightspeed_providers.safety.shields.heads.wording import Wording
from lightspeed_providers.safety.training.data import Example

_MOST_PARTS = 8
_BATCH = 128
_STEPS = 10_000
"""Thresholds are multiples of one such part."""

type Scores = NDArray[np.float32]
type Encode = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Trained:
    """The head of all texts, and what heads of the other families said of each text."""

    head: TrainedHead
    examples: Sequence[Example]
    unseen: Scores


@dataclass(frozen=True, eq=False)
class _Parts:
    """Parts of all texts, each with the text it belongs to and what it weighs in training."""

    texts: list[str]
    owners: NDArray[np.intp]
    weights: NDArray[np.float32]
    vectors: NDArray[np.float32]


def train(
    examples: Sequence[Example],
    encode: Encode,
    embedding_model: str,
    *,
    false_alarms: float,
    folds: int,
    report: Report,
) -> Trained:
    """Return a head that blocks as much as it can at this share of false alarms."""
    known = _embedded(examples, encode, report)
    unseen = _unseen_scores(examples, known, folds, report)
    threshold = threshold_for(unseen, [example.block for example in examples], false_alarms)
    fitted = _fit(examples, known, np.arange(len(examples)), embedding_model)
    facts = {
        "block": sum(example.block for example in examples),
        "allow": sum(not example.block for example in examples),
        "families": len({example.family for example in examples}),
        "false_alarms": false_alarms,
        "folds": folds,
        "data_sha256": _digest(examples),
    }
    return Trained(replace(fitted, threshold=threshold, facts=facts), examples, unseen)


def threshold_for(scores: Scores, block: Sequence[bool], false_alarms: float) -> float:
    """Return the lowest threshold with at most this share of false alarms."""
    harmless = np.sort(scores[~np.asarray(block, bool)])[::-1]
    allowed = math.floor(false_alarms * len(harmless))
    highest = float(harmless[allowed]) if allowed < len(harmless) else 0.0
    return min((math.floor(highest * _STEPS) + 1) / _STEPS, 1 - 1 / _STEPS)


def _embedded(examples: Sequence[Example], encode: Encode, report: Report) -> _Parts:
    wording = Wording.usual()
    texts: list[str] = []
    owners: list[int] = []
    weights: list[float] = []
    for number, example in enumerate(examples):
        own = parts(example.text, _MOST_PARTS, wording) or [example.text]
        texts += own
        owners += [number] * len(own)
        weights += _weights(own, example, wording)
        report("reading", number + 1, len(examples))
    vectors = []
    for start in range(0, len(texts), _BATCH):
        vectors.append(encode(texts[start : start + _BATCH]))
        report("embedding", min(start + _BATCH, len(texts)), len(texts))
    return _Parts(
        texts, np.asarray(owners), np.asarray(weights, np.float32), np.concatenate(vectors)
    )


def _weights(own: Sequence[str], example: Example, wording: Wording) -> list[float]:
    """Return what each part weighs: all of a harmless text is harmless, one part says why not."""
    if not example.block:
        return [len(own) ** -0.5] * len(own)
    telling = max(range(len(own)), key=lambda part: wording.suspicion(own[part]))
    return [float(part == telling) for part in range(len(own))]


def _unseen_scores(
    examples: Sequence[Example], known: _Parts, folds: int, report: Report
) -> Scores:
    scores = np.zeros(len(examples), np.float32)
    for number, (learnt, left_out) in enumerate(_folds(examples, folds), start=1):
        head = _fit(examples, known, learnt, "")
        tested = np.isin(known.owners, left_out)
        texts = [text for text, chosen in zip(known.texts, tested, strict=True) if chosen]
        found = head.scores(texts, known.vectors[tested])
        np.maximum.at(scores, known.owners[tested], found)
        report("cross-validating", number, folds)
    return scores


def _folds(
    examples: Sequence[Example], folds: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    from sklearn.model_selection import StratifiedGroupKFold  # a second to import

    block: NDArray[np.bool_] = np.asarray([example.block for example in examples], np.bool_)
    families = np.asarray([example.family for example in examples])
    for wanted in (True, False):
        there = len(set(families[block == wanted]))
        if there < folds:
            raise ConfigurationError(
                f"Failed to cross-validate: texts with `block` {str(wanted).lower()} are of "
                f"{there} families, {folds} folds need as many; add families, or use --folds "
                f"{max(2, there)}."
            )
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    yield from splits.split(families, block, families)


def _fit(
    examples: Sequence[Example], known: _Parts, chosen: NDArray[np.intp], model: str
) -> TrainedHead:
    rows = np.flatnonzero(np.isin(known.owners, chosen) & (known.weights > 0))
    return TrainedHead.learn(
        [known.texts[row] for row in rows],
        known.vectors[rows],
        [examples[known.owners[row]].block for row in rows],
        embedding_model=model,
        weights=[float(weight) for weight in known.weights[rows]],
    )


def _digest(examples: Sequence[Example]) -> str:
    """Return a hash of the texts, so that it can be told later what a head was trained with."""
    lines = sorted(json.dumps([one.text, one.block, one.family]) for one in examples)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
